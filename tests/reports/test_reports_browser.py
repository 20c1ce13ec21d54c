"""The pages in Chromium: no errors, nothing fetched, every switch does what it says."""

import json

import pytest
from browser import CHROMIUM, Browser
from ledger_rows import LEDGER
from test_report_page import RESULT, make_rows, write_run

from optix_tricks.reports import write_comparison, write_ledger, write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]
SIZES = (1280, 768, 390)
EVIL = "</script><script>pwned = 1</script><img src=x onerror='pwned = 1'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    config = {"dataset": "digits", "tricks": [["mixup", {"alpha": 0.2}]]}
    return write_report(write_run(path, make_rows(8), result=RESULT, config=config))


@pytest.fixture(scope="module")
def pages(page, tmp_path_factory):
    paths = [tmp_path_factory.mktemp(name) for name in ("a", "b", "ledger")]
    runs = [write_run(paths[i], make_rows(2 + i), config={"epochs": i}) for i in range(2)]
    (paths[2] / "ledger.json").write_text(json.dumps(LEDGER))
    return [page, write_comparison(runs), write_ledger(paths[2])]


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    return browser


def legend(browser, chart=1):
    """What the names below a chart say."""
    rows = browser.run(
        f"[...document.querySelectorAll('.chart:nth-child({chart}) .u-series"
        ":not(.hidden)')].map(r => [r.querySelector('.u-label').textContent,"
        " r.querySelector('.u-value').textContent])"
    )
    return dict(rows)


def over(chart=1):
    return f".chart:nth-child({chart}) .u-over"


def choose(browser, name, value):
    browser.run(
        f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event('change')); }})"
        f"(document.getElementById('{name}'))"
    )
    browser.settle()


def numbers(browser):
    return json.loads(browser.run("document.getElementById('data').textContent"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", SIZES)
def test_pages_open_at_every_size_and_fetch_nothing(browser, pages, width, dark):
    browser.said.clear()
    browser.asked.clear()
    for path in pages:
        browser.open(path, width=width, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") == width
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(13, 17, 23)" if dark else "rgb(246, 248, 250)")
        fits = browser.run(
            "[...document.querySelectorAll('.chart canvas')].every(c =>"
            " c.getBoundingClientRect().right <= innerWidth)"
        )
        assert fits
    assert browser.said == []
    assert [url for url in browser.asked if not url.startswith("data:")] == [
        path.as_uri() for path in pages
    ]


def test_curves_take_the_place_of_the_figure(opened):
    charts = numbers(opened)["charts"]
    assert opened.run("document.querySelectorAll('.chart canvas').length") == len(charts)
    assert opened.run("still.hidden") is True
    painted = opened.run(
        "[...document.querySelectorAll('canvas')].every(c => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some(x => x))"
    )
    assert painted


def test_without_scripts_the_figure_stands(browser, page):
    browser.scripts(run=False)
    try:
        browser.send("Page.navigate", url=page.as_uri())
        browser.loaded = False
        while not browser.loaded:
            browser._read()
        shown = "[still.offsetHeight > 300, document.getElementById('live').offsetHeight]"
        assert browser.run(shown) == [True, 0]
    finally:
        browser.scripts(run=True)


def test_the_cursor_tells_the_values_of_rows_on_all_charts(opened):
    choose(opened, "smooth", 0)
    opened.move(opened.place(over(), x=0.5))
    data = numbers(opened)
    told = legend(opened)
    at = data["rows"][0]["step"].index(int(told["step"]))
    train, test = data["charts"][0]["lines"]
    assert float(told["train"]) == pytest.approx(train["values"][at], rel=1e-3)
    assert float(told["test"]) in [pytest.approx(y, rel=1e-3) for y in test["values"]]
    assert legend(opened, 2)["step"] == told["step"]


def test_smoothing_changes_the_value_and_none_is_the_row(opened):
    means = []
    for parts in (0, 80, 16):
        choose(opened, "smooth", parts)
        opened.move(opened.place(over(), x=0.3))
        means.append(legend(opened)["train"])
    assert len(set(means)) == 3


def test_a_drag_zooms_every_chart_and_a_double_click_goes_back(opened):
    def leftmost(chart):
        opened.move(opened.place(over(chart), x=0.01))
        return int(legend(opened, chart)["step"])

    assert leftmost(1) < 5
    opened.drag(opened.place(over(), x=0.5), opened.place(over(), x=0.8))
    assert 75 < leftmost(1) < 85
    assert 75 < leftmost(3) < 85
    opened.click(opened.place(over(2)), times=2)
    assert leftmost(1) < 5
    opened.click(opened.place("#in"))
    assert 35 < leftmost(1) < 45
    opened.click(opened.place("#all"))
    assert leftmost(1) < 5


def test_the_axis_can_be_epochs_or_seconds(opened):
    for name in ("epoch", "seconds"):
        choose(opened, "axis", name)
        opened.move(opened.place(over(), x=0.5))
        told = legend(opened)
        wanted = {"epoch": 4, "seconds": 80}[name]
        assert float(told[name]) == pytest.approx(wanted, rel=0.05)


def test_log_is_a_switch_of_each_chart(opened):
    def painted():
        return opened.run("document.querySelector('.chart canvas').toDataURL()")

    before = painted()
    opened.click(opened.place(".chart input"))
    assert painted() != before
    opened.click(opened.place(".chart input"))
    assert painted() == before


def test_all_of_it_works_by_keyboard(opened):
    opened.run("document.querySelector('.chart [role=group]').focus()")
    opened.press("ArrowRight")
    first = int(legend(opened)["step"])
    opened.press("ArrowRight")
    opened.press("ArrowRight", shift=True)
    assert int(legend(opened)["step"]) == first + 11
    opened.press("+")
    opened.move(opened.place(over(), x=0.99))
    assert int(legend(opened)["step"]) < 100
    opened.press("0")
    opened.move(opened.place(over(), x=0.99))
    assert int(legend(opened)["step"]) > 150
    opened.run("document.querySelectorAll('.chart .u-series [role=button]')[1].focus()")
    opened.press("Enter")
    off = "document.querySelector('.chart .u-off .u-label').textContent"
    assert opened.run(off) == "test"


def test_it_prints_in_light_colours_and_comes_back(opened, tmp_path):
    opened.look(dark=True)
    opened.said.clear()
    opened.run("onbeforeprint()")
    for place in ("canvas", ".uplot"):
        inside = opened.run(
            f"[...document.querySelectorAll('.chart {place}')].every(e => e.offsetWidth"
            " <= e.closest('.chart').clientWidth)"
        )
        assert inside
    opened.printed(tmp_path / "page.pdf")
    opened.settle()
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert opened.run("document.documentElement.style.colorScheme") == ""
    assert opened.said == []


def test_a_name_is_never_a_script(browser, tmp_path):
    rows = [row | {EVIL.replace("/", ""): row["step"]} for row in make_rows(1)]
    config = {"dataset": EVIL, "tricks": [[EVIL, {EVIL: EVIL}]], EVIL: EVIL}
    run = write_run(tmp_path, rows, config=config, recipe=EVIL, result={EVIL: EVIL})
    browser.said.clear()
    for page in (write_report(run), write_comparison([run, run])):
        browser.open(page)
        assert browser.run("typeof pwned") == "undefined"
    assert browser.said == []


def test_a_ledger_sorts_filters_and_opens(browser, pages):
    browser.open(pages[2])

    def shown():
        return browser.run(
            "[...document.querySelectorAll('tr.row')].filter(r => r.offsetHeight)"
            ".map(r => r.querySelector('button').textContent)"
        )

    best = ["+cutout", "-label_smoothing", "+mixup"]
    assert shown() == best
    browser.click(browser.place("th:nth-child(2) button"))
    assert shown() == best
    browser.click(browser.place("th:nth-child(2) button"))
    assert shown() == best[::-1]
    browser.click(browser.place("th:nth-child(5) button"))
    assert shown()[-1] == "-label_smoothing"  # whose steps are not known
    browser.click(browser.place("th:nth-child(1) button"))
    assert shown() == ["+cutout", "-label_smoothing", "+mixup"]
    browser.run("word.focus()")
    for letter in "MIXUP":
        browser.press(letter)
    assert shown() == ["+mixup"]
    assert browser.run("document.getElementById('count').textContent") == "1 of 3 rows"
    choose(browser, "verdict", "helps")
    assert shown() == []
    choose(browser, "verdict", "")
    opens = "document.querySelector('tr.row:not([hidden]) button')"
    browser.run(f"{opens}.focus()")
    browser.press("Enter")
    text = "document.querySelector('tr.runs:not([hidden])')?.innerText ?? ''"
    assert "0.9400" in browser.run(text)
    browser.click(browser.place("tr.row:not([hidden]) td:nth-child(4)"))
    assert browser.run(text) == ""
    assert browser.run(f"{opens}.ariaExpanded") == "false"

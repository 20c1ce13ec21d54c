"""The figure shows the rows' numbers; the page stands alone and says what is so."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image

from optix_tricks.reports import ReportError, plot_curves, read_run, write_report
from optix_tricks.reports._curves import smoothing_window
from optix_tricks.reports._page import page_of

PER_EPOCH = 20
RESULT = {
    "test_accuracy": 0.9722,
    "test_loss": 0.1234,
    "seconds": 192.4,
    "epochs": 3,
    "parameters": 272474,
    "steps_per_second": 99.5,
}


def make_rows(epochs: int, *, every: int = 1, extra: str | None = None) -> list[dict]:
    rng = np.random.default_rng(0)
    total, rows = epochs * PER_EPOCH, []
    for step in range(1, total + 1):
        fraction = step / total
        if step % every == 0:
            row = {"kind": "train", "step": step, "epoch": step / PER_EPOCH}
            row["loss"] = 2.3 * np.exp(-6 * fraction + 0.2 * rng.normal())
            row["accuracy"] = fraction * 0.9 + 0.1 * rng.random()
            row["learning_rate"] = 0.4 * (1 - fraction)
            row |= {"gradient_norm": 2.0, "update_norm": 0.5 * (1 - fraction)}
            row["parameter_norm"] = 10.0 + fraction
            rows.append(row | ({extra: fraction} if extra else {}))
        if step % PER_EPOCH == 0:
            row = {"kind": "test", "step": step, "epoch": step // PER_EPOCH}
            row |= {"loss": 2 - fraction, "accuracy": 0.97 * fraction, "seconds": step}
            rows.append(row)
    return rows


def write_run(
    path: Path,
    rows: list[dict],
    *,
    result: dict | None = None,
    config: dict | None = None,
    recipe: str = "resnet",
) -> Path:
    config = {"dataset": "digits"} if config is None else config
    header = {"recipe": recipe, "config": config}
    (path / "config.json").write_text(json.dumps(header))
    environment = {"jax": "0.10.2", "devices": ["cpu:0", "cpu:1"], "command": "go <1>"}
    (path / "environment.json").write_text(json.dumps(environment))
    (path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if result is not None:
        (path / "result.json").write_text(json.dumps(result))
    return path


def html_of(path: Path) -> str:
    """The page without its figures, which take most of the time."""
    return page_of(read_run(path), b"", b"")


def panel(figure, title: str) -> Axes:
    (ax,) = [ax for ax in figure.axes if ax.get_title(loc="left") == title]
    return ax


def assert_drawn(ax: Axes, gid: str, x, y) -> None:
    (line,) = [line for line in ax.lines if line.get_gid() == gid]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_array_equal(line.get_ydata(), y)


class Page(HTMLParser):
    """What a page loads, runs and says, cell by cell."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = [""]
        self.links: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.ids: set[str] = set()
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "srcset", "href")]
        self.ids |= {v for k, v in attrs if k == "id"}
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if self.tags[-1] == "script":
            self.scripts.append(data)
            return
        self.texts.append(data)
        if self.tags[-1] in ("td", "th"):
            self.rows[-1].append(data)

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")


@pytest.mark.parametrize("epochs", [1, 5])
@pytest.mark.parametrize("dark", [False, True])
def test_figure_plots_the_rows(tmp_path, epochs, dark):
    rows = make_rows(epochs)
    train = [row for row in rows if row["kind"] == "train"]
    test = [row for row in rows if row["kind"] == "test"]
    figure = plot_curves(read_run(write_run(tmp_path, rows)), dark=dark)
    step, test_step = ([row["step"] for row in kind] for kind in (train, test))

    def column(name, kind=train):
        return np.array([row[name] for row in kind])

    assert_drawn(panel(figure, "Loss"), "train", step, column("loss"))
    assert_drawn(panel(figure, "Loss"), "test", test_step, column("loss", test))
    accuracy = panel(figure, "Accuracy")
    assert_drawn(accuracy, "train", step, 100 * column("accuracy"))
    assert_drawn(accuracy, "test", test_step, 100 * column("accuracy", test))
    assert [text.get_text() for text in accuracy.texts] == ["test 97.00 %"]
    rate = panel(figure, "Learning rate")
    assert_drawn(rate, "learning rate", step, column("learning_rate"))
    norms = panel(figure, "Norms")
    update = np.where(column("update_norm") > 0, column("update_norm"), np.nan)
    assert_drawn(norms, "gradient", step, column("gradient_norm"))
    assert_drawn(norms, "parameter", step, column("parameter_norm"))
    assert_drawn(norms, "update", step, update)
    ratio = update / column("parameter_norm")
    assert_drawn(norms, "update/parameter", step, ratio)


def test_what_was_validated_is_drawn_and_told_beside_the_test(tmp_path):
    rows = make_rows(3)
    validated = [row | {"kind": "validation"} for row in rows if row["kind"] == "test"]
    validated = [row | {"loss": row["loss"] + 1, "accuracy": 0.5} for row in validated]
    path = write_run(tmp_path, [*rows, *validated], result=RESULT | {"best_epoch": 2})
    figure = plot_curves(read_run(path))
    steps, losses = ([row[name] for row in validated] for name in ("step", "loss"))
    assert_drawn(panel(figure, "Loss"), "validation", steps, losses)
    assert_drawn(panel(figure, "Accuracy"), "validation", steps, [50.0] * 3)
    table = Page(html_of(path)).rows
    head = next(row for row in table if row[:1] == ["epoch"])
    assert head[3:7] == [
        "validation loss", "validation accuracy", "test loss", "test accuracy",
    ]  # fmt: skip
    first = table[table.index(head) + 1]
    assert first[3:5] == [f"{losses[0]:.4f}", "50.00 %"]
    assert ["best_epoch", "2"] in table
    no_split = Page(html_of(write_run(tmp_path, rows))).rows
    assert not any("validation loss" in row for row in no_split)


def test_axes_are_labelled_with_units(tmp_path):
    figure = plot_curves(read_run(write_run(tmp_path, make_rows(3))))
    labels = {ax.get_title(loc="left"): ax.get_ylabel() for ax in figure.axes}
    assert labels == {
        "Loss": "loss (log scale)",
        "Accuracy": "accuracy (%)",
        "Learning rate": "learning rate",
        "Norms": "L2 norm (log scale)",
    }
    assert {ax.get_xlabel() for ax in figure.axes} == {"step (20 per epoch)"}
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear", "linear", "log"]


def test_loss_stays_linear_over_a_small_span(tmp_path):
    rows = [{"kind": "train", "step": step, "loss": 1 + 1 / step} for step in range(1, 9)]
    loss = panel(plot_curves(read_run(write_run(tmp_path, rows))), "Loss")
    assert (loss.get_yscale(), loss.get_ylabel()) == ("linear", "loss")
    assert loss.get_xlabel() == "step"


def test_nulls_are_gaps_and_do_not_spread(tmp_path):
    rows = make_rows(5)
    for row in rows[30:33]:
        row["loss"] = None
    figure = plot_curves(read_run(write_run(tmp_path, rows)))
    raw, mean = panel(figure, "Loss").lines[:2]
    gap = np.isnan(raw.get_ydata())
    assert gap.sum() == 3
    np.testing.assert_array_equal(np.isnan(mean.get_ydata()), gap)


def test_mean_is_centred_over_the_window(tmp_path):
    rows = make_rows(25)
    run = read_run(write_run(tmp_path, rows))
    window = smoothing_window(500)
    raw, mean = (line.get_ydata() for line in panel(plot_curves(run), "Loss").lines[:2])
    half = window // 2
    assert half == 6
    assert mean[0] == pytest.approx(raw[0])
    assert mean[2] == pytest.approx(raw[:5].mean())
    assert mean[200] == pytest.approx(raw[200 - half : 201 + half].mean())
    assert mean[-1] == pytest.approx(raw[-1 - half :].mean())


def test_further_columns_get_panels(tmp_path):
    rows = make_rows(2, extra="clip_factor")
    ax = panel(plot_curves(read_run(write_run(tmp_path, rows))), "Clip factor")
    train = [row for row in rows if row["kind"] == "train"]
    values = [row["clip_factor"] for row in train]
    assert_drawn(ax, "clip factor", [row["step"] for row in train], values)


def test_no_text_overlaps_another(tmp_path):
    figure = plot_curves(read_run(write_run(tmp_path, make_rows(30, extra="clip"))))
    figure.draw_without_rendering()
    for ax in figure.axes:
        texts = [child for child in ax.get_children() if isinstance(child, Text)]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        if ax.get_legend():
            boxes.append(ax.get_legend().get_window_extent())
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:index])


def test_png_decodes_and_is_drawn_on(tmp_path):
    write_report(write_run(tmp_path, make_rows(3)))
    image = Image.open(tmp_path / "figures" / "curves.png")
    assert image.format == "PNG"
    assert image.width >= 1200
    assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_page_stands_alone(tmp_path):
    page = write_report(write_run(tmp_path, make_rows(3), result=RESULT))
    assert page == tmp_path / "report.html"
    html = page.read_text()
    parsed = Page(html)
    pictures = [link for link in parsed.links if link.startswith("data:")]
    assert len(pictures) == 2
    for link in pictures:
        head, data = link.split(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).format == "PNG"
    beside = {link for link in parsed.links if not link.startswith("data:")}
    assert beside == {
        "metrics.jsonl",
        "config.json",
        "environment.json",
        "result.json",
    } | {"figures"}
    assert all((tmp_path / name).exists() for name in beside)
    assert not {"link", "iframe", "object", "style/"} & set(parsed.tags)
    assert not re.search(r"url\(|@import", html)
    written = [tmp_path / "figures" / "curves.png", tmp_path / "figures", page]
    given = ["config.json", "environment.json", "metrics.jsonl", "result.json"]
    assert set(tmp_path.rglob("*")) == {*written, *(tmp_path / n for n in given)}


def test_only_the_scripts_of_the_package_may_run(tmp_path):
    html = html_of(write_run(tmp_path, make_rows(1)))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    _, *codes = Page(html).scripts
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for code in codes
    ]
    assert "leeoniya/uPlot" in codes[0]


def test_uplot_lies_in_the_package_with_its_licence():
    there = files("optix_tricks.reports") / "assets" / "uplot"
    assert "MIT License" in (there / "LICENSE").read_text()
    assert (there / "uPlot.iife.min.js").read_text().startswith("/*! https://github.com")


def test_page_stays_small(tmp_path):
    page = write_report(write_run(tmp_path, make_rows(250, extra="clip_factor")))
    assert page.stat().st_size < 500_000


def test_page_says_the_result(tmp_path):
    rows = make_rows(3)
    config = {"dataset": "digits", "widths": [8, 16], "augment": {"pad": 4}}
    page = Page(html_of(write_run(tmp_path, rows, result=RESULT, config=config)))
    assert {"97.22 %", "0.1234", "3 min 12 s", "272,474"} <= set(page.texts)
    assert "resnet on digits" in page.texts
    assert "Unfinished." not in page.texts
    assert ["widths", "8, 16"] in page.rows
    assert ["augment.pad", "4"] in page.rows
    assert ["devices", "cpu:0, cpu:1"] in page.rows
    assert ["steps_per_second", "99.5"] in page.rows


def test_epoch_table_averages_the_train_rows_of_each_epoch(tmp_path):
    rows = make_rows(3)
    rows = [row for row in rows if row["step"] <= 50]
    page = Page(html_of(write_run(tmp_path, rows)))
    start = page.rows.index(
        [
            *("epoch", "train loss", "train accuracy", "test loss", "test accuracy"),
            *("learning rate", "seconds"),
        ]
    )
    table = page.rows[start + 1 : start + 4]
    train = [row for row in rows if row["kind"] == "train"]
    second = train[PER_EPOCH : 2 * PER_EPOCH]
    assert table[1] == [
        "2",
        f"{np.mean([row['loss'] for row in second]):.4f}",
        f"{100 * np.mean([row['accuracy'] for row in second]):.2f} %",
        f"{2 - 2 / 3:.4f}",
        f"{97 * 2 / 3:.2f} %",
        f"{second[-1]['learning_rate']:.5g}",
        "40.0",
    ]
    assert table[2][0] == "2.5"
    assert table[2][3:5] == ["–", "–"]
    assert table[2][6] == "–"


def test_unfinished_run_says_so(tmp_path):
    rows = [row for row in make_rows(3) if row["step"] <= 50]
    text = " ".join(Page(html_of(write_run(tmp_path, rows))).texts)
    assert "Unfinished." in text
    assert "It got to step 50; the numbers below are its last test's." in text


def test_one_row_has_one_tick_a_step(tmp_path):
    rows = [{"kind": "train", "step": 7, "loss": 1.0}]
    loss = panel(plot_curves(read_run(write_run(tmp_path, rows))), "Loss")
    ticks = loss.xaxis.get_ticklabels()
    low, high = loss.get_xlim()
    texts = [t.get_text() for t in ticks if low <= t.get_position()[0] <= high]
    assert texts == ["6", "7", "8"]


@pytest.mark.parametrize("with_rows", [False, True])
def test_untested_run_has_a_page(tmp_path, with_rows):
    rows = [{"kind": "train", "step": 1, "loss": None}] if with_rows else []
    text = " ".join(Page(html_of(write_run(tmp_path, rows))).texts)
    assert "it was never tested" in text
    figure = plot_curves(read_run(tmp_path))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["no rows yet"] * 4


def test_values_are_escaped(tmp_path):
    evil = "</table></script><script>alert('x')</script><img src=http://x.org/a.png>$x$"
    column = "<img src=x onerror=alert(1)>"
    rows = [row | {evil: 1.0, column: row["step"]} for row in make_rows(1)]
    config = {"dataset": evil, evil: [evil], "deep": {evil: evil}}
    config["tricks"] = [[evil, {evil: evil}], ["mixup", {"alpha": evil}]]
    result = {**RESULT, "note": evil}
    write_run(tmp_path, rows, config=config, recipe=evil, result=result)
    names = {"classes": [evil, "b"], "counts": [[1, 2], [0, 3]]}
    (tmp_path / "confusion.json").write_text(json.dumps(names))
    html = html_of(tmp_path)
    page = Page(html)
    assert page.tags.count("script") == html.count("<script") == 3
    assert page.tags.count("img") == 1
    assert not [link for link in page.links if "x.org" in link]
    assert ["note", evil] in page.rows
    assert [f"deep.{evil}", evil] in page.rows
    charts = json.loads(page.scripts[0])["charts"]
    assert charts[-1]["title"] == column


def test_page_is_replaced_not_appended(tmp_path):
    write_run(tmp_path, make_rows(1))
    first = write_report(tmp_path).read_text()
    assert write_report(tmp_path).read_text() == first


def test_not_a_run_writes_nothing(tmp_path):
    with pytest.raises(ReportError, match="is not a run's directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []

"""The page begins with a diagnosis, and every way on that it names is there."""

import json
import re

from test_report_page import RESULT, Page, html_of, make_rows, write_run

from optix_tricks.cli import COMMANDS
from optix_tricks.dynamics.diagnosis._diagnose import MEANING
from optix_tricks.reports._verdict import NEXT
from optix_tricks.tricks import TRICKS, summary

SETUP = [
    ["resnet9", {"width": 16}],
    ["label_smoothing", {"label_smoothing": 0.1}],
    ["crop", {"padding": 1}],
    ["mine.py:wobble", {"by": 3}],
]


def test_every_verdict_has_a_way_on_that_exists():
    assert NEXT.keys() == MEANING.keys()
    for way in NEXT.values():
        assert set(way.tricks) <= set(TRICKS)
        for command in way.commands:
            _, *words = command.split()
            assert {words[0], " ".join(words[:2])} & set(COMMANDS), command


def test_the_diagnosis_stands_before_the_numbers(tmp_path):
    page = html_of(write_run(tmp_path, make_rows(20), result=RESULT))
    text = " ".join(Page(page).texts)
    meaning, advice = MEANING["healthy"]
    places = [text.index(x) for x in (meaning, advice, "test accuracy")]
    assert places == sorted(places)
    assert f"optix-tricks predict {tmp_path} FILE" in text


def test_a_run_that_diverged_is_told_what_to_do_with_cards_to_read(tmp_path):
    rows = make_rows(20)
    for row in rows[200:]:
        row["loss"] = None
    html = html_of(write_run(tmp_path, rows, recipe="digits"))
    page = Page(html)
    assert "Diverged" in page.texts
    assert "optix-tricks lr-find digits" in page.texts
    assert {"card-warm_up", "card-clip_global_norm"} <= page.ids
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert {"card-warm_up", "card-clip_global_norm"} <= inner <= page.ids


def test_the_setup_is_a_table_with_a_card_for_each_of_our_tricks(tmp_path):
    run = write_run(tmp_path, make_rows(2), config={"tricks": SETUP})
    html = html_of(run)
    page = Page(html)
    heads = ["slot", "trick", "what it does", "numbers"]
    first = page.rows[page.rows.index(heads) + 1]
    assert first == ["network", summary(TRICKS["resnet9"])]  # beside a link and code
    assert '<a href="#card-resnet9">resnet9</a>' in html
    assert "<code>width=16</code>" in html
    assert ["–", "mine.py:wobble", "of another package or file"] in page.rows
    assert {"card-resnet9", "card-crop"} <= page.ids
    assert not any(row[0] == "tricks" for row in page.rows)


def test_a_train_loss_above_the_test_loss_is_explained(tmp_path):
    rows = make_rows(2)
    config = {"tricks": SETUP}
    calm = html_of(write_run(tmp_path, rows, config=config))
    assert "not to be compared" not in calm
    rows = [row | {"loss": 5.0} if row["kind"] == "train" else row for row in rows]
    said = html_of(write_run(tmp_path, rows, config=config))
    (found,) = re.findall(r"The train loss of the last epoch \(5.0000\)[^<]*", said)
    assert "labels are smoothed in training alone (label_smoothing)" in found
    assert "images are changed in training alone (crop)" in found


def test_a_run_without_a_loss_has_no_verdict(tmp_path):
    html = html_of(write_run(tmp_path, []))
    assert 'class="verdict' not in html
    assert json.loads(Page(html).scripts[0])["rows"][0]["step"] == []

"""What a run's directory says, and what it must not be silent about."""

import json
from pathlib import Path

import numpy as np
import pytest

from optix_tricks.reports import ReportError, read_run


def write_run(path: Path, lines: list[str], *, end: str = "\n") -> Path:
    header = {"recipe": "digits", "config": {"epochs": 2}}
    (path / "config.json").write_text(json.dumps(header))
    (path / "environment.json").write_text('{"platform": "cpu", "devices": ["cpu"]}')
    (path / "metrics.jsonl").write_bytes(("\n".join(lines) + end).encode())
    return path


def row(kind: str, step: object, **values: object) -> str:
    return json.dumps({"kind": kind, "step": step, **values})


def test_rows_become_columns(tmp_path):
    lines = [
        row("train", 1, epoch=0.5, loss=2.0, clip_factor=1),
        row("train", 2, epoch=1.0, loss=1.5),
        row("test", 2, epoch=1, loss=1.7, accuracy=0.25, seconds=3.5),
    ]
    run = read_run(str(write_run(tmp_path, lines)))
    assert run.recipe == "digits"
    assert run.config == {"epochs": 2}
    assert run.environment == {"platform": "cpu", "devices": ["cpu"]}
    assert run.result is None
    assert set(run.train) == {"step", "epoch", "loss", "clip_factor"}
    np.testing.assert_array_equal(run.train["step"], [1, 2])
    assert run.train["step"].dtype == np.int64
    np.testing.assert_array_equal(run.train["loss"], [2.0, 1.5])
    np.testing.assert_array_equal(run.train["clip_factor"], [1.0, np.nan])
    np.testing.assert_array_equal(run.test["accuracy"], [0.25])
    assert all(column.shape == (2,) for column in run.train.values())


def test_result_is_read_where_there_is_one(tmp_path):
    write_run(tmp_path, [])
    (tmp_path / "result.json").write_text('{"test_accuracy": 0.97}')
    assert read_run(tmp_path).result == {"test_accuracy": 0.97}


@pytest.mark.parametrize("value", ["null", "NaN", "Infinity", "-Infinity"])
def test_what_was_not_finite_is_nan(tmp_path, value):
    lines = [row("train", 1, loss=1.0), f'{{"kind":"train","step":2,"loss":{value}}}']
    loss = read_run(write_run(tmp_path, lines)).train["loss"]
    np.testing.assert_array_equal(loss, [1.0, np.nan])


def test_later_row_of_a_step_wins_and_steps_are_ordered(tmp_path):
    lines = [row("train", step, loss=float(step)) for step in (1, 2, 3, 4)]
    lines += [row("train", step, loss=10.0 * step) for step in (3, 5)]
    lines += [row("test", 3, loss=0.3)]
    run = read_run(write_run(tmp_path, lines))
    np.testing.assert_array_equal(run.train["step"], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(run.train["loss"], [1, 2, 30, 4, 50])
    np.testing.assert_array_equal(run.test["loss"], [0.3])


@pytest.mark.parametrize("length", [1, 9, 20, 30])
def test_half_written_last_line_is_ignored(tmp_path, length):
    last = row("train", 2, loss=1.5)[:length]
    write_run(tmp_path, [row("train", 1, loss=2.0), last], end="")
    np.testing.assert_array_equal(read_run(tmp_path).train["step"], [1])


def test_last_line_cut_inside_a_character_is_ignored(tmp_path):
    write_run(tmp_path, [row("train", 1, loss=2.0)])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write('{"kind":"é'.encode()[:-1])
    np.testing.assert_array_equal(read_run(tmp_path).train["step"], [1])


def test_whole_last_line_without_line_end_counts(tmp_path):
    lines = [row("train", 1, loss=2.0), row("train", 2, loss=1.5)]
    run = read_run(write_run(tmp_path, lines, end=""))
    np.testing.assert_array_equal(run.train["step"], [1, 2])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"kind":"train","st', "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ('{"step": 1}', 'no "kind"'),
        ('{"kind": "train"}', '"step" must be a whole number, got None'),
        ('{"kind": "test", "step": 1.5}', '"step" must be a whole number, got 1.5'),
        ('{"kind": "test", "step": -1}', '"step" must be a whole number, got -1'),
        ('{"kind": "test", "step": true}', '"step" must be a whole number, got True'),
        (
            '{"kind": "train", "step": 1, "loss": "low"}',
            "\"loss\" must be a number or null, got 'low'",
        ),
    ],
)
def test_any_other_broken_line_is_named(tmp_path, line, fault):
    write_run(tmp_path, [row("train", 1, loss=2.0), line, row("train", 3, loss=1.0)])
    with pytest.raises(ReportError) as error:
        read_run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    assert str(error.value) == f"{path}, line 2: {fault}; correct or delete that line."


def test_broken_last_line_with_a_line_end_is_no_half_line(tmp_path):
    with pytest.raises(ReportError, match="line 2: not a JSON object"):
        read_run(write_run(tmp_path, [row("train", 1), '{"kind":"tr']))


def test_blank_lines_and_other_kinds_are_passed_over(tmp_path):
    lines = [row("train", 1, loss=2.0), "", '{"kind": "note", "text": "resumed"}']
    run = read_run(write_run(tmp_path, lines))
    np.testing.assert_array_equal(run.train["step"], [1])
    assert run.test["step"].size == 0


def test_run_that_has_only_begun(tmp_path):
    write_run(tmp_path, [])
    (tmp_path / "metrics.jsonl").unlink()
    run = read_run(tmp_path)
    assert run.train["step"].size == run.test["step"].size == 0


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
def test_not_a_run_is_said_in_one_sentence(tmp_path, name):
    write_run(tmp_path, [])
    (tmp_path / name).unlink()
    with pytest.raises(ReportError) as error:
        read_run(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is not a run's directory (it has no {name}): "
        "give the directory that the recipe wrote its run into."
    )
    assert isinstance(error.value, RuntimeError)


@pytest.mark.parametrize("name", ["config.json", "environment.json", "result.json"])
@pytest.mark.parametrize("text", ["", '{"recipe": ', "[]"])
def test_broken_file_is_named(tmp_path, name, text):
    (write_run(tmp_path, []) / name).write_text(text)
    with pytest.raises(ReportError, match=rf"{name} is not a JSON object: restore it"):
        read_run(tmp_path)


@pytest.mark.parametrize("header", ['{"recipe": "digits"}', '{"config": {}}'])
def test_config_without_recipe_or_fields_is_named(tmp_path, header):
    (write_run(tmp_path, []) / "config.json").write_text(header)
    with pytest.raises(ReportError, match=r'config.json lacks "recipe", a string, or'):
        read_run(tmp_path)

"""The ledger's file: whole rows, each once, one process at a time."""

import json

import pytest

from optix_tricks.ledger import read_rows
from optix_tricks.ledger._rows import Rows
from optix_tricks.training import RunError

RUN = {"kind": "run", "setup": "a", "diverged": False, "epochs": []}


def test_rows_are_found_again_with_the_environment_that_made_them(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Rows(path) as rows:
        rows.append({**RUN, "seed": 0, "test_loss": 0.5})
        rows.append({**RUN, "seed": 1, "test_loss": float("nan")})
    with Rows(path) as rows:
        assert rows.find("run", "a", 0)["test_loss"] == 0.5
        assert rows.find("run", "a", 1)["test_loss"] is None
        assert rows.find("run", "b", 0) is None
        rows.append({**RUN, "seed": 2, "test_loss": 0.25})
    about, *runs = read_rows(path)
    assert about["kind"] == "environment"
    assert {"jax", "optix_tricks", "devices", "commit"} <= about.keys()
    assert [row["environment"] for row in runs] == [about["id"]] * 3


def test_a_line_that_a_crash_cut_off_is_measured_again(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Rows(path) as rows:
        rows.append({**RUN, "seed": 0, "test_loss": 0.5})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "run", "setup": "a", "se')
    assert len(read_rows(path)) == 2
    with Rows(path):
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"kind": "page"}',
        json.dumps({**RUN, "seed": 0}),
        "[" * 100_000,
        '{"kind": ["run"]}',
    ],
)
def test_what_is_no_row_is_named_by_its_line(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps({**RUN, "seed": 0, "test_loss": 1.0}) + f"\n{line}\n")
    with pytest.raises(RunError, match=r"line 2 of .*ledger.jsonl is no row of a ledger"):
        read_rows(path)


def test_bytes_that_are_no_text_are_named_too(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(RunError, match="line 1"):
        Rows(path)


def test_two_at_once_are_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Rows(path), pytest.raises(RunError, match="is in use by another process"):
        Rows(path)
    with Rows(path):
        pass


def test_no_directory_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match=r"cannot write to .*No such file"):
        Rows(tmp_path / "none" / "ledger.jsonl")

"""Rows of metrics from files that hold anything: read, or one sentence with the line."""

import json

import pytest

from optix_tricks._rows import rows_of
from optix_tricks.reports import ReportError, read_run
from optix_tricks.training import RunDirectory
from optix_tricks.training._run_directory import RunError

GOOD = b'{"kind": "train", "step": 1, "loss": 2.5}\n'
BAD = {
    "no JSON": (b"what\n", "not a JSON object"),
    "a list": (b"[1, 2]\n", "not a JSON object"),
    "a number": (b"7\n", "not a JSON object"),
    "bytes": (b"\xff\xfe\x00\n", "not a JSON object"),
    "deep": (b"[" * 100_000 + b"\n", "not a JSON object"),
    "no kind": (b'{"step": 1}\n', 'no "kind"'),
    "kind": (b'{"kind": 3, "step": 1}\n', 'no "kind"'),
    "no step": (b'{"kind": "train", "loss": 1}\n', '"step" must be a whole .*got None'),
    "half a step": (b'{"kind": "train", "step": 1.5}\n', '"step" must .*got 1.5'),
    "step before": (b'{"kind": "test", "step": -1}\n', '"step" must .*got -1'),
    "true step": (b'{"kind": "train", "step": true}\n', '"step" must .*got True'),
    "far step": (
        b'{"kind": "train", "step": 9223372036854775808}\n',
        r'"step" must be less than 2\*\*63',
    ),
    "infinite step": (b'{"kind": "train", "step": 1e999}\n', '"step" must .*got inf'),
    "text": (b'{"kind": "train", "step": 1, "loss": "low"}\n', '"loss" must .*a number'),
    "a list in it": (b'{"kind": "train", "step": 1, "loss": [1]}\n', '"loss" must'),
    "400 digits": (
        b'{"kind": "train", "step": 1, "loss": 1%s}\n' % (b"0" * 400),
        '"loss" must be a number or null, got 1000.*401 characters',
    ),
}


@pytest.fixture
def run(tmp_path):
    with RunDirectory.start(tmp_path / "run", recipe="digits", config={}) as directory:
        yield directory


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_by_the_page_and_by_resume(run, name):
    line, fault = BAD[name]
    run.metrics_path.write_bytes(GOOD + b"\n" + line + GOOD)
    said = rf"metrics\.jsonl, line 3: {fault}"
    with pytest.raises(ReportError, match=said):
        read_run(run.path)
    with pytest.raises(RunError, match=said):
        run.read_metrics()
    before = run.metrics_path.read_bytes()
    with pytest.raises(RunError, match=said):
        run.cut_metrics(5)
    assert run.metrics_path.read_bytes() == before


@pytest.mark.parametrize("tail", [b'{"kind": "tr', b"\xff\xfe\x00", b"   "])
def test_a_last_line_that_was_cut_off_is_left_out(run, tail):
    run.metrics_path.write_bytes(GOOD + tail)
    assert [row["step"] for row in rows_of(run.metrics_path)] == [1]
    assert [row["step"] for row in run.cut_metrics(1)] == [1]
    assert run.metrics_path.read_bytes() == GOOD


def test_numbers_of_any_size_are_read(run):
    rows = [{"kind": "train", "step": 2**63 - 1, "loss": 1e308}]
    rows += [{"kind": "of another version", "what": [1]}]
    run.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = read_run(run.path).train
    assert train["step"].tolist() == [2**63 - 1]
    assert train["loss"].tolist() == [1e308]

"""The accelerator set: what it runs, that it can be gone on with, and that it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.summary import lines

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"


def run(tmp_path, python, **variables):
    settings = {"PYTHON": str(python), "MARKS": str(tmp_path / "marks"), "TOY": "1"}
    return subprocess.run(
        [SCRIPT],
        env=os.environ | settings | {"JAX_PLATFORMS": "cpu"} | variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def recorder(tmp_path):
    """A stand-in for Python that writes down its arguments and fails where it is told."""
    script = tmp_path / "python"
    script.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$*" in *"$FAILS"*) exit 3;; esac
"""
    )
    script.chmod(0o755)
    return script


def calls(tmp_path):
    made = (tmp_path / "calls").read_text().splitlines()
    (tmp_path / "calls").unlink()
    return made


def test_what_failed_is_run_again_and_what_is_done_is_not(tmp_path, recorder):
    first = run(tmp_path, recorder, FAILS="sweep")
    assert first.returncode == 1
    assert "sweep: rc 3" in first.stdout
    made = calls(tmp_path)
    assert len(made) == 7
    assert made[-1] == "-m benchmarks.summary"

    second = run(tmp_path, recorder, FAILS="nothing")
    assert second.returncode == 0
    assert calls(tmp_path) == ["-m benchmarks.sweep --smoke", "-m benchmarks.summary"]


def test_what_there_is_no_time_for_waits(tmp_path, recorder):
    result = run(tmp_path, recorder, FAILS="nothing", BUDGET="10")
    assert result.returncode == 0
    assert result.stdout.count("waits for the next go") == 6
    assert calls(tmp_path) == ["-m benchmarks.summary"]


def test_every_module_of_the_full_set_exists_and_takes_its_options(tmp_path, recorder):
    run(tmp_path, recorder, FAILS="nothing", TOY="")
    for call in calls(tmp_path):
        _, module, *options = call.split()
        text = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        for option in options:
            assert not option.startswith("--") or f'"{option}"' in text, (module, option)


def test_summary_says_what_a_run_came_to():
    row = {
        "kind": "run",
        "recipe": "r",
        "data": "cifar10",
        "mode": "scan",
        "mean_s": 1.5,
        "min_s": 1.25,
        "accuracy": 0.9401,
        "accuracy_error": 0.0003,
        "runs": 20,
        "warm_up_s": 40.4,
    }
    (line,) = lines({"benchmark": "airbench", "rows": [row]})
    assert line == (
        "r on cifar10, scan: 1.500 s (least 1.250), 94.01% +- 0.03%, n = 20; warm-up 40 s"
    )


@pytest.mark.slow
def test_the_whole_set_runs_at_toy_size(tmp_path):
    result = run(tmp_path, sys.executable, BUDGET="1500")
    assert result.returncode == 0, result.stdout
    assert result.stdout.count(": done at") == 6

"""Wrong arguments, odd command lines and damaged runs end in a sentence.

Each in a process of its own: pytest's checks of annotations would refuse first what users
see refused by the package.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEAR = r"(studies\.(find|write|probe|measure)|testing\.check_)\w+$"  # minutes in all


def told(module, *arguments):
    """Run one of the fuzzers; return its report."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fuzzing.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_wrong_arguments_are_named():
    report = told("arguments", "--calls", "500", "--only", rf"^(?!.*{DEAR})")
    assert report["trouble"] == []
    assert report["subjects"] > 400


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_wrong_arguments_are_named(seed):
    report = told("arguments", "--calls", "1000", "--seed", str(seed))
    assert report["trouble"] == []


def test_odd_lines_end_with_a_documented_code_and_no_traceback():
    assert told("lines", "--lines", "300")["trouble"] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_thousands_of_odd_lines_do(seed):
    assert told("lines", "--lines", "1000", "--seed", str(seed))["trouble"] == []


@pytest.mark.slow
def test_runs_with_something_changed_are_read_or_refused_in_a_sentence():
    assert told("damaged_runs", "--runs", "200")["trouble"] == []

"""Processes that are stopped at any time, and go on: nothing is lost, no bit differs."""

import os
import signal
import time
import warnings

import chex
import numpy as np
import pytest

from optix_tricks.cli import main
from optix_tricks.training import load_params
from optix_tricks.training._saving import DEFAULTS
from tests.training.killed import RECIPE, begun
from tests.training.test_training_signals import rows_of

EPOCHS = 6  # for each stop; of five steps


def trains(process, path):
    """Wait until the process has written a row more."""
    size = path.stat().st_size if path.exists() else 0
    for _ in range(6000):
        if not process.is_alive() or (path.exists() and path.stat().st_size > size):
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError("it wrote no row within a minute")


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL],
        pytest.param(
            [signal.SIGKILL] * 7 + [*DEFAULTS, *[signal.SIGKILL] * 13],
            marks=[pytest.mark.slow],
        ),
    ],
    ids=len,
)
def test_a_run_that_is_stopped_again_and_again_ends_in_the_same_bits(
    tmp_path, monkeypatch, signals
):
    """By kills and by the signals on which the command saves and says how to go on."""
    monkeypatch.setattr("optix_tricks.reports.write_report", lambda p: p / "report.html")
    recipe, path, said = (tmp_path / name for name in ("mine.py", "run", "said"))
    recipe.write_text(RECIPE)
    epochs = EPOCHS * len(signals)
    begins = ["train", str(recipe), "--epochs", str(epochs), "--run-dir"]
    main([*begins, str(tmp_path / "whole")])
    before = {x: signal.signal(x, default) for x, default in DEFAULTS.items()}
    rng = np.random.default_rng(len(signals))
    stopped = 0
    for i, number in enumerate(signals):
        words = [*begins, str(path)] if i == 0 else ["train", "--resume", str(path)]
        process = begun(words, said)
        trains(process, path / "metrics.jsonl")
        time.sleep(rng.uniform(0, 0.2))
        start, ended = time.monotonic(), not process.is_alive()
        if not ended:
            os.kill(process.pid, number)
        process.join(60)
        text = said.read_text()
        assert "Traceback" not in text
        if process.exitcode == 0:
            continue
        stopped += 1
        if number == signal.SIGKILL:
            assert process.exitcode == -number, text
            continue
        assert process.exitcode == 128 + number, text
        assert time.monotonic() - start < 10
        assert "which is saved; continue with: optix-tricks train --resume" in text
        step = int(text.partition("after step ")[2].partition(",")[0])
        places = [path / "checkpoints-within" / str(step)]
        if step % 5 == 0:  # at the end of an epoch, which may have been tested
            places.append(path / "checkpoints" / str(step // 5))
        assert any(place.exists() for place in places)
    for x, handler in before.items():
        signal.signal(x, handler)
    assert stopped > len(signals) // 2  # the last may have been at its end
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a kill leaves nothing that is damaged
        main(["train", "--resume", str(path)])
    assert rows_of(path)[-2]["step"] == 5 * epochs
    assert rows_of(path) == rows_of(tmp_path / "whole")
    chex.assert_trees_all_equal(load_params(path), load_params(tmp_path / "whole"))

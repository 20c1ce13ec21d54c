"""What is shown of a run: how far the bar is, and a line for each epoch."""

import itertools
import types

import pytest

from optix_tricks.training import _progress as progress


@pytest.mark.parametrize(("epochs", "total"), [(3, 15), (1.5, 8)])
def test_the_bar_counts_steps_and_images(monkeypatch, epochs, total):
    clock = itertools.count(start=10, step=2)
    monkeypatch.setattr(
        progress, "time", types.SimpleNamespace(perf_counter=lambda: next(clock))
    )
    with progress.Progress(epochs, 5, 16) as shown:
        [task] = shown.bars.tasks
        assert (task.total, task.completed) == (total, 0)
        assert (task.fields["epoch"], task.fields["epochs"]) == (1, epochs)
        shown.on_step(1)(2)  # the third step of the second epoch
        assert task.completed == 8
        assert task.fields["epoch"] == 2
        assert task.fields["rate"] == "24 examples/s"  # 3 x 16 in 2 s


def test_an_epoch_is_a_line_of_means(capsys):
    rows = [{"loss": 1.0, "accuracy": 0.25}, {"loss": 2.0, "accuracy": 0.5}]
    with progress.Progress(3, 2, 16) as shown:
        shown.end_epoch(1, rows, {"loss": 0.75, "accuracy": 0.625, "seconds": 3.0})
    head, line = capsys.readouterr().out.splitlines()[:2]
    assert " ".join(head.split()) == (
        "epoch train loss accuracy test loss accuracy seconds"
    )
    assert line.split() == ["2", "1.5000", "37.50%", "0.7500", "62.50%", "3.0"]

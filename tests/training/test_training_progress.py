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


def test_an_epoch_that_is_validated_says_so_under_its_heads(capsys):
    rows, test = [{"loss": 1.0, "r_squared": 0.25}], {"loss": 0.5, "r_squared": 0.5}
    with progress.Progress(3, 2, 16) as shown:
        shown.end_epoch(0, rows, test | {"seconds": 3.0}, test | {"loss": 0.75})
        shown.end_epoch(1, rows, test | {"seconds": 3.0}, test | {"loss": 0.75})
    head, *lines = capsys.readouterr().out.splitlines()[:3]
    assert " ".join(head.split()) == (
        "epoch train loss r_squared val loss r_squared test loss r_squared seconds"
    )
    assert " ".join(lines[0].split()) == "1 1.0000 0.2500 0.7500 0.5000 0.5000 0.5000 3.0"
    assert len(head) == len(lines[0]) == len(lines[1])


def test_what_comes_before_the_first_epoch_has_a_bar_of_its_own():
    with progress.Progress(3, 5, 16) as shown:
        shown.on_begin(2, 8)
        [task] = shown.bars.tasks
        assert (task.completed, task.total, task.fields["epoch"]) == (2, 8, 0)
        shown.on_step(0)(0)
        assert (task.completed, task.total, task.fields["epoch"]) == (1, 15, 1)

"""Histories: columns are sorted, checked and cut."""

import inspect

import numpy as np
import pytest

from optix_tricks.dynamics import History, diagnose, read_history
from optix_tricks.dynamics.diagnosis._history import check_history, cut

ROWS = 400
STEP = np.arange(ROWS, dtype=float)


def test_columns_are_sorted_into_a_history():
    train = {
        "step": np.array([3, 4]),
        "loss": np.array([np.inf, 1.0]),
        "2.learning_rate": np.array([0.1, 0.2]),
        "clip_factor": np.ones(2),
        "gradient_norm/a/b": np.array([1.0, 2.0]),
        "dead_fraction/a": np.zeros(2),
    }
    test = {"step": np.array([4]), "loss": np.array([2.0]), "epoch": np.array([1.0])}
    history = read_history(train, test, batch_size=8)
    assert np.isnan(history.loss[0])
    assert history.step.tolist() == [3, 4]
    assert history.learning_rate.tolist() == [0.1, 0.2]
    assert history.batch_size.tolist() == [8, 8]
    assert history.layer_gradient_norm["a/b"].tolist() == [1, 2]
    assert list(history.dead_fraction) == ["a"]
    assert history.test_loss.tolist() == [2]
    assert history.test_accuracy is None
    assert read_history(train, {"step": np.array([])}).test_loss is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["l1", "l10", "l2", "l2/b"], ["l1", "l2", "l2/b", "l10"]),
        (["stem", "block1", "block2", "head"], ["stem", "block1", "block2", "head"]),
        (["l", "l0", "l1"], ["l", "l0", "l1"]),
        (
            ["s1/b10", "s1/b2", "s10/b1", "s2/b1"],
            ["s1/b2", "s1/b10", "s2/b1", "s10/b1"],
        ),
    ],
)
def test_layers_stand_in_the_order_of_depth(given, wanted):
    train = {"loss": np.ones(1)} | {f"gradient_norm/{name}": np.ones(1) for name in given}
    assert list(read_history(train).layer_gradient_norm) == wanted


def test_a_cut_history_knows_nothing_of_what_came_later():
    history = History(
        np.ones(ROWS),
        accuracy=np.ones(ROWS),
        test_step=np.arange(40.0, 401, 40),
        test_loss=np.ones(10),
    )
    part = cut(history, 0.25)
    assert len(part.loss) == len(part.accuracy) == 100
    assert part.test_step.max() <= 100 < history.test_step.max()
    assert cut(history, 0.001).test_loss is None
    assert cut(history, 0.001).loss.shape == (1,)
    assert cut(history, 0.2).test_step.tolist() == [40, 80]  # that of its last row
    assert cut(history, 1.0).test_step.tolist() == history.test_step.tolist()


def test_steps_that_were_not_logged_count_from_one():
    assert check_history(History(np.ones(3))).step.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loss": np.ones((2, 3))},
            r"loss must have one axis with rows, got shape \[2, 3\]",
        ),
        ({"loss": np.ones(0)}, r"loss must have one axis with rows, got shape \[0\]"),
        (
            {"update_norm": np.ones(3)},
            r"update_norm must have the shape of loss, \[400\]",
        ),
        ({"test_step": np.ones(1), "test_loss": np.ones(3)}, "shape of test_step"),
        (
            {"dead_fraction": {"a": np.ones(2)}},
            r"dead_fraction\['a'\] must have the shape",
        ),
        ({"step": -STEP}, "step must rise from row to row"),
        ({"step": np.ones(ROWS)}, "step must rise from row to row"),
    ],
)
def test_bad_histories_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(diagnose)(History(**{"loss": np.ones(ROWS), **changes}))


def test_columns_without_a_loss_are_refused():
    with pytest.raises(ValueError, match="must have a column 'loss', got step"):
        read_history({"step": np.arange(3)})

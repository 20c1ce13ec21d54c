"""What a run logged, by quantity: the input of `diagnose`."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Column = Float[np.ndarray, " rows"]
OfTests = Float[np.ndarray, " tests"]


class History(NamedTuple):
    """Numbers of a run, one a logged step; all but the loss may be missing.

    nan stands where a number is missing or was not finite. Dicts go by layer, in the
    order of depth, from the input on.
    """

    loss: Column  # of training, before the step's update
    step: Column | None = None  # rising; 1, 2, 3, ... if missing
    accuracy: Column | None = None  # of training, 0 to 1
    gradient_norm: Column | None = None  # of the batch's mean gradient, before clipping
    update_norm: Column | None = None  # of what is added to the parameters
    parameter_norm: Column | None = None
    learning_rate: Column | None = None
    gradient_cosine: Column | None = None  # between a step's gradient and the last one's
    curvature: Column | None = None  # the Hessian's largest eigenvalue
    lowest_curvature: Column | None = None  # its smallest
    noise_scale: Column | None = None  # examples: trace of the noise / |mean gradient|^2
    batch_size: Column | None = None  # examples
    test_step: OfTests | None = None
    test_loss: OfTests | None = None
    test_accuracy: OfTests | None = None
    layer_gradient_norm: dict[str, Column] | None = None
    layer_parameter_norm: dict[str, Column] | None = None
    dead_fraction: dict[str, Column] | None = None  # units silent on the whole batch, 0-1


ROWS = History._fields[1:12]
TESTS = History._fields[12:15]
LAYERS = History._fields[15:]
BY_LAYER = {
    "gradient_norm/": "layer_gradient_norm",
    "parameter_norm/": "layer_parameter_norm",
    "dead_fraction/": "dead_fraction",
}


def read_history(
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray] | None = None,
    *,
    batch_size: int | None = None,
) -> History:
    """Sort logged columns into a history.

        history.x = train["x"]
        history.test_x = test["x"]
        history.layer_gradient_norm["a/b"] = train["gradient_norm/a/b"]

    Columns are taken by the names that the training step logs; of several learning
    rates, as `0.learning_rate` and `2.learning_rate`, the first. Others are ignored.
    Layers keep the columns' order, which should be that of depth; where it is the
    alphabet's, numbers in names are sorted as numbers.
    Helps with what `optix_tricks.reports.read_run` returns: `read_history(run.train,
    run.test)`. Cost: none.

    Args:
      train: columns of equal length; `loss` is needed.
      test: columns of equal length, among them `step`.
      batch_size: examples a step, where no column has it.

    Returns:
      The history in float64.

    Raises:
      ValueError: if there is no loss, or columns differ in length.

    Examples:
      >>> train = {"loss": np.array([2.0, 1.0]), "gradient_norm/head": np.ones(2)}
      >>> history = read_history(train, {"step": np.array([2]), "loss": np.array([1.5])})
      >>> history.test_loss, list(history.layer_gradient_norm)
      (array([1.5]), ['head'])
    """
    if "loss" not in train:
        raise ValueError(
            f"train must have a column 'loss', got {', '.join(sorted(train)) or 'none'}."
        )
    found: dict[str, Any] = {"loss": _floats(train["loss"])}
    found |= {name: _floats(train[name]) for name in ROWS if name in train}
    rates = [name for name in train if name.endswith(".learning_rate")]
    if "learning_rate" not in found and rates:
        found["learning_rate"] = _floats(train[rates[0]])
    if batch_size is not None:
        found.setdefault("batch_size", np.full(found["loss"].shape, float(batch_size)))
    for prefix, field in BY_LAYER.items():
        names = [name for name in train if name.startswith(prefix)]
        if names == sorted(names):  # as a tree of parameters gives them
            names.sort(key=_with_numbers)
        if names:
            found[field] = {
                name.removeprefix(prefix): _floats(train[name]) for name in names
            }
    for name in TESTS:
        column = name.removeprefix("test_")
        if test is not None and column in test and len(test[column]):
            found[name] = _floats(test[column])
    return check_history(History(**found))


def check_history(history: History) -> History:
    """Return the history in float64 with its steps filled in.

    Raises:
      ValueError: naming the first column that does not fit the others.
    """
    rows = np.shape(history.loss)
    if len(rows) != 1 or not rows[0]:
        raise ValueError(f"loss must have one axis with rows, got shape {list(rows)}.")
    found: dict[str, Any] = {"loss": _floats(history.loss)}
    found["step"] = np.arange(1.0, rows[0] + 1)
    tests = () if history.test_step is None else np.shape(history.test_step)
    for name in (*ROWS, *TESTS):
        value = getattr(history, name)
        if value is None:
            continue
        wanted = tests if name in TESTS else rows
        if np.shape(value) != wanted:
            beside = "test_step" if name in TESTS else "loss"
            raise ValueError(
                f"{name} must have the shape of {beside}, {list(wanted)}, got "
                f"{list(np.shape(value))}."
            )
        found[name] = _floats(value)
    for name in LAYERS:
        layers = getattr(history, name)
        for layer, value in (layers or {}).items():
            if np.shape(value) != rows:
                raise ValueError(
                    f"{name}[{layer!r}] must have the shape of loss, {list(rows)}, got "
                    f"{list(np.shape(value))}."
                )
        if layers:
            found[name] = {layer: _floats(x) for layer, x in layers.items()}
    for name in ("step", "test_step"):
        if name in found and not (np.diff(found[name]) > 0).all():
            raise ValueError(f"{name} must rise from row to row.")
    return History(**found)


def _with_numbers(name: str) -> list[tuple[str, int]]:
    """A key that puts layer2 before layer10."""
    parts = re.split(r"(\d+)", name)
    return [
        (part, int(number or 0)) for part, number in zip_longest(parts[::2], parts[1::2])
    ]


def _floats(values: Any) -> np.ndarray:
    """Float64, with nan for what is infinite."""
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def cut(history: History, fraction: float) -> History:
    """The first part of a history, as it was when that part of the rows was written.

    >>> cut(History(np.arange(8.0)), 0.5).loss
    array([0., 1., 2., 3.])
    """
    history = check_history(history)
    rows = max(1, round(fraction * len(history.loss)))
    found: dict[str, Any] = {}
    for name, value in history._asdict().items():
        if name in TESTS and value is not None:
            seen = history.test_step <= history.step[rows - 1]  # type: ignore
            found[name] = value[seen] if seen.any() else None
        elif isinstance(value, dict):
            found[name] = {layer: x[:rows] for layer, x in value.items()}
        elif value is not None:
            found[name] = value[:rows]
    return History(**found)

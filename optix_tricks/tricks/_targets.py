"""What targets are, and the loss and the metrics that go without saying."""

import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from optix_tricks.losses import cross_entropy, mean_squared_error
from optix_tricks.training import (
    Dataset,
    Metric,
    absolute_error,
    accuracy,
    label_accuracy,
    r_squared,
    top_k_accuracy,
)
from optix_tricks.tricks._context import Context

FEW = 10  # classes, of which five are no feat


def kind_of(context: Context) -> str:
    """Return what the targets are: "classes", "dense", "labels", "numbers" or "other".

    classes    integers: one for each example, or for each of its positions
    dense      floats [classes]: a distribution over the data set's classes
    labels     booleans [labels]: several may be true
    numbers    floats of any other shape
    other      a tree of several arrays
    """
    targets = context.example.targets
    if not hasattr(targets, "dtype"):
        return "other"
    if np.issubdtype(targets.dtype, np.integer):
        return "classes"
    if targets.dtype == np.bool_:
        return "labels"
    if context.classes and targets.shape == (context.classes,):
        return "dense"
    return "numbers"


class AbsentClass(UserWarning):
    """A class is tested that is not trained on."""


def check_classes(dataset: Dataset) -> None:
    """Hold the classes of examples against each other, those of training and of the test.

    Raises:
      ValueError: if there is one class only, which is learnt by any network at once.

    Warns:
      AbsentClass: if test examples are of classes that no training example has.
    """
    train, test = dataset.train.targets, dataset.test.targets
    is_class = np.issubdtype(getattr(train, "dtype", np.float32), np.integer)
    if not is_class or np.ndim(train) != 1:
        return
    seen, asked = np.unique(train), np.unique(test)
    if len(seen) == 1 and np.isin(asked, seen).all():
        raise ValueError(
            f"the training targets must be of two classes or more, got {seen[0]} alone:"
            " there is nothing to tell apart; add examples of another."
        )
    absent = np.setdiff1d(asked, seen)
    if absent.size:
        names = dataset.class_names
        said = [names[i] if i < len(names) else str(i) for i in absent[:3].tolist()]
        warnings.warn(
            f"no training example is of {', '.join(said)}{', ...' * (len(absent) > 3)},"
            f" as {np.isin(test, absent).sum():,} test examples are: these cannot be told"
            " right; mix the examples before they are split.",
            AbsentClass,
            stacklevel=2,
        )


def num_outputs(context: Context) -> int | None:
    """Return how many outputs tell an example's targets; None is one without an axis.

    Raises:
      ValueError: if no vector does.
    """
    shape = getattr(context.example.targets, "shape", ())
    kind = kind_of(context)
    if kind == "classes" and not shape:
        return context.classes
    if kind in ("dense", "labels", "numbers") and len(shape) < 2:
        return shape[0] if shape else None
    raise ValueError(
        "targets must be one class, one number or a vector of them for each example, got"
        f" {kind} {list(shape)}: give a network of your own."
    )


def default_loss(context: Context) -> Callable[[Any, Any], Array]:
    """Return cross-entropy for classes and labels, the squared error for numbers.

    Raises:
      ValueError: if the targets are several arrays.
    """
    kind = kind_of(context)
    if kind == "other":
        raise ValueError(
            "loss must be given where targets are several arrays: Setup(loss=...) of"
            " outputs and targets, one number for each example."
        )
    return {"labels": _of_labels, "numbers": _of_numbers}.get(kind, cross_entropy)


def obvious_metrics(context: Context) -> dict[str, Metric]:
    """Return what is told beside the loss."""
    kind = kind_of(context)
    if kind in ("classes", "dense"):
        top_5 = {"top_5_accuracy": top_k_accuracy(5)} if context.classes > FEW else {}
        return {"accuracy": accuracy, **top_5}
    if kind == "labels":
        return {"accuracy": label_accuracy}
    if kind == "numbers":
        variance = float(np.var(context.dataset.test.targets, dtype=np.float64))
        return {"absolute_error": absolute_error, "r_squared": r_squared(variance)}
    return {}


def _of_labels(logits: Array, targets: Array) -> Array:
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)


def _of_numbers(outputs: Array, targets: Array) -> Array:
    """Of numbers [batch] without an axis to average over, or of several each."""
    if targets.ndim > 1:
        return mean_squared_error(outputs, targets)
    return mean_squared_error(outputs[:, None], targets[:, None])

"""What is counted of outputs and targets beside the loss.

A metric is `metric(outputs, targets) -> values`, one for each example or position, of
which the weighted mean is reported.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays
from optix_tricks._tree import widen

Metric = Callable[[Any, Any], Array]


def accuracy(outputs: Float[Array, "*batch classes"], targets: Arrays) -> Array:
    """Whether the largest output is that of the class, at each example or position.

    Args:
      outputs: logits.
      targets: classes, integers [*batch]; or dense, [*batch, classes], of which the
        largest counts; or a tuple that begins with either.

    Examples:
      >>> logits = jnp.array([[0.1, 0.9], [0.8, 0.2]])
      >>> print(accuracy(logits, jnp.array([1, 1])))
      [ True False]
    """
    return jnp.argmax(outputs, axis=-1) == _classes(outputs, targets)


def top_k_accuracy(k: int) -> Metric:
    """Return the metric of whether the class is among the k largest outputs.

    Of equal outputs those of smaller classes go before, as in `accuracy`.

    Raises:
      ValueError: if k is less than 1.

    Examples:
      >>> logits = jnp.array([[0.1, 0.9, 0.5], [0.8, 0.2, 0.1]])
      >>> print(top_k_accuracy(2)(logits, jnp.array([2, 2])))
      [ True False]
    """
    check_count("k", k, minimum=1)

    def metric(outputs: Float[Array, "*batch classes"], targets: Any) -> Array:
        classes = _classes(outputs, targets)[..., None]
        own = jnp.take_along_axis(outputs, classes, axis=-1)
        place = jnp.expand_dims(
            jnp.arange(outputs.shape[-1]), tuple(range(outputs.ndim - 1))
        )
        before = (outputs > own) | ((outputs == own) & (place < classes))
        return jnp.sum(before, axis=-1) < k

    return metric


def label_accuracy(
    outputs: Float[Array, "batch labels"], targets: Num[Array, "batch labels"]
) -> Array:
    """The share of an example's labels, each yes or no, that its logits' signs tell.

    Examples:
      >>> print(label_accuracy(jnp.array([[2.0, -1.0]]), jnp.array([[1, 1]])))
      [0.5]
    """
    return jnp.mean((outputs > 0) == (targets > 0.5), axis=-1)


def absolute_error(
    outputs: Float[Array, "*batch"], targets: Num[Array, "*batch"]
) -> Array:
    """The distance of each number from its target.

    Raises:
      ValueError: if outputs and targets differ in shape.

    Examples:
      >>> print(absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.5, 2.0])))
      [0.5 0. ]
    """
    return jnp.abs(_distance(outputs, targets))


def r_squared(variance: Float[Array, ""] | float) -> Metric:
    """Return the metric whose mean is R² = 1 - mean (y - ŷ)² / variance.

    Args:
      variance: of the targets of the examples that are counted.

    Examples:
      >>> y = jnp.array([1.0, 3.0])
      >>> print(jnp.mean(r_squared(jnp.var(y))(jnp.array([1.0, 2.0]), y)))
      0.5
    """

    def metric(outputs: Float[Array, "*batch"], targets: Num[Array, "*batch"]) -> Array:
        return 1 - _distance(outputs, targets) ** 2 / variance

    return metric


def _distance(outputs: Array, targets: Array) -> Array:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs and targets must have one shape, got {list(outputs.shape)} and"
            f" {list(targets.shape)}: give each example or position its target."
        )
    return widen(outputs) - widen(targets)


def written(name: str, value: float) -> str:
    """Return a metric's value as a person reads it: an accuracy in per cent.

    >>> written("top_5_accuracy", 0.5), written("r_squared", 0.5)
    ('50.00%', '0.5000')
    """
    return f"{value:.2%}" if "accuracy" in name else f"{value:.4f}"


def default_metrics(outputs: Arrays, targets: Arrays) -> dict[str, Metric]:
    """Return `accuracy` where targets are classes, at each example or position.

    That they are is told by their shapes: integers of the shape of the logits without
    their last axis. Of anything else there is nothing that could be said to be right.
    """
    if not hasattr(outputs, "shape") or not hasattr(targets, "shape"):
        return {}
    are_integers = jnp.issubdtype(targets.dtype, jnp.integer)
    is_one_each = outputs.ndim > 0 and outputs.shape[:-1] == targets.shape
    return {"accuracy": accuracy} if are_integers and is_one_each else {}


def _classes(outputs: Array, targets: Any) -> Array:
    if isinstance(targets, tuple):
        targets = targets[0]
    shape = getattr(targets, "shape", None)
    if shape not in (outputs.shape, outputs.shape[:-1]):
        raise ValueError(
            f"targets must be classes {list(outputs.shape[:-1])} or dense"
            f" {list(outputs.shape)}, got {type(targets).__name__} {shape or ''}."
        )
    is_dense = targets.ndim == outputs.ndim
    return jnp.argmax(targets, axis=-1) if is_dense else targets

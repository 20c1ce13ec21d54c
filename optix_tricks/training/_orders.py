"""The order in which an epoch takes its examples, and how many batches that makes."""

import math
from collections.abc import Iterator

import jax
from jaxtyping import Array, Int, Key

from optix_tricks._checks import check_count, check_nonnegative


def steps_per_epoch(size: int, batch_size: int) -> int:
    """How many full batches `size` examples make.

    Raises:
      ValueError: if there is no example, or not one batch is full.
    """
    check_count("size", size, minimum=1)
    check_count("batch_size", batch_size, minimum=1)
    steps = size // batch_size
    if steps == 0:
        raise ValueError(
            f"batch_size must be at most the number of training examples, {size}, "
            f"got {batch_size}."
        )
    return steps


def epoch_order(
    key: Key[Array, ""], epoch: int, size: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Indices of an epoch's batches: a fresh shuffle, an incomplete last batch dropped.

    Raises:
      ValueError: if not one batch is full.
    """
    steps = steps_per_epoch(size, batch_size)
    order = jax.random.permutation(jax.random.fold_in(key, epoch), size)
    return order[: steps * batch_size].reshape(steps, batch_size)


def total_steps(epochs: int | float, size: int, batch_size: int) -> int:
    """How many steps a run has; of a fraction of an epoch its first batches, rounded up.

    Raises:
      ValueError: if `epochs` is negative or not finite, or not one batch is full.

    >>> total_steps(9.9, 50_000, 1024)
    476
    """
    check_nonnegative("epochs", epochs)
    steps = epochs * steps_per_epoch(size, batch_size)
    return math.ceil(round(steps, 9))  # 0.1 * 30 is 3, not 4


def steps_in_epoch(epoch: int, epochs: int | float, size: int, batch_size: int) -> int:
    """How many steps the epoch of this number has; a run's last may be cut short."""
    steps = steps_per_epoch(size, batch_size)
    return min(steps, total_steps(epochs, size, batch_size) - epoch * steps)


def epoch_orders(
    key: Key[Array, ""],
    epochs: int | float,
    size: int,
    batch_size: int,
    *,
    first: int = 0,
) -> Iterator[Int[Array, "steps batch"]]:
    """Yield `epoch_order` of each epoch from `first` on; the last may be cut short.

    The key may be a state's own that the first step donates.
    """
    key = jax.random.clone(key)
    for epoch in range(first, math.ceil(epochs)):
        length = steps_in_epoch(epoch, epochs, size, batch_size)
        yield epoch_order(key, epoch, size, batch_size)[:length]

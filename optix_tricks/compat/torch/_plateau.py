"""PyTorch's ReduceLROnPlateau, as a state machine."""

from typing import Literal

from optix_tricks._checks import check_count, check_nonnegative, check_positive
from optix_tricks.transforms import plateau
from optix_tricks.transforms._plateau_machine import Plateau


def ReduceLROnPlateau(
    lr: float,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
) -> Plateau:
    r"""`ReduceLROnPlateau`: less rate once a metric no longer improves.

    `scheduler.step(metric)` is `watch = machine.update(watch, metric)` here, and the
    rate is `lr * watch.scale`; write it into the optimiser's state as the example does.
    A pure machine, to be scanned and kept in a checkpoint.

    A better metric differs from the best one, b, by more than the threshold times
    :math:`|b|`, or than the threshold ("abs"). PyTorch takes b itself: its relative
    threshold lies on the wrong side of a negative best, so that equal values improve
    for ever. For metrics that are positive the two agree.

    Args:
      lr: the optimiser's rate in PyTorch, a number.
      mode: "min" or "max".
      factor: by which the rate is multiplied, in (0, 1).
      patience: how many values in a row may fail to improve.
      threshold: how much is an improvement.
      threshold_mode: "rel" or "abs".
      cooldown: values after a reduction that are not counted.
      min_lr: the smallest rate.
      eps: a reduction by no more than this is left out, and so are all that follow.

    Returns:
      A `Plateau`: `init()` and `update(state, value)`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import optax
      >>> import jax.numpy as jnp
      >>> from optix_tricks.compat.torch import SGD
      >>> machine = ReduceLROnPlateau(0.1, factor=0.5, patience=1)
      >>> watch, state = machine.init(), SGD(lr=0.1).init(jnp.zeros(1))
      >>> for metric in (1.0, 0.7, 0.7, 0.7):
      ...     watch = machine.update(watch, metric)
      ...     state = optax.tree.set(state, learning_rate=0.1 * watch.scale)
      ...     print(f"{optax.tree.get(state, 'learning_rate'):.2f}")
      0.10
      0.10
      0.10
      0.05

    References:
      `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    check_positive("lr", lr)
    check_nonnegative("threshold", threshold)
    check_nonnegative("min_lr", min_lr)
    check_nonnegative("eps", eps)
    check_count("patience", patience)
    if not 0 < factor < 1:
        raise ValueError(f"factor must be in (0, 1), got {factor!r}.")
    is_relative = threshold_mode == "rel"
    return plateau(
        factor,
        patience + 1,
        rtol=threshold if is_relative else 0.0,
        atol=0.0 if is_relative else threshold,
        cooldown=cooldown,
        min_scale=_lowest_rate(lr, factor, min_lr, eps) / lr,
        mode=mode,
    )


def _lowest_rate(lr: float, factor: float, min_lr: float, eps: float) -> float:
    """Where the reductions end: before the first that is too small."""
    while lr - max(lr * factor, min_lr) > eps:
        lr = max(lr * factor, min_lr)
    return lr

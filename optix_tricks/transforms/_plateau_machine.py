"""A state machine that watches a metric and says when the rate should fall."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from optix_tricks._checks import (
    check_count,
    check_fraction,
    check_nonnegative,
    check_positive,
)
from optix_tricks._hyperparams import as_scalar


class PlateauState(NamedTuple):
    """What a plateau knows; scalars, floats in float32 (float64 under x64)."""

    scale: Float[Array, ""]  # the product of all reductions
    best_value: Float[Array, ""]  # infinite before the first
    plateau_count: Int[Array, ""]  # judged values since the best one
    cooldown_count: Int[Array, ""]  # judged values until reductions are allowed again
    avg_value: Float[Array, ""]  # mean of the values not judged yet
    avg_count: Int[Array, ""]  # how many these are


class Plateau(NamedTuple):
    """Two pure functions, of no arguments and of a state and a scalar."""

    init: Callable[[], PlateauState]
    update: Callable[[PlateauState, ArrayLike], PlateauState]


def plateau(
    factor: ArrayLike = 0.1,
    patience: ArrayLike = 10,
    *,
    rtol: ArrayLike = 1e-4,
    atol: ArrayLike = 0.0,
    cooldown: ArrayLike = 0,
    accumulation_size: ArrayLike = 1,
    min_scale: ArrayLike = 0.0,
    mode: Literal["min", "max"] = "min",
) -> Plateau:
    r"""Watch a metric and say by how much to scale the learning rate.

    .. math::
      v \text{ improves if } v < b - (r |b| + a)
      \quad (\text{mode "max": } v > b + (r |b| + a))

    Then the best value :math:`b` becomes :math:`v` and the count of bad values 0; else
    that count rises by 1, and when it reaches the patience, the scale becomes
    :math:`\max(\phi s, s_{\min})`, the count 0, and the next `cooldown` values are not
    counted. The first finite value always improves. A value that is not finite never
    does: it is a bad one, and the best stays.

    Metrics may be negative: the threshold lies :math:`r |b|` from the best. PyTorch and
    Optax multiply, :math:`(1 - r) b`, which for a negative best lies on the wrong side,
    so that equal values improve for ever. For positive ones all three agree.

    Pure, of fixed structure and dtypes: scan it, vmap it, keep it in a checkpoint. For a
    metric that is there once an epoch; `reduce_on_plateau` is the same inside a step.

    Helps where the length of the run is not known and the metric is quiet. Hurts where it
    is noisy: the best value is then a lucky draw, and the scale falls too early. Cost:
    free.

    Args:
      factor: :math:`\phi` in (0, 1]; 1 never reduces.
      patience: the bad values in a row that bring a reduction, at least 1. PyTorch
        allows as many before: its `patience=10` is 11 here and in Optax.
      rtol: :math:`r` >= 0. PyTorch's `threshold` in mode "rel".
      atol: :math:`a` >= 0. PyTorch's `threshold` in mode "abs", with `rtol=0`.
      cooldown: the values after a reduction that are not counted.
      accumulation_size: how many values are averaged before one judgement.
      min_scale: :math:`s_{\min}` in [0, 1].
      mode: "min" for a metric that should fall, "max" for one that should rise.

    Returns:
      `init()` and `update(state, value)`, each returning a `PlateauState`.

    Raises:
      ValueError: if a number is outside its range, `mode` is unknown, or a value is no
        scalar.

    Examples:
      >>> machine = plateau(factor=0.5, patience=2)
      >>> state = machine.init()
      >>> for loss in (1.0, 0.7, 0.7, 0.8, 0.6):
      ...     state = machine.update(state, loss)
      ...     print(state.scale, state.best_value, state.plateau_count)
      1.0 1.0 0
      1.0 0.7 0
      1.0 0.7 1
      0.5 0.7 0
      0.5 0.6 0

    References:
      `torch.optim.lr_scheduler.ReduceLROnPlateau`; `optax.contrib.reduce_on_plateau`.
    """
    check_plateau(factor, patience, rtol, atol, cooldown, accumulation_size, min_scale)
    sign = 1.0 if mode == "min" else -1.0

    def init() -> PlateauState:
        return PlateauState(
            scale=as_scalar(1.0),
            best_value=as_scalar(sign * jnp.inf),
            plateau_count=jnp.zeros((), jnp.int32),
            cooldown_count=jnp.zeros((), jnp.int32),
            avg_value=as_scalar(0.0),
            avg_count=jnp.zeros((), jnp.int32),
        )

    def update(state: PlateauState, value: ArrayLike) -> PlateauState:
        if jnp.ndim(value):
            raise ValueError(
                f"value must be a scalar, got an array of shape {jnp.shape(value)};"
                " give its mean."
            )
        count = state.avg_count + 1
        mean = state.avg_value + (as_scalar(value) - state.avg_value) / as_scalar(count)
        waiting = state._replace(avg_value=mean, avg_count=count)
        judged = judge(state, mean)
        return jax.tree.map(
            partial(jnp.where, as_scalar(count) >= as_scalar(accumulation_size)),
            judged,
            waiting,
        )

    def judge(state: PlateauState, value: Array) -> PlateauState:
        best = state.best_value
        margin = jnp.where(jnp.isfinite(best), rtol * jnp.abs(best) + atol, 0.0)
        is_better = jnp.isfinite(value) & (sign * value < sign * best - margin)
        is_cooling = state.cooldown_count > 0
        bad = jnp.where(is_better | is_cooling, 0, state.plateau_count + 1)
        reduce = as_scalar(bad) >= as_scalar(patience)
        cooled = jnp.maximum(state.cooldown_count - 1, 0)
        less = jnp.maximum(state.scale * factor, min_scale)
        new = PlateauState(
            scale=jnp.where(reduce, less, state.scale),
            best_value=jnp.where(is_better, value, best),
            plateau_count=jnp.where(reduce, 0, bad),
            cooldown_count=jnp.where(reduce, as_scalar(cooldown), as_scalar(cooled)),
            avg_value=jnp.zeros_like(value),
            avg_count=jnp.zeros_like(state.avg_count),
        )
        return jax.tree.map(lambda x, like: x.astype(like.dtype), new, state)

    return Plateau(init, update)


def check_plateau(
    factor: Any,
    patience: Any,
    rtol: Any,
    atol: Any,
    cooldown: Any,
    accumulation_size: Any,
    min_scale: Any,
) -> None:
    """Raise unless the arguments of `plateau` that are numbers are in their ranges."""
    check_positive("factor", factor)
    check_fraction("factor", factor)
    check_nonnegative("rtol", rtol)
    check_nonnegative("atol", atol)
    check_fraction("min_scale", min_scale)
    for name, steps, minimum in (
        ("patience", patience, 1),
        ("cooldown", cooldown, 0),
        ("accumulation_size", accumulation_size, 1),
    ):
        if isinstance(steps, int | float):
            check_count(name, steps, minimum=minimum)

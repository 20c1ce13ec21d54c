"""A state machine that watches a metric, keeps the best weights and says when to stop."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._checks import check_count, check_nonnegative
from optix_tricks._hyperparams import as_scalar
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_arrays


class EarlyStoppingState(NamedTuple):
    """What early stopping knows; the best value in float32 (float64 under x64)."""

    should_stop: Bool[Array, ""]
    best_value: Float[Array, ""]  # infinite before the first
    best_params: PyTree  # those of the best value; None where none are kept
    best_evaluation: Int[Array, ""]  # its number, counted from 1; 0 before the first
    bad_count: Int[Array, ""]  # judged evaluations since the best one
    evaluations: Int[Array, ""]  # until the stop, those of the warm-up included


class EarlyStopping(NamedTuple):
    """Two pure functions: `init(params)` and `update(state, value, params)`."""

    init: Callable[..., EarlyStoppingState]
    update: Callable[..., EarlyStoppingState]


def early_stopping(
    *,
    patience: ArrayLike,
    min_delta: ArrayLike = 0.0,
    mode: Literal["min", "max"] = "min",
    warmup: ArrayLike = 0,
) -> EarlyStopping:
    """Stop when a metric has not improved for a while, and keep its best weights.

        v improves if v < b - δ    (mode "max": v > b + δ)

    Then the best value b becomes v, the weights given with it are kept, and the count of
    bad evaluations becomes 0; else the count rises by 1, and `should_stop` is True once
    it reaches the patience. A tie does not improve. A value that is not finite never
    does. After the stop nothing changes any more: a scan of fixed length and a vmapped
    sweep hold the state in which a loop would have broken off.

    The rule is that of Keras's `EarlyStopping` with `restore_best_weights`, `warmup`
    being its `start_from_epoch`, except that -inf is no improvement and that a run may
    stop at its first evaluation. Flax's `EarlyStopping` keeps no weights, is not
    traceable, and stops one evaluation later.

    Helps long runs on little data, where validation loss falls and rises again. Hurts
    with a learning rate that has yet to fall, as most of the gain of a cosine or
    one-cycle schedule comes in its last steps. A validation set must be set aside, and
    the best of many evaluations is a lucky draw: report another set's metric. Cost: an
    evaluation each time; a copy of what is kept, and a pass over it an evaluation.

    Beside others: `reduce_on_plateau` and `plateau` watch the same metric: give the stop
    the longer patience. Of `ema_of_params` keep the average, which is what was evaluated.

    Args:
        patience: how many bad evaluations in a row bring the stop. 0 is as 1: the first
            evaluation without an improvement stops.
        min_delta: δ >= 0, in the metric's unit.
        mode: "min" for a metric that should fall, "max" for one that should rise.
        warmup: how many evaluations at first are not judged, nor their weights kept.

    Returns:
        `init(params=None)` and `update(state, value, params=None)`, each returning an
        `EarlyStoppingState`. `params` is any tree of arrays: give `(params, batch_stats)`
        where the network has both. Those given to `init` are the best before the first
        improvement. Without them none are kept, and it costs nothing.

    Raises:
        ValueError: if a number is out of range, `mode` is unknown, a value is no scalar,
            or `params` are not like those given to `init`.

    Examples:
        >>> stopping = early_stopping(patience=2)
        >>> state = stopping.init(params={"w": jnp.zeros(2)})
        >>> for epoch, loss in enumerate([1.0, 0.6, 0.7, 0.6, 0.1]):
        ...     params = {"w": jnp.full(2, float(epoch))}  # one epoch of training
        ...     state = stopping.update(state, loss, params)  # the validation loss
        ...     if state.should_stop:
        ...         break
        >>> print(epoch, state.best_value, state.best_evaluation, state.best_params["w"])
        3 0.6 2 [1. 1.]

    Source: "Early Stopping - But When?", Prechelt, 1998; "Deep Learning", Goodfellow,
    Bengio and Courville, 2016, section 7.8, algorithm 7.1. No source names one patience
    for all.
    """
    check_nonnegative("min_delta", min_delta)
    for name, count in (("patience", patience), ("warmup", warmup)):
        if isinstance(count, int | float):
            check_count(name, count)
    sign = 1.0 if mode == "min" else -1.0

    def init(params: Arrays = None) -> EarlyStoppingState:
        check_arrays("params", params)
        return EarlyStoppingState(
            should_stop=jnp.zeros((), bool),
            best_value=as_scalar(sign * jnp.inf),
            # A copy: a training step may donate the parameters themselves.
            best_params=jax.tree.map(jnp.copy, params),
            best_evaluation=jnp.zeros((), jnp.int32),
            bad_count=jnp.zeros((), jnp.int32),
            evaluations=jnp.zeros((), jnp.int32),
        )

    def update(
        state: EarlyStoppingState, value: ArrayLike, params: Arrays = None
    ) -> EarlyStoppingState:
        _check_update(state.best_params, value, params)
        v, best = as_scalar(value), state.best_value
        evaluations = state.evaluations + jnp.where(state.should_stop, 0, 1)
        judged = ~state.should_stop & (evaluations > warmup)
        improved = sign * v < sign * best - jnp.asarray(min_delta, best.dtype)
        better = judged & improved & jnp.isfinite(v)
        bad_count = jnp.where(better, 0, state.bad_count + jnp.where(judged, 1, 0))

        def choose(new: Array, old: Array) -> Array:
            return jnp.where(better, new, old)

        return EarlyStoppingState(
            should_stop=bad_count >= jnp.maximum(patience, 1),
            best_value=choose(v, best),
            best_params=jax.tree.map(choose, params, state.best_params),
            best_evaluation=choose(evaluations, state.best_evaluation),
            bad_count=bad_count,
            evaluations=evaluations,
        )

    return EarlyStopping(init, update)


def _check_update(kept: PyTree, value: ArrayLike, params: Arrays) -> None:
    if jnp.ndim(value):
        raise ValueError(
            f"value must be a scalar, got an array of shape {jnp.shape(value)};"
            " give its mean."
        )

    def described(tree: PyTree) -> Any:
        return jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)

    if described(params) != described(kept):
        raise ValueError(
            "params must be like those given to init, with the same names, shapes and"
            f" dtypes, got {described(params)} and at init {described(kept)}."
        )

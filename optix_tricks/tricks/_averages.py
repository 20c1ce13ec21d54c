"""Averages of the weights over the run, which are tested in their place."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks._packed import unpacked
from optix_tricks.schedules import lookahead_schedule
from optix_tricks.training import (
    Apply,
    TrainState,
    lookahead_statistics,
    on_slow_weights,
    refresh_batch_statistics,
)
from optix_tricks.training._batch_statistics import NoAverageError, run_over
from optix_tricks.tricks._context import Context, Network
from optix_tricks.tricks._trick import trick

Tested = Callable[[TrainState], TrainState]
Link: TypeAlias = optax.GradientTransformation
EXAMPLES = 2048  # over which the statistics of averaged weights are gathered


def averaged(context: Context) -> Tested:
    """Return what is tested: the average, with batch statistics of its own.

    They are gathered over the first training examples, in batches of the training's size:
    those of the state belong to other weights. Where they are no average of the batches',
    as those of `BatchRenorm` and of Haiku, which count, they are what they become in a
    pass over these batches.
    """

    def tested(state: TrainState) -> TrainState:
        params = unpacked(ot.averaged_params(state.opt_state, state.params))
        shown = state._replace(params=params)
        old = state.batch_stats
        if not jax.tree.leaves(old):
            return shown
        size = context.batch_size
        some = context.first(max(EXAMPLES // size, 1) * size).inputs
        count = len(jax.tree.leaves(some)[0])
        batches = [
            jax.tree.map(lambda x, at=start: x[at : at + size], some)
            for start in range(0, count, size)
        ]
        data = jax.random.key_data(state.key).tolist()
        apply = _keyed(context.network.apply, jax.random.key_impl(state.key), (*data,))
        try:
            stats = refresh_batch_statistics(apply, params, old, batches)
        except NoAverageError:
            stats = run_over(apply, params, old, batches)
        return shown._replace(batch_stats=stats)

    return tested


@functools.lru_cache(maxsize=4)
def _keyed(apply: Apply, impl: Any, data: tuple[int, ...]) -> Apply:
    """Return the network that draws from one key: one and the same, compiled once."""
    key = jax.random.wrap_key_data(jnp.array(data, jnp.uint32), impl=impl)
    return functools.partial(apply, key=key)


@trick("after", "tested", calls=ot.ema_of_params, main="decay", place="average")
def ema(context: Context, call: Any) -> tuple[Link, Tested]:
    """A running average of the weights."""
    return call(), averaged(context)


def _swa(updates: int, *, start: float = 0.75, every_steps: int = 1) -> Link:
    """Average the weights from a fraction of the run on.

    Args:
      updates: of the run.
      start: the fraction.
      every_steps: from one of the weights that are averaged to the next.
    """
    return ot.swa(round(start * updates), every_steps)


@trick("after", "tested", calls=_swa, about=ot.swa, main="start", place="average")
def swa(context: Context, call: Any) -> tuple[Link, Tested]:
    """The mean of the weights in the last part of the run."""
    return call(context.updates), averaged(context)


@trick("around", "tested", calls=ot.lookahead, main="sync_period", place="slow")
def lookahead(context: Context, call: Any) -> tuple[Callable[[Link], Link], Tested]:
    """Slow weights that follow fast ones."""
    return call, averaged(context)


def _scheduled(
    slow_step_size: optax.Schedule, *, sync_period: int = 5
) -> tuple[Callable[[Link], Link], Callable[[Network], Network]]:
    """Return a lookahead of the weights, and of the running statistics with them.

    Args:
      slow_step_size: how far the slow ones follow, a schedule.
      sync_period: steps from one synchronisation to the next.
    """
    options: Any = {"sync_period": sync_period, "slow_step_size": slow_step_size}

    def around(tx: Link) -> Link:
        return ot.lookahead(tx, **options)

    def applied(network: Network) -> Network:
        apply, _ = lookahead_statistics(network.apply, {}, **options)

        def init(seed: int) -> tuple[Any, Any]:
            params, stats = network.init(seed)
            return params, lookahead_statistics(network.apply, stats, **options)[1]

        return Network(apply, init)

    return around, applied


@trick(
    "around",
    "applied",
    "tested",
    calls=_scheduled,
    about=lookahead_schedule,
    main="sync_period",
    place="slow",
)
def scheduled_lookahead(context: Context, call: Any) -> tuple[Any, Any, Tested]:
    """Slow weights and statistics that follow fast ones, all the way at the end."""
    return *call(lookahead_schedule(context.updates)), on_slow_weights

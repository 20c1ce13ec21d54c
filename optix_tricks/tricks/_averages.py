"""Averages of the weights over the run, which are tested in their place."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import optax

import optix_tricks as ot
from optix_tricks._packed import unpacked
from optix_tricks.training import TrainState, refresh_batch_statistics
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

Tested = Callable[[TrainState], TrainState]
Link: TypeAlias = optax.GradientTransformation
EXAMPLES = 2048  # over which the statistics of averaged weights are gathered


def averaged(context: Context) -> Tested:
    """Return what is tested: the average, with batch statistics of its own.

    They are gathered over the first training examples, in batches of the training's size:
    those of the state belong to other weights.
    """

    def tested(state: TrainState) -> TrainState:
        params = unpacked(ot.averaged_params(state.opt_state, state.params))
        shown = state._replace(params=params)
        if not jax.tree.leaves(state.batch_stats):
            return shown
        size = context.batch_size
        some = context.first(max(EXAMPLES // size, 1) * size).inputs
        count = len(jax.tree.leaves(some)[0])
        batches = (
            jax.tree.map(lambda x, at=start: x[at : at + size], some)
            for start in range(0, count, size)
        )
        apply = functools.partial(context.network.apply, key=state.key)
        stats = refresh_batch_statistics(apply, params, state.batch_stats, batches)
        return shown._replace(batch_stats=stats)

    return tested


@trick("after", "tested", calls=ot.ema_of_params, main="decay", place="average")
def ema(context: Context, call: Any) -> tuple[Link, Tested]:
    """A running average of the weights."""
    return call(), averaged(context)


def _swa(updates: int, *, start: float = 0.75, every_steps: int = 1) -> Link:
    """Average the weights from a fraction of the run on."""
    return ot.swa(round(start * updates), every_steps)


@trick("after", "tested", calls=_swa, main="start", place="average")
def swa(context: Context, call: Any) -> tuple[Link, Tested]:
    """The mean of the weights in the last part of the run."""
    return call(context.updates), averaged(context)


@trick("around", "tested", calls=ot.lookahead, main="sync_period", place="slow")
def lookahead(context: Context, call: Any) -> tuple[Callable[[Link], Link], Tested]:
    """Slow weights that follow fast ones."""
    return call, averaged(context)

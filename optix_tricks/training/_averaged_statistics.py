"""Running batch statistics that take part in a lookahead of the weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.transforms import averaged_params


def lookahead_statistics(
    apply: Apply,
    batch_stats: Arrays,
    *,
    sync_period: int,
    slow_step_size: optax.Schedule,
) -> tuple[Apply, PyTree]:
    """Let the running statistics follow slow ones, as `optix_tricks.lookahead`'s weights.

        slow ← slow + α (fast - slow),    fast ← slow    after every k training steps

    The weights that lookahead ends on have never seen a batch; the average of the
    statistics over the same steps, with the same α, fits them better than the last ones.

    Args:
      apply: the network; see `training.functional`.
      batch_stats: its statistics.
      sync_period: k, that of the weights.
      slow_step_size: α, that of the weights, a schedule of the steps done before.

    Returns:
      `apply` and statistics of the form {"count", "fast", "slow"}; the network reads the
      fast ones. `on_slow_weights` hands it the slow ones.
    """
    check_count("sync_period", sync_period, minimum=1)

    def with_slow(
        params: Arrays,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> tuple[PyTree, PyTree]:
        logits, fast = apply(params, batch_stats["fast"], inputs, train=train, key=key)
        if not train:
            return logits, batch_stats
        done = batch_stats["count"]
        step_size = slow_step_size(done.astype(jnp.int32))
        now = (done + 1) % sync_period == 0

        def follow(slow: Array, fast: Array) -> Array:
            return jnp.where(now, slow + step_size * (fast - slow), slow)

        slow = jax.tree.map(follow, batch_stats["slow"], fast)
        fast = jax.tree.map(lambda s, f: jnp.where(now, s, f), slow, fast)
        return logits, {"count": done + 1, "fast": fast, "slow": slow}

    return with_slow, {
        "count": jnp.zeros((), jnp.float32),  # statistics are averaged over devices
        "fast": batch_stats,
        "slow": jax.tree.map(jnp.copy, batch_stats),
    }


def on_slow_weights(state: TrainState) -> TrainState:
    """Return the state with the slow weights and statistics in place of the fast ones."""
    stats: dict[str, Any] = state.batch_stats
    return state._replace(
        params=averaged_params(state.opt_state, state.params),
        batch_stats=stats | {"fast": stats["slow"]},
    )

"""The loss along a learning rate that rises from step to step."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._checks import check_count, check_positive
from optix_tricks._tree import PyTree

WINDOW = 5  # losses under a running median: spikes of one or two are not seen
PATIENCE = 3  # losses in a row above the limit


class RangeTest(NamedTuple):
    """What a range test saw; rates are spaced evenly in their logarithm."""

    rates: Float[Array, " steps"]
    losses: Float[Array, "seeds steps"]  # before each step; NaN once diverged
    smoothed: Float[Array, "seeds steps"]
    mean: Float[Array, " steps"]  # of the seeds left; NaN where fewer than half are
    standard_error: Float[Array, " steps"]  # of that mean; NaN for one seed
    stop: Int[Array, " seeds"]  # steps until each diverged; all where none did
    smoothing: Float[Array, ""]  # decades


class _Lane(NamedTuple):
    state: PyTree
    recent: Float[Array, " window"]
    best: Float[Array, ""]  # the least running median
    above: Int[Array, ""]  # losses in a row above the limit
    stop: Int[Array, ""]
    alive: Bool[Array, ""]


def scan_learning_rates(
    step_fn: Callable[[PyTree, Any, Array], tuple[PyTree, Array]],
    init_fn: Callable[[Any], PyTree],
    *,
    batch_fn: Callable[[Any, Any], Any],
    min_rate: float = 1e-6,
    max_rate: float = 10.0,
    steps: int = 100,
    seeds: int = 3,
    divergence: float = 4.0,
    smoothing: float = 0.2,
    mode: Literal["scan", "loop"] = "scan",
    on_step: Callable[[int, int], None] = lambda seed, step: None,
) -> RangeTest:
    """Run a learning-rate range test with a training step of one's own.

        state_0 = init_fn(seed),    state_{t+1}, loss_t = step_fn(state_t, batch_t, r_t)

    For states that hold more than parameters: batch statistics, random keys, or initial
    values drawn by seed.

    Helps where a loss of parameters and batch alone does not do. Does little otherwise.
    Cost: seeds × steps calls of `step_fn`, and one copy of the state.

    Args:
        step_fn: pure; `rate` is a scalar array.
        init_fn: `init_fn(seed)` returns the state of a seed, a tree of arrays.
        batch_fn: see `learning_rate_range_test`, and so for all below.
        min_rate: of the first step.
        max_rate: of the last step.
        steps: at least 10.
        seeds: how many runs.
        divergence: at least 1.
        smoothing: decades.
        mode: "scan" or "loop".
        on_step: called in a loop.

    Returns:
        The same as `learning_rate_range_test`.

    Raises:
        ValueError: if a number is out of range.

    Examples:
        >>> def step(w, noise, rate):
        ...     return w - rate * (w + noise), w**2 / 2 + 1
        >>> key = jax.random.key(0)
        >>> test = scan_learning_rates(
        ...     step,
        ...     lambda seed: 1.0 + jnp.float32(seed),
        ...     batch_fn=lambda seed, t: jax.random.normal(jax.random.fold_in(key, t)),
        ... )
        >>> test.smoothed.shape
        (3, 100)

    Source: "Cyclical Learning Rates for Training Neural Networks", Smith, 2017, section
    3.3.
    """
    check_positive("min_rate", min_rate)
    check_positive("max_rate", max_rate)
    if not min_rate < max_rate < float("inf"):
        raise ValueError(
            f"max_rate must be finite and above min_rate, {min_rate!r}, got {max_rate!r}."
        )
    check_count("steps", steps, minimum=10)
    check_count("seeds", seeds, minimum=1)
    check_positive("smoothing", smoothing)
    if not divergence >= 1:
        raise ValueError(f"divergence must be at least 1, got {divergence!r}.")

    rates = jnp.geomspace(min_rate, max_rate, steps)

    def start(seed: Any) -> _Lane:
        state = jax.tree.map(jnp.asarray, init_fn(seed))
        zero = jnp.zeros((), jnp.int32)
        highest = jnp.full(WINDOW, jnp.inf, rates.dtype)
        return _Lane(state, highest, highest[0], zero, zero + steps, zero == 0)

    def advance(lane: _Lane, batch: Any, rate: Array, t: Array) -> tuple[_Lane, Array]:
        state, loss = step_fn(lane.state, batch, rate)
        loss = loss.astype(rates.dtype)
        limit = lane.best + (divergence - 1) * jnp.abs(lane.best)
        fine = jnp.isfinite(loss) & ~(loss > limit)
        above = jnp.where(fine, 0, lane.above + 1)
        alive = lane.alive & jnp.isfinite(loss) & (above < PATIENCE)
        recent = jnp.append(lane.recent[1:], loss)
        advanced = _Lane(
            state=jax.tree.map(
                lambda new, old: jnp.where(alive, new, old), state, lane.state
            ),
            recent=recent,
            best=jnp.minimum(lane.best, jnp.sort(recent)[WINDOW // 2]),
            above=above,
            stop=jnp.where(lane.alive & ~alive, t + 1 - above, lane.stop),
            alive=alive,
        )
        return advanced, loss

    run = _scanned if mode == "scan" else _looped
    losses, stop = run(start, advance, batch_fn, rates, seeds, on_step)
    losses = jnp.where(jnp.arange(steps)[None] < stop[:, None], losses, jnp.nan)
    smoothed = jax.vmap(lambda x: _smooth(jnp.log10(rates), x, smoothing))(losses)
    return RangeTest(
        rates,
        losses,
        smoothed,
        *_mean(smoothed),
        stop,
        jnp.asarray(smoothing, rates.dtype),
    )


def _scanned(
    start: Any, advance: Any, batch_fn: Any, rates: Array, seeds: int, on_step: Any
) -> tuple[Array, Array]:
    del on_step
    numbers = jnp.arange(len(rates), dtype=jnp.int32)

    def run(seed: Array) -> tuple[Array, Array]:
        def body(lane: _Lane, at: tuple[Array, Array]) -> tuple[_Lane, Array]:
            t, rate = at
            return advance(lane, batch_fn(seed, t), rate, t)

        lane, losses = lax.scan(body, start(seed), (numbers, rates))
        return losses, lane.stop

    return jax.vmap(run)(jnp.arange(seeds))


def _looped(
    start: Any, advance: Any, batch_fn: Any, rates: Array, seeds: int, on_step: Any
) -> tuple[Array, Array]:
    one_step = jax.jit(advance, donate_argnums=0)
    losses, stops = [], []
    for seed in range(seeds):
        lane, row = jax.tree.map(jnp.copy, start(seed)), []
        for t, rate in enumerate(rates):
            if lane.alive:
                number = jnp.asarray(t, jnp.int32)
                lane, loss = one_step(lane, batch_fn(seed, t), rate, number)
            row.append(loss)
            on_step(seed, t)
        losses.append(jnp.stack(row))
        stops.append(lane.stop)
    return jnp.stack(losses), jnp.stack(stops)


def _smooth(
    decades: Float[Array, " steps"], losses: Float[Array, " steps"], width: float
) -> Float[Array, " steps"]:
    """A running median of five, shifted inwards at both ends, then a Gaussian."""
    counts = jnp.isfinite(losses)
    stop = jnp.sum(counts)
    half = WINDOW // 2
    centre = jnp.clip(jnp.arange(len(losses)), half, jnp.maximum(stop - 1 - half, half))
    window = centre[:, None] + jnp.arange(-half, half + 1)[None]
    medians = jnp.where(counts, jnp.sort(losses[window], axis=1)[:, half], jnp.nan)
    distance = (decades[:, None] - decades[None]) / width
    weights = jnp.exp(-(distance**2) / 2) * counts[None]
    total = weights @ jnp.where(counts, medians, 0.0)
    return jnp.where(counts, total / jnp.sum(weights, axis=1), jnp.nan)


def _mean(smoothed: Float[Array, "seeds steps"]) -> tuple[Array, Array]:
    """Mean over the seeds left, and its standard error."""
    counts = jnp.isfinite(smoothed)
    n = jnp.sum(counts, axis=0)
    n = jnp.where(2 * n >= len(smoothed), n, 0).astype(smoothed.dtype)
    mean = jnp.sum(jnp.where(counts, smoothed, 0.0), axis=0) / n
    squares = jnp.where(counts, (smoothed - mean[None]) ** 2, 0.0)
    variance = jnp.sum(squares, axis=0) / (n - 1)
    return mean, jnp.sqrt(variance / n)

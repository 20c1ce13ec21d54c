"""The learning-rate range test of a loss and an optimiser."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._kinds import check_made
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_floating
from optix_tricks.dynamics.rates._rate_scan import RangeTest, scan_learning_rates


def learning_rate_range_test(
    loss: Callable[[PyTree, Any], Array],
    params: Arrays,
    *,
    make_optimizer: Callable[[Any], optax.GradientTransformation],
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
    """Train for some steps with a rate that rises exponentially, and record the loss.

        rate_t = min_rate (max_rate / min_rate)^(t / (steps - 1))

    At low rates the loss stays, then it falls, then it rises: a good rate lies between.
    `suggest_learning_rates` reads the curve. Each seed is a run of its own from the same
    parameters over its own batches. It has diverged once its loss is not finite, or
    three in a row are above `divergence` times the least running median so far; from
    the first of them on it is frozen and no longer counts. Curves are smoothed by a
    running median of five, which drops spikes of one or two steps, and a Gaussian in
    log-rate, which unlike a running average does not shift them to the right.

    Nothing of the caller's is changed. Under `jax.jit` one compilation serves all rates.

    Helps to find the order of magnitude for a new network, loss or optimiser in a small
    part of one training. Does little to choose within a factor of three, and knows
    nothing of what long training or its end want. Hurts where the loss crosses zero:
    add a constant. Cost: seeds × steps gradient evaluations; under "scan" all seeds are
    in memory at once.

    Args:
        loss: `loss(params, batch)`, a scalar.
        params: where each seed starts.
        make_optimizer: from a schedule to the optimiser, such as `optax.adam`. The
            schedule returns the rate of the step whatever its argument, so that chains
            that count otherwise, by accumulating for one, see it too.
        batch_fn: `batch_fn(seed, step)` returns a batch; both are integers from 0,
            traced under "scan".
        min_rate: rate of the first step.
        max_rate: rate of the last step.
        steps: at least 10.
        seeds: how many runs.
        divergence: at least 1; infinity stops for nothing but NaN and infinity.
        smoothing: standard deviation of the Gaussian, decades of the rate.
        mode: "scan" runs all seeds at once as one program and can be jitted and
            vmapped; "loop" calls one compiled step after the other, seed
            after seed, and ends when they have diverged. On a CPU convolutions are
            about 14 times faster in a loop; see `make_epoch`.
        on_step: called with seed and step after each step of a loop.

    Returns:
        Rates, losses, smoothed losses and their mean over seeds, float32, or
        float64 where JAX's default is.

    Raises:
        ValueError: if a number is out of range, or the parameters are not floats.

    Examples:
        >>> def loss(w, batch):
        ...     return jnp.sum(batch * w**2) / 2  # curvatures 1 and 10
        >>> test = learning_rate_range_test(
        ...     loss,
        ...     jnp.ones(2),
        ...     make_optimizer=optax.sgd,
        ...     batch_fn=lambda seed, step: jnp.array([1.0, 10.0]),
        ...     min_rate=1e-4,
        ...     steps=50,
        ...     seeds=1,
        ... )
        >>> print(test.stop, f"{test.rates[test.stop[0]]:.2f}")
        [40] 1.21

    Source: "Cyclical Learning Rates for Training Neural Networks", Smith, 2017, section
    3.3; with an exponential rise: "How Do You Find a Good Learning Rate", Gugger, 2018.
    """
    check_floating(params)

    def init_fn(seed: Any) -> tuple[PyTree, PyTree]:
        tx = make_optimizer(lambda count: jnp.asarray(min_rate, jnp.result_type(float)))
        check_made("make_optimizer", tx)
        return params, tx.init(params)

    def step_fn(state: Any, batch: Any, rate: Array) -> tuple[PyTree, Array]:
        params, opt_state = state
        tx = optax.with_extra_args_support(make_optimizer(lambda count: rate))

        def value_fn(params: Arrays, **_: Any) -> Array:
            return loss(params, batch)

        value, grad = jax.value_and_grad(value_fn)(params)
        updates, opt_state = tx.update(
            grad,
            opt_state,
            params,
            value=value,
            grad=grad,
            value_fn=value_fn,
            grad_fn=jax.grad(value_fn),
        )
        return (optax.apply_updates(params, updates), opt_state), value

    return scan_learning_rates(
        step_fn,
        init_fn,
        batch_fn=batch_fn,
        min_rate=min_rate,
        max_rate=max_rate,
        steps=steps,
        seeds=seeds,
        divergence=divergence,
        smoothing=smoothing,
        mode=mode,
        on_step=on_step,
    )

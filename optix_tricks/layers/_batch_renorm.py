"""Batch normalisation that trains with nearly the statistics of evaluation."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from optix_tricks.layers._batch_norm import BatchNorm
from optix_tricks.schedules import linear_schedule

Bound = int | float | Callable[[Any], Any]

R_MAX = linear_schedule(1.0, 3.0, 35_000, transition_begin=5_000)
D_MAX = linear_schedule(0.0, 5.0, 20_000, transition_begin=5_000)


class BatchRenorm(BatchNorm):
    """Batch normalisation, corrected in training towards the running statistics.

        y = γ x̂ + β,    x̂ = (x - μ_B) / σ_B · r + d,    σ_B² = var_B + ε

        r = clip(σ_B / σ, 1 / r_max, r_max),    d = clip((μ_B - μ) / σ, -d_max, d_max)

    μ and σ² = var + ε are the running statistics before this batch; r and d are constant
    for the gradient. Where nothing is clipped, x̂ = (x - μ) / σ, as in evaluation. At
    r_max = 1 and d_max = 0, x̂ is that of `BatchNorm` exactly, and so is evaluation
    always. The running statistics follow as in `BatchNorm`.

    A bound may be a schedule. It is read at the number of training calls before this
    one, which the layer counts in its statistics `count`: it goes where the running mean
    goes, through a compiled step, a checkpoint, a resume. The count is a float32, so
    that averages over devices leave its type alone, and stands still at 2²⁴.

    Helps where batches are small or their examples depend on each other: the network
    that is trained is the one that is evaluated. Hurts at the start without the rise of
    the bounds, as the running statistics are still far off. Does little with large,
    independent batches. Cost: that of `BatchNorm`, and a few numbers a feature.

    Args:
        num_features: length of the last axis.
        r_max: at least 1; by default the paper's, from 1 at 5,000 steps to 3 at 40,000.
        d_max: at least 0; by default the paper's, from 0 at 5,000 steps to 5 at 25,000.
        **options: those of `BatchNorm`. With a short run, `momentum` below 0.99.

    Raises:
        ValueError: as `BatchNorm`, or if a bound is a number out of its range.

    Examples:
        >>> norm = BatchRenorm(1, r_max=3.0, d_max=5.0, epsilon=0.0, rngs=nnx.Rngs(0))
        >>> x = jnp.array([[1.0], [5.0]])  # running: mean 0, variance 1
        >>> print(norm(x).ravel())
        [1. 5.]
        >>> norm = BatchRenorm(1, r_max=1.0, d_max=0.0, epsilon=0.0, rngs=nnx.Rngs(0))
        >>> print(norm(x).ravel())
        [-1.  1.]

    Source: "Batch Renormalization: Towards Reducing Minibatch Dependence in
    Batch-Normalized Models", Ioffe, 2017, algorithm 1. There σ is averaged; here σ²,
    so that the statistics are those of `BatchNorm`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        r_max: Bound = R_MAX,
        d_max: Bound = D_MAX,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        _check_bound("r_max", r_max, 1)
        _check_bound("d_max", d_max, 0)
        super().__init__(num_features, rngs=rngs, **options)
        self.count = nnx.BatchStat(jnp.zeros((), jnp.float32))
        self.r_max = r_max
        self.d_max = d_max

    def _normalize_by_batch(self, x: Array) -> Array:
        mean, var = self._moments(x)
        count = self.count[...]
        r_max, d_max = (
            jnp.asarray(bound(count.astype(int)) if callable(bound) else bound, x.dtype)
            for bound in (self.r_max, self.d_max)
        )
        running_mean, running_var = self._running(x)
        sigma = jnp.sqrt(running_var + self.epsilon)
        r = jnp.clip(jnp.sqrt(var + self.epsilon) / sigma, 1 / r_max, r_max)
        d = jnp.clip((mean - running_mean) / sigma, -d_max, d_max)
        self.count[...] = count + 1
        self._track(mean, var, self._devices() * x.size // mean.size)
        return self._normalize(
            x, mean, var, r=lax.stop_gradient(r), d=lax.stop_gradient(d)
        )


def _check_bound(name: str, value: Any, least: int) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if callable(value) or (is_number and not math.isnan(value) and value >= least):
        return
    raise ValueError(
        f"{name} must be a number of at least {least} or a schedule, got {value!r}."
    )

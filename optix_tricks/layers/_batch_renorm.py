"""Batch normalisation that trains with nearly the statistics of evaluation."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from optix_tricks._checks import check_count, check_fraction, check_positive
from optix_tricks.layers._batch_norm import BatchNorm
from optix_tricks.schedules import linear_schedule

Bound = int | float | Callable[[Any], Any]


class RenormBounds(NamedTuple):
    """Schedules of the bounds of `BatchRenorm`, by the number of training calls."""

    r_max: Callable[[Any], Any]
    d_max: Callable[[Any], Any]


def renorm_bounds(num_steps: int, *, fraction: float = 0.25) -> RenormBounds:
    """Return the paper's bounds of `BatchRenorm` in the time of a run.

        r_max = 1 until E / 8, then linear to 3 at E,        E = fraction · num_steps
        d_max = 0 until E / 8, then linear to 5 at 5 E / 8

    The paper's own are those of E = 40,000: no correction for 5,000 steps, then a rise of
    d_max until 25,000 and of r_max until 40,000. So they are what 160,000 steps give, and
    in a shorter run they open late, or never. Knees are rounded to whole steps.

    Helps every run that is not of the paper's length, as the arguments of `BatchRenorm`:
    `functools.partial(BatchRenorm, **renorm_bounds(steps)._asdict())`. Hurts where the
    rise comes before the running statistics have left their start: with few steps a lower
    `momentum` goes with it. Cost: none.

    Args:
        num_steps: training calls of the layer in the run: batches, and under gradient
            accumulation each small one.
        fraction: of the run at which the last bound is open, in (0, 1].

    Returns:
        The schedules `r_max` and `d_max`.

    Raises:
        ValueError: if `num_steps` is not a whole number of at least 1, or `fraction` is
            not in (0, 1].

    Examples:
        >>> r_max, d_max = renorm_bounds(1_600)
        >>> for step in (50, 250, 400):
        ...     print(f"{r_max(step):.2f} {d_max(step):.2f}")
        1.00 0.00
        2.14 5.00
        3.00 5.00

    Source: "Batch Renormalization: Towards Reducing Minibatch Dependence in
    Batch-Normalized Models", Ioffe, 2017, section 4.
    """
    check_count("num_steps", num_steps, minimum=1)
    check_fraction("fraction", fraction)
    check_positive("fraction", fraction)
    end = fraction * num_steps
    begin = round(end / 8)

    def rise(first: float, last: float, until: float) -> Callable[[Any], Any]:
        return linear_schedule(
            first, last, max(1, round(until) - begin), transition_begin=begin
        )

    return RenormBounds(rise(1.0, 3.0, end), rise(0.0, 5.0, 5 * end / 8))


R_MAX, D_MAX = renorm_bounds(160_000)


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
    that is trained is the one that is evaluated. Does nothing in a run of less than 5,000
    steps with the default bounds: give it those of `renorm_bounds`. Hurts at the start
    without the rise of the bounds, as the running statistics are still far off. Does
    little with large, independent batches. Cost: that of `BatchNorm`, and a few numbers a
    feature.

    Beside others: `accumulate` counts every small batch as a training call.
    `refresh_batch_statistics` takes the layer as at its start, where it is batch
    normalisation.

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

    def _normalize_by_batch(self, x: Array, narrow: Array) -> Array:
        mean, var = self._moments(x, narrow)
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


def unopened_bounds(model: nnx.Module, num_steps: int) -> tuple[str, ...]:
    """Return the paths of the `BatchRenorm` that a run leaves plain batch norms.

        r_max(num_steps - 1) = 1,    d_max(num_steps - 1) = 0

    for bounds that are schedules.

    Helps to find, before a run, bounds that are meant for a longer one. Cost: none.

    Args:
        model: any module.
        num_steps: training calls in the run.

    Returns:
        Paths such as "stage1_block1.conv1.norm"; none if all is well.

    Raises:
        ValueError: if `num_steps` is not a whole number of at least 1.

    Examples:
        >>> norm = BatchRenorm(2, rngs=nnx.Rngs(0))
        >>> unopened_bounds(nnx.Sequential(norm), 1_000)
        ('layers.0',)
        >>> norm = BatchRenorm(2, **renorm_bounds(1_000)._asdict(), rngs=nnx.Rngs(0))
        >>> unopened_bounds(nnx.Sequential(norm), 1_000)
        ()

    Source: ours; the bounds are those of "Batch Renormalization: Towards Reducing
    Minibatch Dependence in Batch-Normalized Models", Ioffe, 2017.
    """
    check_count("num_steps", num_steps, minimum=1)

    def is_closed(norm: Any) -> bool:
        bounds = norm.r_max, norm.d_max
        with jax.ensure_compile_time_eval():  # where the model is traced
            last = [float(b(num_steps - 1)) if callable(b) else b for b in bounds]
        return any(map(callable, bounds)) and last == [1, 0]

    return tuple(
        ".".join(map(str, path))
        for path, module in nnx.iter_modules(model)
        if isinstance(module, BatchRenorm) and is_closed(module)
    )


def _check_bound(name: str, value: Any, least: int) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if callable(value) or (is_number and not math.isnan(value) and value >= least):
        return
    raise ValueError(
        f"{name} must be a number of at least {least} or a schedule, got {value!r}."
    )

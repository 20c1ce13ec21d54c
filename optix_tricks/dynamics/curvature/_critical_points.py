"""What a point where the gradient vanishes is: a minimum, a maximum, a saddle."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from optix_tricks._checks import check_count, check_nonnegative
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, global_norm
from optix_tricks.dynamics.curvature._degenerate import ORDER, STEPS, ways_down_and_up
from optix_tricks.dynamics.curvature._eigenpairs import flat_operator
from optix_tricks.dynamics.curvature._full_data import full_gradient
from optix_tricks.dynamics.curvature._products import hessian_operator
from optix_tricks.dynamics.curvature._ritz_bounds import rounding_of, spectrum_bounds
from optix_tricks.dynamics.curvature._taylor import taylor_model
from optix_tricks.transforms._full_batch import common_dtype, dot
from optix_tricks.transforms._lanczos import for_each, lanczos

VERDICTS = ("minimum", "maximum", "saddle", "flat", "not critical", "undecided")
_PLACES = {name: i for i, name in enumerate(VERDICTS)}
_NO_WAYS = (False, False)
_PROBES = 4  # directions without curvature along which higher derivatives are asked


class CriticalPoint(NamedTuple):
    """A verdict with its evidence; curvatures in the loss's unit / weight²."""

    verdict: Int[Array, ""]  # what `VERDICTS` has at this place; `name` outside of jit
    gradient_norm: Float[Array, ""]  # |g|, in the loss's unit / weight
    distance: Float[Array, ""]  # |g| / max |λ|, to 2nd order the least way to one
    lambda_min: Float[Array, ""]  # v'Hv along the lowest Ritz vector, >= the eigenvalue
    lambda_max: Float[Array, ""]  # <= the largest eigenvalue
    residual_min: Float[Array, ""]  # |Hv - λv|: an eigenvalue is as near as this
    residual_max: Float[Array, ""]
    bound_min: Float[Array, ""]  # no eigenvalue is lower, but for the failure probability
    bound_max: Float[Array, ""]  # none is higher
    negative_count: Int[Array, ""]  # of eigenvalues below the tolerance, at least
    exact: Bool[Array, ""]  # whether the basis is the whole space, and the count exact
    degenerate: Bool[Array, ""]  # whether third or fourth derivatives told the saddle

    @property
    def name(self) -> str:
        """The verdict as a word, of a single point and outside of jit."""
        return VERDICTS[int(self.verdict)]

    def describe(self) -> str:
        """The verdict and what it rests on, in a sentence."""
        count = f"{'' if self.exact else 'at least '}{int(self.negative_count)}"
        reason = {
            "not critical": f"the nearest stationary point is {self.distance:.2g} away or"
            " farther",
            "saddle": f"{count} directions of negative curvature",
            "undecided": "the curvatures found leave more than one answer",
        }.get(self.name, "no curvature contradicts")
        if self.degenerate:
            reason = "a line without curvature goes down or up by higher derivatives"
        return (
            f"{self.name}: {reason}; |g| = {self.gradient_norm:.2g}, curvature from "
            f"{self.lambda_min:.3g} (none below {self.bound_min:.3g}) to "
            f"{self.lambda_max:.3g} (none above {self.bound_max:.3g})"
        )


def classify_critical_point(
    loss: Callable[..., Array],
    params: Arrays,
    *,
    key: Array,
    gradient_tolerance: float = 1e-4,
    curvature_tolerance: float = 1e-4,
    absolute: bool = False,
    num_matvecs: int = 40,
    failure_probability: float = 1e-3,
    batches: Iterable[PyTree] | None = None,
) -> CriticalPoint:
    """Tell minimum, maximum and saddle apart by the ends of the Hessian's spectrum.

        not critical  |g| > ε_g
        saddle        v'Hv < -ε_H for some v and u'Hu > ε_H for some u
        minimum       every λ > ε_H              maximum    every λ < -ε_H
        flat          every |λ| <= ε_H           undecided  all else

    with ε_g and ε_H in multiples of max |λ|, so that the loss in another unit, and a
    loss of 1e-5 times another, have the same verdict. ε_g is then the distance to a
    stationary point in weights that is taken for none.

    A saddle is proven by two directions. That no eigenvalue lies beyond those that
    Lanczos found cannot be: values lie inside the spectrum. But for a random start it is
    improbable to miss one by much, and `bound_min` and `bound_max` are where each end
    lies but for `failure_probability`, from the off-diagonal of T (without probability
    where `num_matvecs` reaches the number of parameters). What is said of every λ is
    said of the bounds. `negative_count` is of Ritz values, which by Cauchy's interlacing
    are never more than the eigenvalues.

    Where second order leaves minimum and saddle open, the line along up to four Ritz
    vectors with |v'Hv| <= ε_H is asked: it is a (degenerate) saddle if the loss itself
    and its Taylor polynomial of degree four both fall by more than ε_g t + ε_H t²/2 at
    a step t <= 1, and there is a way up, by curvature or by another such line. So the
    monkey saddle x³ - 3xy² is one. What remains with curvature zero and no way down is
    undecided: a valley of minima, the end of most over-parametrised runs, differs from a
    saddle of higher order by nothing that can be measured.

    Helps to tell a run that is done from one that is stuck. Hurts if asked of a noisy
    mini-batch, whose critical points are others; ReLU networks have kinks that the
    Hessian does not see. Cost: one gradient and num_matvecs + 2 Hessian-vector products,
    up to three gradients each; a probe, where it is made, 200 evaluations of the loss.
    Memory: `num_matvecs` copies of the parameters.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` where batches are given: a scalar.
        params: where, any tree of floating-point arrays.
        key: of the random start.
        gradient_tolerance: ε_g >= 0, in max |λ| times a weight's unit.
        curvature_tolerance: ε_H >= 0, in max |λ|; rounding of 32 ε max |λ| comes on top.
        absolute: take both in the loss's own units instead, as those of `escape_saddle`.
        num_matvecs: the dimension of Lanczos' basis; twice as many bring the bounds up
            to four times as near.
        failure_probability: of each bound.
        batches: as of `hessian_operator`.

    Returns:
        Verdict and evidence; "undecided" also where a value is not finite.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4
        >>> for w in jnp.array([[0.0, 0.0], [0.0, 0.5**0.5], [1.0, 0.0]]):
        ...     point = classify_critical_point(saddle, w, key=jax.random.key(0))
        ...     print(point.name)
        saddle
        minimum
        not critical

    Source: "Computing Probabilistic Bounds for Extreme Eigenvalues of Symmetric Matrices
    with the Lanczos Method", van Dorsselaer, Hochstenbach and van der Vorst, 2000;
    "Identifying and Attacking the Saddle Point Problem in High-Dimensional Non-Convex
    Optimization", Dauphin et al., 2014.
    """
    check_nonnegative("gradient_tolerance", gradient_tolerance)
    check_nonnegative("curvature_tolerance", curvature_tolerance)
    check_count("num_matvecs", num_matvecs, minimum=1)
    if not 0 < failure_probability < 1:
        raise ValueError(
            f"failure_probability must be in (0, 1), got {failure_probability!r}."
        )
    dtype = common_dtype(params)
    hessian = hessian_operator(loss, params, batches=batches)
    matvec, unravel, n = flat_operator(hessian, params)
    start_key, fresh_key = jax.random.split(key)
    start = jax.random.normal(start_key, (n,), dtype)
    krylov = lanczos(matvec, start, fresh_key, num_matvecs)
    ritz, coordinates = krylov.eigh()
    low, high = spectrum_bounds(krylov, failure_probability=failure_probability)
    slope = global_norm(full_gradient(loss, params, batches))
    sharpest = jnp.max(jnp.abs(ritz))
    near, level = (
        tolerance * (1.0 if absolute else sharpest)
        for tolerance in (gradient_tolerance, curvature_tolerance)
    )

    def ritz_vectors(which: Array) -> Float[Array, "k n"]:
        return dot(coordinates[:, which].T, krylov.basis)

    def probe() -> tuple[Array, Array]:
        line = partial(taylor_model, loss, params, ts=STEPS, order=ORDER, batches=batches)
        return ways_down_and_up(
            lambda v: line(unravel(v)),
            ritz_vectors(jnp.argsort(jnp.abs(ritz))[:_PROBES]),
            gradient_tolerance=near,
            curvature_tolerance=level,
        )

    judge = partial(_judge, slope, ritz, low, high, near, level)
    verdict = judge(*_NO_WAYS)
    open_ = (verdict == _PLACES["flat"]) | (verdict == _PLACES["undecided"])
    verdict = judge(*_if(open_, probe))

    (lambda_min, lambda_max), (residual_min, residual_max) = _rayleigh(
        matvec, ritz_vectors(jnp.array([0, -1]))
    )
    return CriticalPoint(
        verdict=verdict,
        gradient_norm=slope,
        distance=slope / jnp.maximum(sharpest, jnp.finfo(dtype).tiny),
        lambda_min=lambda_min,
        lambda_max=lambda_max,
        residual_min=residual_min,
        residual_max=residual_max,
        bound_min=low,
        bound_max=high,
        negative_count=jnp.sum(_below(ritz, level), dtype=jnp.int32),
        exact=jnp.asarray(len(ritz) == n),
        degenerate=open_ & (verdict == _PLACES["saddle"]),
    )


@jax.jit
def _judge(
    slope: Float[Array, ""],
    ritz: Float[Array, " m"],
    low: Float[Array, ""],
    high: Float[Array, ""],
    gradient_tolerance: ArrayLike,
    curvature_tolerance: ArrayLike,
    way_down: ArrayLike,
    way_up: ArrayLike,
) -> Int[Array, ""]:
    """The first that holds; comparisons with NaN never do."""
    down = jnp.any(_below(ritz, curvature_tolerance)) | way_down
    up = jnp.any(_below(-ritz, curvature_tolerance)) | way_up
    verdicts = {
        "not critical": slope > gradient_tolerance,
        "undecided": ~(slope <= gradient_tolerance),
        "saddle": down & up,
        "minimum": low > curvature_tolerance,
        "maximum": high + curvature_tolerance < 0,
        "flat": (low + curvature_tolerance >= 0) & (high <= curvature_tolerance),
    }
    places = [jnp.int32(_PLACES[name]) for name in verdicts]
    return jnp.select(list(verdicts.values()), places, jnp.int32(_PLACES["undecided"]))


def _below(ritz: Float[Array, " m"], tolerance: ArrayLike) -> Bool[Array, " m"]:
    return ritz < -(tolerance + rounding_of(ritz))


def _rayleigh(matvec: Callable[[Array], Array], vectors: Array) -> tuple[Array, Array]:
    """Return v'Hv and |Hv - (v'Hv) v| for each row."""
    products = for_each(matvec, vectors)
    values = jnp.sum(vectors * products, axis=1)
    return values, jnp.linalg.norm(products - values[:, None] * vectors, axis=1)


def _if(needed: Bool[Array, ""], probe: Callable[[], Any]) -> Any:
    if isinstance(needed, jax.core.Tracer):
        return lax.cond(needed, probe, lambda: tuple(map(jnp.asarray, _NO_WAYS)))
    return probe() if needed else _NO_WAYS

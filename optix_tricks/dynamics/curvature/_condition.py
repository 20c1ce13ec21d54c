"""Condition numbers with bounds that say where rounding or too few products decide."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays
from optix_tricks.dynamics.curvature._eigenpairs import eigenpairs
from optix_tricks.dynamics.curvature._products import Operator


class ConditionNumber(NamedTuple):
    """The ratio of the outermost eigenvalues and how far it is known; arrays []."""

    value: Float[Array, "..."]  # largest / smallest, NaN unless surely positive
    lower: Float[Array, "..."]  # bound, NaN where an eigenvalue is surely negative
    upper: Float[Array, "..."]  # bound, infinite where undecided
    largest: Float[Array, "..."]  # eigenvalue
    largest_error: Float[Array, "..."]  # residual and rounding
    smallest: Float[Array, "..."]  # eigenvalue
    smallest_error: Float[Array, "..."]  # residual and rounding

    @property
    def verdict(self) -> str:
        """Of one number: "positive definite", "not positive definite" or "undecided"."""
        if self.smallest > self.smallest_error:
            return "positive definite"
        if self.smallest < -self.smallest_error:
            return "not positive definite"
        return "undecided"


def condition_number(
    matvec: Operator, like: Arrays, *, num_matvecs: int = 40, key: Array
) -> ConditionNumber:
    """Estimate the condition number of a symmetric operator, with bounds.

        κ = λ_max / λ_min,    (λ_max - e_max) / (λ_min + e_min) <= κ
                                            <= (λ_max + e_max) / (λ_min - e_min)

    e is the residual of the Ritz pair and ten roundings of the largest eigenvalue. If
    λ_min - e_min is not positive, no upper bound is known, and the verdict is
    "undecided"; if λ_min + e_min is negative, H is not positive definite and has no
    condition number. Ritz values lie inside the spectrum, so the lower bound is safe; the
    upper one supposes that no eigenvalue hides beyond the last Ritz value, which is
    certain only for as many products as parameters.

    Helps to say how slow plain gradient descent must be: about κ steps for each factor
    of e. Does little for networks with more parameters than examples: λ_min is zero there
    up to rounding, the verdict "undecided", and λ_max over a quantile of
    `spectral_density` tells more.
    Cost: `num_matvecs` + 2 products, two to three gradients each.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        num_matvecs: as in `eigenpairs`.
        key: of the random start.

    Returns:
        Value, bounds, and the eigenvalues they are made of. Float32 decides up to a κ
        of about 8e5, float64 up to 4e14.

    Examples:
        >>> h = jnp.linspace(0.5, 8.0, 16)
        >>> kappa = condition_number(lambda v: h * v, h, key=jax.random.key(0))
        >>> print(kappa.value.round(3), kappa.verdict)
        16.0 positive definite

    Source: "The Symmetric Eigenvalue Problem", Parlett, 1980, chapters 4 and 13.
    """
    pairs = eigenpairs(matvec, like, which="both", num_matvecs=num_matvecs, key=key)
    return _with_bounds(pairs.values, pairs.residuals)


@jax.jit
def _with_bounds(values: Array, residuals: Array) -> ConditionNumber:
    rounding = 10 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    (largest, smallest), (e_max, e_min) = values, residuals + rounding
    negative, positive = smallest < -e_min, smallest > e_min
    lower = jnp.maximum((largest - e_max) / (smallest + e_min), 1.0)
    return ConditionNumber(
        value=jnp.where(positive, largest / smallest, jnp.nan),
        lower=jnp.where(negative, jnp.nan, jnp.where(largest > 0, lower, 1.0)),
        upper=jnp.where(
            negative,
            jnp.nan,
            jnp.where(positive, (largest + e_max) / (smallest - e_min), jnp.inf),
        ),
        largest=largest,
        largest_error=e_max,
        smallest=smallest,
        smallest_error=e_min,
    )

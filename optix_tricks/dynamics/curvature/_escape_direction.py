"""The direction in which a loss curves down the most."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree
from optix_tricks.dynamics.curvature._eigenpairs import eigenpairs
from optix_tricks.dynamics.curvature._full_data import full_gradient
from optix_tricks.dynamics.curvature._products import hessian_operator


class EscapeDirection(NamedTuple):
    """A way out of a saddle, and what is known of it."""

    direction: PyTree  # v, of norm one, shaped like the parameters; float32 or wider
    curvature: Float[Array, ""]  # v'Hv, in the loss's unit / weight²
    residual: Float[Array, ""]  # |Hv - (v'Hv) v|: an eigenvalue is as near as this
    slope: Float[Array, ""]  # v'g <= 0, in the loss's unit / weight


def escape_direction(
    loss: Callable[..., Array],
    params: Arrays,
    *,
    key: Array,
    num_matvecs: int = 40,
    batches: Iterable[Examples] | None = None,
) -> EscapeDirection:
    """Find the unit vector of the most negative curvature, by Lanczos' method.

        v = argmin v'Hv over |v| = 1, v'g <= 0
        L(w + t v) = L + t v'g + t²/2 v'Hv + O(t³)

    With a negative curvature the loss falls along v, for every t up to where the third
    order takes over: if the third derivative is at most M, up to t = 3 |v'Hv| / M. That
    holds for the Ritz vector itself, however large its residual; the residual tells how
    far it is from the steepest way. `taylor_model` shows how far the way goes down, and
    `escape_saddle` takes it in the course of an optimisation.

    Helps at strict saddles. Does little where the curvature that is found is not
    negative, as at degenerate saddles: `classify_critical_point` tells. Cost: one
    gradient and `num_matvecs` + 1 Hessian-vector products, up to three gradients each.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` where batches are given: a scalar.
        params: where, any tree of floating-point arrays.
        key: of the random start; at a slope of zero, of the sign.
        num_matvecs: the dimension of Lanczos' basis.
        batches: as of `hessian_operator`.

    Returns:
        The direction, its curvature, residual and slope.

    Raises:
        ValueError: if `num_matvecs` is not a whole number of at least 1.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4
        >>> way = escape_direction(saddle, jnp.array([0.0, 0.01]), key=jax.random.key(0))
        >>> print(jnp.abs(way.direction.round(3)), f"{way.curvature:.4f}")
        [0. 1.] -1.9988

    Source: "Curvilinear Path Steplength Algorithms for Minimization which Use Directions
    of Negative Curvature", Goldfarb, 1980.
    """
    matvec = hessian_operator(loss, params, batches=batches)
    pairs = eigenpairs(matvec, params, which="smallest", num_matvecs=num_matvecs, key=key)
    gradient = full_gradient(loss, params, batches)
    v = jax.tree.map(lambda x: x[0], pairs.vectors)
    slope = sum(map(jnp.vdot, jax.tree.leaves(v), jax.tree.leaves(gradient)))
    sign = jnp.where(slope > 0, -1.0, 1.0)
    return EscapeDirection(
        direction=jax.tree.map(lambda x: (sign * x).astype(x.dtype), v),
        curvature=pairs.values[0],
        residual=pairs.residuals[0],
        slope=-jnp.abs(slope),
    )

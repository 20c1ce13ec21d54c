"""Ways down and up where there is no curvature, told by higher derivatives."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from optix_tricks.dynamics.curvature._taylor import TaylorModel
from optix_tricks.transforms._lanczos import for_each

ORDER = 4  # of the highest derivative
STEPS = (1.0, 0.5, 0.25, 0.125, -0.125, -0.25, -0.5, -1.0)


def ways_down_and_up(
    line: Callable[[Array], TaylorModel],
    directions: Float[Array, "k n"],
    *,
    gradient_tolerance: ArrayLike,
    curvature_tolerance: ArrayLike,
) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Ask lines without curvature whether the loss falls, and whether it rises.

        min over t: max(L(w + tv) - L, p(t)) < -(ε_g |t| + ε_H t²/2),
        p(t) = Σ_k≤4 t^k/k! D^k L[v, ..., v]

    and with the signs turned for a rise. The loss tells that it is so, the derivatives
    at w that it is w's doing, not that of another basin within reach.

    Args:
        line: gives the model of degree `ORDER` at `STEPS` along a unit vector [n].
        directions: unit vectors; those with |v'Hv| > ε_H are passed over.
        gradient_tolerance: ε_g.
        curvature_tolerance: ε_H.
    """

    def ask(v: Array) -> tuple[Array, Array]:
        model = line(v)
        loss = model.derivatives[0]
        t = jnp.abs(model.ts)
        least = gradient_tolerance * t + curvature_tolerance * t**2 / 2
        least = least + 8 * jnp.finfo(t.dtype).eps * jnp.abs(loss)
        changes = jnp.stack([model.loss, model.models[-1]]) - loss
        flat = jnp.abs(model.derivatives[2]) <= curvature_tolerance
        falls = jnp.any(jnp.max(changes, axis=0) < -least)
        rises = jnp.any(jnp.min(changes, axis=0) > least)
        return flat & falls, flat & rises

    falls, rises = for_each(ask, directions)
    return jnp.any(falls), jnp.any(rises)

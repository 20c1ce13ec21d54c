"""The two things all schedules share: their value's dtype, and how far a count is."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float


def as_value(value: ArrayLike) -> Float[Array, "..."]:
    """Return `value` in float32 (float64 under x64), never weakly typed."""
    return jnp.asarray(value, jnp.result_type(float))


def progress(
    count: ArrayLike, begin: int, steps: int
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return the fractions of `steps` done and left since `begin`, both in [0, 1].

    Steps are subtracted as integers, so that both fractions keep their digits where
    they are small. Compilers divide by a constant as they multiply by its rounded
    inverse, and 41 * (1 / 41) is below 1 in float32: the ends are therefore set.

    >>> print(*progress(41, begin=0, steps=41))
    1.0 0.0
    """
    count = jnp.asarray(count)
    end = begin + steps
    if jnp.issubdtype(count.dtype, jnp.integer):
        end = min(end, int(jnp.iinfo(count.dtype).max))
    elapsed = as_value(jnp.clip(count, begin, end) - begin)
    remaining = float(steps) - elapsed
    done = jnp.where(remaining > 0, elapsed / float(steps), 1.0)
    left = jnp.where(elapsed > 0, remaining / float(steps), 1.0)
    return done, left

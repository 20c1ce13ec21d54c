"""What all schedules share: their value's dtype, and how far a count is."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from optix_tricks._checks import check_number, check_positive
from optix_tricks._paths import Whole


def as_value(value: ArrayLike) -> Float[Array, "..."]:
    """Return `value` in float32 (float64 under x64), never weakly typed."""
    return jnp.asarray(value, jnp.result_type(float))


def as_exact(value: ArrayLike) -> ArrayLike:
    """Return a number as it is, in Python's precision, an array in float32 or wider."""
    return value if isinstance(value, int | float) else as_value(value)


def check_power(name: str, value: ArrayLike) -> None:
    """Raise unless `value`, a base or an exponent, is positive in the values' dtype.

    One that rounds to zero would make a power of zero by zero, which is one.

    >>> check_power("decay_rate", 1e-50)
    Traceback (most recent call last):
    ValueError: decay_rate must be at least 1.2e-38, the smallest float32, got 1e-50.
    """
    check_positive(name, value)
    check_number(name, value)
    dtype = jnp.result_type(float)
    least = float(jnp.finfo(dtype).tiny)
    if isinstance(value, int | float) and value < least:
        raise ValueError(
            f"{name} must be at least {least:.2g}, the smallest {dtype}, got {value!r}."
        )


def as_count(count: ArrayLike) -> Array:
    """Return `count` in JAX's default integers, held between 0 and their last.

    >>> print(as_count(-3), as_count(10**30))
    0 2147483647
    """
    dtype = jnp.result_type(int)
    last = int(jnp.iinfo(dtype).max)
    if not isinstance(count, jax.Array):
        count = np.asarray(count)
        if count.dtype.kind in "iuO":  # O: beyond 64 bits
            count = np.asarray(np.clip(count.astype(object), 0, last), dtype)
    count = jnp.asarray(count)
    if jnp.issubdtype(count.dtype, jnp.integer):
        if jnp.iinfo(count.dtype).max > last:
            count = jnp.minimum(count, np.asarray(last, count.dtype))
        count = count.astype(dtype)
    return jnp.maximum(count, 0)


def within(step: int, count: Array) -> int:
    """Return `step`, or the last number of the count's dtype if that is smaller."""
    if not jnp.issubdtype(count.dtype, jnp.integer):
        return step
    return min(step, int(jnp.iinfo(count.dtype).max))


def reached(count: Array, step: int) -> Bool[Array, "..."]:
    """Tell whether the count is at `step` or past it; `step` may be beyond its dtype.

    >>> print(reached(jnp.int32(7), 7), reached(jnp.int32(2**31 - 1), 2**31))
    True False
    """
    return (count >= within(step, count)) & (step == within(step, count))


def cycles(count: Array, steps: Whole) -> tuple[Array, Array]:
    """Return how many whole times `steps` fit into the count, and the rest."""
    if steps > within(steps, count):
        return jnp.zeros_like(count), count
    return jnp.divmod(count, steps)


def progress(
    count: ArrayLike, begin: int | float, steps: int | float
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return the fractions of `steps` done and left since `begin`, both in [0, 1].

    Whole steps are subtracted as integers, so that both fractions keep their digits
    where they are small. Compilers divide by a constant as they multiply by its rounded
    inverse, and 41 * (1 / 41) is below 1 in float32: the ends are therefore set.

    >>> print(*progress(41, begin=0, steps=41))
    1.0 0.0
    >>> print(*progress(3, begin=2.5, steps=2))
    0.25 0.75
    """
    count = as_count(count)
    end = begin + steps
    first, last = within(math.floor(begin), count), within(math.ceil(end), count)
    count = jnp.clip(count, first, last)
    elapsed = jnp.maximum(as_value(count - first) - float(begin - first), 0)
    remaining = jnp.maximum(as_value(last - count) + float(end - last), 0)
    done = jnp.where(remaining > 0, elapsed / float(steps), 1.0)
    left = jnp.where(elapsed > 0, remaining / float(steps), 1.0)
    return done, left


def periods(
    count: ArrayLike, begin: Whole, steps: Whole, staircase: bool
) -> Float[Array, "..."]:
    """Return how many times `steps` fit into the count since `begin`.

    >>> print(periods(7, begin=2, steps=2, staircase=False))
    2.5
    >>> print(periods(7, begin=2, steps=2, staircase=True))
    2.0
    """
    count = as_count(count)
    first = within(begin, count)
    whole, part = cycles(jnp.maximum(count, first) - first, steps)
    return as_value(whole) + (0.0 if staircase else as_value(part) / float(steps))


def power(base: ArrayLike, exponent: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `base` >= 0 to the power of `exponent` >= 0, at most the largest number.

    0.9999 is rounded in float32, and its hundred-thousandth power would be wrong by
    0.2 %: the rounding of a base that is a number is made good.

    >>> print(f"{power(0.9999, jnp.float32(100_000)):.4e} {0.9999**100_000:.4e}")
    4.5377e-05 4.5377e-05
    """
    result = as_value(base) ** exponent
    rounded = float(np.asarray(base, result.dtype)) if isinstance(base, float) else 0.0
    if isinstance(base, float) and rounded > 0:
        # Where the power is 0 or infinite its correction could be the other.
        known = (result > 0) & (result < jnp.inf)
        rounding = math.log(base / rounded)
        result = result * jnp.exp(jnp.where(known, rounding * exponent, 0.0))
    return within_range(result)


def within_range(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `value`, or the largest finite number of its dtype where it is infinite."""
    largest = jnp.finfo(value.dtype).max
    return jnp.clip(value, -largest, largest)

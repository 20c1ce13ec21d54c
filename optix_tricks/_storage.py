"""How a slot is kept between steps: in float32, in bfloat16, or in blocks of int8.

Both small forms round with a dither. With decay 0.999 an average changes by less than
half a unit of bfloat16 (and a thirtieth of a unit of int8), and plain rounding would
freeze it. A Weyl sequence in step and index, equidistributed over one unit, decides
between the two neighbours instead: averaged over the steps the rounding has no bias, and
it needs no random numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from optix_tricks._tree import cast, wide_dtype

BLOCK = 256  # elements that share one scale, where they are not a last axis
MIN_ROW, MAX_ROW = 64, 4096  # elements of a last axis that is a block by itself
MIN_BLOCKWISE_SIZE = 4096  # smaller leaves stay float32, as in Dettmers et al.
LEVELS = 127
POWER = 4


class Blocks(NamedTuple):
    """A slot in 8 bits: `scale * sign(code) * (|code| / 127)^4`.

    The fourth power spreads the 127 levels over nine decades, 3 % apart at the top. What
    is not zero stays not zero, so that a small second moment never becomes a division by
    epsilon. Dettmers et al., 8-bit optimizers via block-wise quantization, 2022, with
    another code.

    A block is a last axis of 64 to 4096 elements, with scales of the shape before it: no
    array is reshaped, which on a TPU is a copy. Of an array without such an axis, or of a
    packed buffer, it is 256 elements in a row, with scales [ceil(size / 256)].

    In a state the two are trees like the parameters. A leaf too small for blocks is among
    the codes, in float32, and has no scales.
    """

    codes: Any  # int8, of the parameter's shape
    scales: Any  # float32, the largest magnitude of each block


def check_state_dtype(dtype: Any, name: str = "state_dtype") -> None:
    """Raise unless slots can be kept in `dtype`."""
    allowed = ("bfloat16", "float32", "float64", "int8")
    try:
        is_array = isinstance(dtype, (jax.Array, np.ndarray))
        known = dtype is None or (not is_array and jnp.dtype(dtype).name in allowed)
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"{name} must be None, bfloat16, int8, float32 or float64, got {dtype!r}."
        )


def as_stored(x: Array, dtype: Any) -> Any:
    """Bring a slot's first value into its form: `x` cast, or in blocks of int8."""
    if dtype is None or jnp.dtype(dtype) != jnp.int8:
        return x.astype(dtype or x.dtype)
    if x.size < MIN_BLOCKWISE_SIZE:
        return x.astype(jnp.float32)
    return _encode(x, jnp.full_like(x, 0.5, jnp.float32))  # to the nearer level


def load(slot: Any, dtype: Any) -> Any:
    """Return what was kept, in the dtype of the arithmetic; of a queue, each."""
    if type(slot) is tuple:
        return tuple(load(x, dtype) for x in slot)
    if not isinstance(slot, Blocks):
        return cast(slot, dtype)
    code = slot.codes.astype(wide_dtype(dtype))
    value = jnp.sign(code) * (jnp.abs(code) / LEVELS) ** POWER
    return (value * _spread(slot.scales, slot.codes)).astype(dtype)


def store(x: Any, like: Any, count: Array) -> Any:
    """Keep `x` in the form of the slot that it replaces; of a queue, each."""
    if type(like) is tuple:
        return tuple(store(a, b, count) for a, b in zip(x, like, strict=True))
    if isinstance(like, Blocks):
        return _encode(x.astype(jnp.float32), _weyl(x, count) / jnp.float32(1 << 16))
    if like.dtype != jnp.bfloat16:
        return cast(x, like.dtype)
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    rounded = lax.bitcast_convert_type(
        (bits + _weyl(x, count)) & jnp.uint32(0xFFFF0000), jnp.float32
    )
    # The difference is exact; held fixed, so that derivatives pass the rounding.
    rounded = x + lax.stop_gradient(rounded - x)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def _weyl(x: Array, count: Array) -> Array:
    """A number in [0, 2^16) for each element and step."""
    index = lax.iota(jnp.uint32, x.size).reshape(x.shape)
    # 2^16 times the golden and the plastic ratio's fractions, made odd.
    return (index * jnp.uint32(49471) + count.astype(jnp.uint32) * 40503) & 0xFFFF


def _encode(x: Float[Array, "..."], dither: Float[Array, "..."]) -> Blocks:
    # An infinite scale loads as NaN. Chosen: on CPUs XLA's maximum can miss a NaN.
    magnitude = jnp.where(jnp.isfinite(x), jnp.abs(x), jnp.inf)
    scales = jnp.max(_in_blocks(magnitude), axis=-1)
    share = jnp.where(magnitude > 0, magnitude / _spread(scales, x), 0.0)
    below = jnp.clip(jnp.floor(LEVELS * jnp.sqrt(jnp.sqrt(share))), 0, LEVELS - 1)
    low, high = (below / LEVELS) ** POWER, ((below + 1) / LEVELS) ** POWER
    code = below + (share - low > dither * (high - low))
    code = jnp.where(share > 0, jnp.maximum(code, 1), 0)
    return Blocks(jnp.where(x < 0, -code, code).astype(jnp.int8), scales)


def _is_by_row(x: Any) -> bool:
    """Tell whether each block is a last axis: nothing is reshaped then.

    Not where the two forms could not be told apart by the shape of the scales.
    """
    is_row = x.ndim > 1 and MIN_ROW <= x.shape[-1] <= MAX_ROW
    return is_row and x.shape[:-1] != (_flat_blocks(x),)


def _flat_blocks(x: Any) -> int:
    return -(-x.size // BLOCK)


def _in_blocks(x: Array) -> Array:
    """The elements of each block along the last axis."""
    if _is_by_row(x):
        return x
    blocks = _flat_blocks(x)
    return jnp.pad(x.ravel(), (0, blocks * BLOCK - x.size)).reshape(blocks, BLOCK)


def _spread(scales: Array, like: Array) -> Array:
    """Each block's scale at each of its elements."""
    of_like = like.shape[:-1] if _is_by_row(like) else (_flat_blocks(like),)
    if scales.shape != of_like:
        raise ValueError(
            f"an int8 slot of shape {list(like.shape)} must have scales of shape "
            f"{list(of_like)}, got {list(scales.shape)}: the state is of an older "
            "version, whose blocks did not follow the last axis; start anew from "
            "init(params)."
        )
    if _is_by_row(like):
        return jnp.broadcast_to(scales[..., None], like.shape)
    blocks = jnp.broadcast_to(scales[:, None], (scales.size, BLOCK))
    return blocks.ravel()[: like.size].reshape(like.shape)

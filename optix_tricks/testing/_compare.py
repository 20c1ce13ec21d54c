"""Trees compared: an error names the leaf and its numbers in one line."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from optix_tricks._paths import Arrays
from optix_tricks._predicates import described

# A few roundings of numbers of order one: a fused multiply-add rounds once, not twice.
RTOL, ATOL = 3e-6, 5e-7


def written(tolerance: Mapping[str, float]) -> str:
    """A tolerance as arguments: `rtol=3e-06, atol=5e-07`."""
    return ", ".join(f"{name}={x:.3g}" for name, x in tolerance.items())


CLOSE = written({"rtol": RTOL, "atol": ATOL})


def cast(tree: Arrays, dtype: DTypeLike) -> Any:
    """Every array in another dtype."""
    return jax.tree.map(
        lambda x: (x if hasattr(x, "astype") else jnp.asarray(x)).astype(dtype), tree
    )


def signature(tree: Any) -> Any:
    """Structure, shape, dtype and weak type: what a compiled program depends on.

    >>> signature({"w": jnp.ones(3), "n": None})
    {'n': None, 'w': 'float32[3]'}
    """
    return jax.tree.map(_kind, tree)


def _kind(x: Any) -> str:
    try:
        x = x if hasattr(x, "dtype") else jnp.asarray(x)
    except (TypeError, ValueError, OverflowError):
        return type(x).__name__
    shape = ",".join(map(str, x.shape))
    return f"{x.dtype}[{shape}]{' weak' if getattr(x, 'weak_type', False) else ''}"


def assert_same_signature(found: Any, want: Any) -> None:
    """Raise unless structure, shapes, dtypes and weak types agree.

    >>> assert_same_signature({"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.ones(3)})
    Traceback (most recent call last):
    AssertionError: at ['w']: bfloat16[3] is not float32[3]
    """
    for path, x, y in _pairs(found, want):
        if _kind(x) != _kind(y):
            raise AssertionError(f"at {path}: {_kind(x)} is not {_kind(y)}")


def assert_close(found: Any, want: Any, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Raise unless all numbers agree within `atol + rtol * |want|`; NaN equals NaN.

    >>> assert_close({"w": jnp.ones(3)}, {"w": 1.5 * jnp.ones(3)})
    Traceback (most recent call last):
    AssertionError: at ['w']: 1 is not 1.5
    """
    for path, x, y in _pairs(found, want):
        x, y = _numbers(x), _numbers(y)
        if x.shape != y.shape:
            raise AssertionError(f"at {path}: the shape {x.shape} is not {y.shape}")
        near = np.isclose(x, y, rtol, atol, equal_nan=True)
        if not near.all():
            place = np.argmin(near.ravel())
            one, other = x.ravel()[place], y.ravel()[place]
            raise AssertionError(f"at {path}: {one:.6g} is not {other:.6g}")


def assert_equal(found: Any, want: Any) -> None:
    """Raise unless kinds and numbers are the same, to the bit but for NaN's."""
    assert_same_signature(found, want)
    assert_close(found, want, 0.0, 0.0)


def assert_finite(tree: Any) -> None:
    """Raise if a number is NaN or infinite.

    >>> assert_finite({"w": jnp.array([1.0, jnp.nan])})
    Traceback (most recent call last):
    AssertionError: at ['w']: nan is not finite
    """
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        bad = _numbers(x)[~np.isfinite(_numbers(x))]
        if bad.size:
            raise AssertionError(f"at {_named(path)}: {bad[0]} is not finite")


def assert_one_rounding(low: Any, exact: Any, dtype: DTypeLike) -> None:
    """Raise unless `low` is within a unit in the last place, one of `dtype`, of `exact`.

    >>> assert_one_rounding(jnp.bfloat16(1.0), jnp.float32(1.003), "bfloat16")
    >>> assert_one_rounding(jnp.bfloat16(1.0), jnp.float32(1.02), "bfloat16")
    Traceback (most recent call last):
    AssertionError: at the root: 1 is not 1.02344
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be of floats, such as 'bfloat16', got {dtype!r}.")
    unit = jnp.finfo(dtype)
    for _, x, _ in _pairs(low, exact):  # of one structure
        _numbers(x)

    def rounded(x: Any, y: Any) -> Any:
        return jnp.asarray(_numbers(y)).astype(jnp.result_type(x))

    wanted = jax.tree.map(rounded, low, exact)  # may overflow
    assert_close(low, wanted, float(unit.eps), float(unit.smallest_subnormal))


def _pairs(found: Any, want: Any) -> list[tuple[str, Any, Any]]:
    ours, theirs = map(jax.tree_util.tree_leaves_with_path, (found, want))
    kinds: list[Any] = [jax.tree.structure(tree) for tree in (found, want)]
    if kinds[0] != kinds[1]:
        raise AssertionError(f"the structure {kinds[0]} is not {kinds[1]}")
    return [(_named(p), x, y) for (p, x), (_, y) in zip(ours, theirs, strict=True)]


def _named(path: Any) -> str:
    return jax.tree_util.keystr(path) or "the root"


def _numbers(x: Any) -> np.ndarray:
    dtype = getattr(x, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    try:
        found = np.asarray(x)
        found.astype(np.complex128)
    except (TypeError, ValueError, OverflowError) as error:
        raise AssertionError(f"{described(x)} is no number") from error
    if jnp.issubdtype(found.dtype, jnp.complexfloating):
        return found.astype(np.complex128)
    return found.astype(np.float64)

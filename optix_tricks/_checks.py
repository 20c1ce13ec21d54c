"""One-line checks of arguments: each error names the argument, its value and the way out.

Hyperparameters may be numbers, arrays, tracers or schedules. Only what is a number at the
time of the call is checked, an array without axes among them; the rest passes, so that
sweeps and schedules stay traceable.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks._predicates import described


def _concrete(value: Any) -> Any:
    """Give the number of an array that has one now, anything else as it is."""
    if isinstance(value, jax.core.Tracer) or not isinstance(
        value, (jax.Array, np.ndarray)
    ):
        return value
    is_real = any(
        jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer)
    )
    here = getattr(value, "is_fully_addressable", True)
    return value.item() if is_real and here and value.shape == () else value


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _require(ok: Any, name: str, value: Any, wanted: str) -> None:
    if not ok:
        raise ValueError(f"{name} must be {wanted}, got {value!r}.")


def check_number(name: str, value: Any) -> None:
    """Raise unless `value` is a finite number, an array or a schedule.

    >>> check_number("eps", float("nan"))
    Traceback (most recent call last):
    ValueError: eps must be a finite number, got nan.
    """
    value = _concrete(value)
    if isinstance(value, (str, bool)) or value is None:
        raise ValueError(f"{name} must be a number or a schedule, got {value!r}.")
    if _is_number(value):
        _require(math.isfinite(value), name, value, "a finite number")
        dtype = jnp.result_type(float)
        largest = float(jnp.finfo(dtype).max)
        wanted = f"at most {largest:.2g}, the largest {dtype}, in size"
        _require(abs(value) <= largest, name, value, wanted)


def check_positive(name: str, value: Any) -> None:
    """Raise unless `value` > 0; infinity, the neutral bound, is allowed.

    >>> check_positive("max_norm", -1.0)
    Traceback (most recent call last):
    ValueError: max_norm must be positive, got -1.0.
    """
    value = _concrete(value)
    if _is_number(value):
        _require(value > 0, name, value, "positive")
    else:
        check_number(name, value)


def check_nonnegative(name: str, value: Any, *, finite: bool = True) -> None:
    """Raise unless `value` >= 0; infinity passes where it need not be `finite`.

    >>> check_nonnegative("weight_decay", -0.1)
    Traceback (most recent call last):
    ValueError: weight_decay must be zero or positive, got -0.1.
    """
    value = _concrete(value)
    if finite or not _is_number(value):
        check_number(name, value)
    if _is_number(value):
        _require(value >= 0, name, value, "zero or positive")


def check_decay(name: str, value: Any) -> None:
    """Raise unless `value` is in [0, 1), as the decay of a running average must be.

    >>> check_decay("b1", 1.0)
    Traceback (most recent call last):
    ValueError: b1 must be in [0, 1), got 1.0.
    """
    value = _concrete(value)
    check_number(name, value)
    if _is_number(value):
        _require(0 <= value < 1, name, value, "in [0, 1)")


def check_fraction(name: str, value: Any) -> None:
    """Raise unless `value` is in [0, 1].

    >>> check_fraction("label_smoothing", 1.5)
    Traceback (most recent call last):
    ValueError: label_smoothing must be in [0, 1], got 1.5.
    """
    value = _concrete(value)
    check_number(name, value)
    if _is_number(value):
        _require(0 <= value <= 1, name, value, "in [0, 1]")


def check_count(name: str, value: Any, *, minimum: int = 0) -> None:
    """Raise unless `value` is a whole number of at least `minimum`.

    >>> check_count("warmup_steps", 2.5)
    Traceback (most recent call last):
    ValueError: warmup_steps must be a whole number, got 2.5.
    >>> check_count("decay_steps", 0, minimum=1)
    Traceback (most recent call last):
    ValueError: decay_steps must be at least 1, got 0.
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    _require(is_whole, name, value, "a whole number")
    _require(value >= minimum, name, value, f"at least {minimum}")


def check_loss(value: Any) -> Any:
    """Give what a loss returned, one real number, as only such has a gradient.

    >>> check_loss(jnp.ones(2))
    Traceback (most recent call last):
    TypeError: loss must return one real number for params and batch, got an array
    float32[2]: take the mean of real ones.
    """
    is_real = jnp.issubdtype(getattr(value, "dtype", type(value)), jnp.floating)
    if not is_real or jnp.shape(value) != ():
        raise TypeError(
            "loss must return one real number for params and batch, got"
            f" {described(value)}: take the mean of real ones."
        )
    return value

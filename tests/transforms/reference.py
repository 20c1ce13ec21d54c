"""Follow a transformation and an independent float64 formula over the same gradients.

The references are written in NumPy float64 from papers and from the documented algorithms
of PyTorch and TensorFlow 1, one array at a time. They are given the hyperparameters as
the dtype under test stores them: 1 - 0.999 in float32 is 4.7e-5 larger than in float64,
which is a property of the number and not of the formula.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

SHAPE = (4, 5)
# Of the largest update so far: momentum cancels, so elementwise relative errors are not
# bounded. float32 has eps 6e-8, some tens of steps and a division by a root gather less
# than 100 of them; float64 leaves room for an expm1 and 100 steps.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def noise(seed: int, *shape: int, mean: float = 0.3) -> np.ndarray:
    """Normal numbers that float32 holds exactly, so that both sides see the same."""
    drawn = mean + np.random.default_rng(seed).standard_normal(shape)
    return drawn.astype(np.float32).astype(np.float64)


def stored(value: Any, dtype: str) -> Any:
    """A hyperparameter as the dtype under test holds it; other options as they are."""
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return float(np.dtype(dtype).type(value))


def updates_of(tx: Any, gs: Any, ws: Any) -> tuple[np.ndarray, Any]:
    """Updates for given gradients and given parameters [steps, ...]; the last state."""

    def step(state: Any, gw: Any) -> Any:
        updates, state = tx.update(gw[0], state, gw[1])
        return state, updates

    state, updates = jax.jit(lambda s, gws: jax.lax.scan(step, s, gws))(
        tx.init(jax.tree.map(lambda w: w[0], ws)), (gs, ws)
    )
    return updates, state


def path_of(tx: Any, gs: Any, w: Any) -> np.ndarray:
    """The parameter after each step, moved by its own updates."""

    def step(carry: Any, g: Any) -> Any:
        w, state = carry
        updates, state = tx.update(g, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    return jax.jit(lambda w, gs: jax.lax.scan(step, (w, tx.init(w)), gs)[1])(w, gs)


def assert_link_follows(
    make: Callable[..., Any],
    formula: Callable[..., np.ndarray],
    arguments: dict[str, Any],
    dtype: str,
    steps: int = 60,
) -> None:
    """Compare updates; the parameter walks at random, independent of them."""
    with jax.enable_x64(dtype == "float64"):
        gs, ws = noise(1, steps, *SHAPE), noise(2, steps, *SHAPE).cumsum(0)
        ws = ws.astype(np.float32).astype(np.float64)
        got, _ = updates_of(make(**arguments), jnp.array(gs, dtype), jnp.array(ws, dtype))
        assert got.dtype == dtype
        got = np.asarray(got, np.float64)
    want = formula(gs, ws, **{k: stored(v, dtype) for k, v in arguments.items()})
    assert_close(got, want, TOLERANCE[dtype])


def assert_optimiser_follows(
    make: Callable[..., Any],
    formula: Callable[..., np.ndarray],
    arguments: dict[str, Any],
    dtype: str,
    steps: int = 60,
) -> None:
    """Compare the way the parameter goes under its own updates, from the start."""
    with jax.enable_x64(dtype == "float64"):
        gs, w = noise(3, steps, *SHAPE), noise(4, *SHAPE)
        got = path_of(make(**arguments), jnp.array(gs, dtype), jnp.array(w, dtype))
        assert got.dtype == dtype
        got = np.asarray(got, np.float64)
    want = formula(gs, w, **{k: stored(v, dtype) for k, v in arguments.items()})
    assert_close(got, want, TOLERANCE[dtype])


def assert_close(got: np.ndarray, want: Any, tolerance: float) -> None:
    """Each step's largest error, relative to the largest number up to this step."""
    want = np.asarray(want, np.float64)
    assert got.shape == want.shape
    axes = tuple(range(1, want.ndim))
    error = np.abs(got - want).max(axis=axes)
    size = np.maximum.accumulate(np.abs(want).max(axis=axes))
    assert (error <= tolerance * size).all(), (
        f"off by {np.max(error / size):.1e} at step {np.argmax(error / size) + 1}"
    )

"""A few steps on an example: what the columns and their reproductions run."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from optix_tricks._paths import Arrays


def run(
    tx: optax.GradientTransformation,
    params: Arrays,
    grads: Sequence[Any],
    state: Any = None,
) -> tuple[list[Any], Any]:
    """All updates of a few steps, and the last state. The parameters stay as they are.

    Args:
      tx: the transformation.
      params: its parameters.
      grads: gradients, one tree a step.
      state: where to start, by default `tx.init(params)`.

    >>> updates, state = run(optax.sgd(0.5), jnp.zeros(2), [jnp.ones(2), jnp.ones(2)])
    >>> print(updates)
    [Array([-0.5, -0.5], dtype=float32), Array([-0.5, -0.5], dtype=float32)]
    """
    first = tx.init(params)
    state = first if state is None else state
    kinds: list[Any] = [jax.tree.structure(tree) for tree in (state, first)]
    if kinds[0] != kinds[1]:
        raise ValueError("state must be one that tx has for params.")
    out = []
    for g in grads:
        updates, state = tx.update(g, state, params)
        out.append(updates)
    return out, state


def compiled(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The transformation with a compiled update."""
    return optax.GradientTransformationExtraArgs(tx.init, jax.jit(tx.update))


def example(dtype: DTypeLike = "float32") -> tuple[Any, list[Any]]:
    """A small network's parameters and three trees of gradients, always the same.

    Kernels, biases, a norm, a scalar, a list within dicts; numbers are standard normal.

    Args:
      dtype: of parameters and gradients.

    >>> params, grads = example("bfloat16")
    >>> print(params["gain"].dtype, len(grads))
    bfloat16 3
    """
    params, *grads = (_drawn(seed, dtype) for seed in range(4))
    return params, grads


def _drawn(seed: int, dtype: Any) -> Any:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape).astype(np.float32)).astype(dtype)

    return {
        "conv": {"kernel": draw(3, 3, 2, 8), "bias": draw(8)},
        "norm": {"scale": draw(8)},
        "head": [draw(8, 16)],
        "gain": draw(),
    }


def drawn_like(params: Any) -> list[Any]:
    """Three trees of gradients for parameters of any form, always the same.

    >>> [g.shape for g in drawn_like(jnp.zeros((2, 3)))]
    [(2, 3), (2, 3), (2, 3)]
    """
    rng = np.random.default_rng(0)

    def draw(x: Any) -> jax.Array:
        return jnp.asarray(rng.normal(size=x.shape).astype(np.float32)).astype(x.dtype)

    return [jax.tree.map(draw, params) for _ in range(3)]

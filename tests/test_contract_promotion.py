"""Under strict promotion nothing relies on JAX to mix dtypes, nor on ranks to be raised.

Traced and not run: promotion is decided before anything is compiled. The ranks are the
whole suite's setting.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augment.rows import ROWS as IMAGES
from augment.rows import images_of
from cases import CASES
from layers.rows import ROWS as LAYERS
from losses.rows import ROWS as LOSSES
from schedules.test_schedules_extreme_counts import ROWS as SCHEDULES

from optix_tricks.testing import example


@pytest.fixture(autouse=True)
def strict():
    assert jax.config.jax_numpy_rank_promotion == "raise"
    with jax.numpy_dtype_promotion("strict"):
        yield


def refused(traced):
    """The names of those that raise, with what they say."""
    said = {}
    for name, trace in traced.items():
        try:
            trace()
        except (TypeError, ValueError) as error:  # TypePromotionError is a ValueError
            said[name] = str(error)
    return said


def test_transformations():
    """In 16 bits, where float32 meets the parameters' dtype in every rule."""
    tree, _ = example("bfloat16")

    def step(case):
        tx = case.build()
        return tx.update(tree, tx.init(tree), tree)

    traced = {c.name: lambda c=c: jax.eval_shape(lambda: step(c)) for c in CASES}
    assert refused(traced) == {}


def test_schedules():
    counts = jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.uint32)
    traced = {
        name: lambda s=schedule: [jax.eval_shape(s, count) for count in counts]
        for name, (schedule, _) in SCHEDULES.items()
    }
    assert refused(traced) == {}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_losses_and_their_gradients(dtype):
    def trace(row):
        args = jax.tree.map(
            lambda x: jnp.asarray(x, dtype if x.dtype == np.float64 else x.dtype),
            row.make(np.random.default_rng(0)),
        )
        jax.eval_shape(row.loss, *args)
        if row.differentiable:
            total = jax.grad(lambda *args: row.loss(*args).sum(), row.differentiable)
            jax.eval_shape(total, *args)

    traced = {f"{i} {row.name}": lambda r=row: trace(r) for i, row in enumerate(LOSSES)}
    assert refused(traced) == {}


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32"])
def test_augmentations(dtype):
    images, key = images_of(jnp.dtype(dtype)), jax.random.key(0)
    traced = {
        f"{i} {row.function.__name__}": lambda r=row: jax.eval_shape(r, key, images)
        for i, row in enumerate(IMAGES)
    }
    assert refused(traced) == {}


def test_layers():
    """In float32: Flax's own norms and kernels promote 16 bits with float32 weights."""

    def both_modes(row, x):
        layer = row.build()
        return layer(x, **row.training), layer(x, **row.evaluation)

    traced = {
        f"{i} {row.name}": lambda r=row: jax.eval_shape(
            lambda x: both_modes(r, x), jnp.zeros(r.shape)
        )
        for i, row in enumerate(LAYERS)
    }
    assert refused(traced) == {}

"""What every loss keeps to, one row a loss; see rows.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType

from losses.rows import ROWS, Row
from optix_tricks import losses


def each(rows):
    ids = [f"{row.name}-{i}" for i, row in enumerate(rows)]
    return pytest.mark.parametrize("row", rows, ids=ids)


all_rows = each(ROWS)
differentiable_rows = each([row for row in ROWS if row.differentiable])


def is_floating(x):
    return np.issubdtype(x.dtype, np.floating)


def arguments(row: Row, dtype=np.float32, *, seed=0):
    """What the row makes, floats in one dtype."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, dtype if is_floating(x) else x.dtype),
        row.make(np.random.default_rng(seed)),
    )


def with_scores(row: Row, args, change):
    return tuple(
        jax.tree.map(change, x) if i in row.moved else x for i, x in enumerate(args)
    )


def test_every_public_name_has_a_row():
    assert {row.name for row in ROWS} == set(losses.__all__)


@all_rows
def test_the_shape_is_that_of_the_batch_and_the_values_are_finite(row):
    loss = row.loss(*arguments(row))
    assert loss.shape == row.shape
    assert loss.dtype == jnp.float32
    assert np.isfinite(loss).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@all_rows
def test_half_precision_is_computed_in_float32(row, dtype):
    half = arguments(row, dtype)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == dtype else x, half)
    loss = row.loss(*half)
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, row.loss(*wide))


@all_rows
def test_jit_and_vmap_are_eager_and_loops(row):
    batches = [arguments(row, seed=seed) for seed in range(3)]
    eager = np.stack([row.loss(*args) for args in batches])
    jitted = jax.jit(row.loss)
    one_by_one = np.stack([jitted(*args) for args in batches])
    np.testing.assert_allclose(one_by_one, eager, rtol=row.rtol, atol=1e-6)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    mapped = jax.jit(jax.vmap(row.loss))(*stacked)
    np.testing.assert_allclose(mapped, eager, rtol=row.rtol, atol=1e-6)


@differentiable_rows
def test_the_gradient_in_float64_is_that_of_central_differences(row):
    with jax.enable_x64(True):
        args = arguments(row, np.float64)
        start, unravel = ravel_pytree([args[i] for i in row.differentiable])
        weights = jnp.cos(jnp.arange(np.prod(row.shape, dtype=int), dtype=float))

        def total(x):
            full = list(args)
            for i, given in zip(row.differentiable, unravel(x), strict=True):
                full[i] = given
            loss = row.loss(*full)
            assert loss.dtype == jnp.float64
            return jnp.vdot(weights, jnp.ravel(loss))

        @jax.jit
        def both(x):
            moves = 1e-5 * jnp.eye(x.size)
            at = jax.lax.map(total, jnp.concatenate([x[None] + moves, x[None] - moves]))
            ahead, behind = jnp.split(at, 2)
            return jax.grad(total)(x), (ahead - behind) / 2e-5

        gradient, differences = both(start)
        np.testing.assert_allclose(gradient, differences, 1e-6, 1e-8)
        assert np.abs(gradient).max() > 1e-3


@differentiable_rows
def test_loss_and_gradient_are_finite_at_any_scale_and_where_all_scores_are_equal(row):
    def total(*args):
        return jnp.sum(row.loss(*args))

    both = jax.jit(jax.value_and_grad(total, row.differentiable))
    for change in (lambda x: 1e4 * x, jnp.zeros_like, jnp.ones_like):
        finite = jax.tree.map(
            lambda x: np.isfinite(x).all(),
            both(*with_scores(row, arguments(row), change)),
        )
        assert all(jax.tree.leaves(finite))


@pytest.mark.parametrize(
    "axis_type",
    [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit],
)
@all_rows
def test_a_sharded_batch_has_the_loss_and_the_gradient_of_one_on_one_device(
    row, axis_type
):
    args = arguments(row)
    weights = np.cos(np.arange(np.prod(row.shape, dtype=int))).reshape(row.shape)

    def total(*args):
        loss = row.loss(*args)
        return jnp.sum(weights.astype(np.float32) * loss), loss

    if row.differentiable:
        both = jax.jit(jax.value_and_grad(total, row.differentiable, has_aux=True))
    else:
        both = jax.jit(total)
    expected = both(*args)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))

    def place(x):
        spec = jax.P("data") if x.shape[:1] == (8,) else jax.P()
        return jax.device_put(x, jax.NamedSharding(mesh, spec))

    sharded = both(*jax.tree.map(place, args))
    close = functools.partial(np.testing.assert_allclose, rtol=10 * row.rtol, atol=2e-5)
    jax.tree.map(close, sharded, expected)
    (_, loss), *_ = sharded if row.differentiable else (sharded,)
    if row.shape[:1] == (8,) and axis_type == AxisType.Explicit:
        assert loss.sharding.spec[0] == "data"

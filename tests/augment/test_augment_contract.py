"""What holds for every augmentation: rows from rows.py, a column a test."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from augment.rows import BATCH, CHANNEL, DTYPES, ROWS, images_of
from optix_tricks import augment

KEY = jax.random.key(3)

every = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.function.__name__)
random = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.draws], ids=lambda row: row.function.__name__
)


def pixels(out):
    """The images among what came out: all of it, or the first of several."""
    return jax.tree.leaves(out)[0]


# Most of the time here goes to the compiler, and nothing here is about speed.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
compiled = functools.cache(quick_jit)


@functools.cache
def eager(row):
    return row(KEY, images_of(jnp.float32))


def assert_same(out, expected):
    """Equal, but for a few roundings: a fused multiply-add rounds once, not twice."""
    for x, y in zip(jax.tree.leaves(out), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=3e-6, atol=5e-7)


def differ(out, other):
    pairs = zip(jax.tree.leaves(out), jax.tree.leaves(other), strict=True)
    return any((x != y).any() for x, y in pairs)


def test_every_public_function_of_images_has_a_row():
    public = {getattr(augment, name) for name in augment.__all__}
    of_images = {
        f
        for f in public
        if inspect.isfunction(f) and "images" in inspect.signature(f).parameters
    }
    assert {row.function for row in ROWS} == of_images


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_is_the_rows_and_dtype_is_kept(row, dtype):
    out = pixels(jax.eval_shape(row, KEY, images_of(dtype)))
    assert out.shape == (BATCH, *row.size, CHANNEL)
    assert out.dtype == dtype


@every
def test_half_precision_is_rounded_once_at_the_end(row):
    out = pixels(compiled(row)(KEY, images_of(jnp.bfloat16)))
    wide = pixels(eager(row)).astype(jnp.bfloat16)
    eps = float(jnp.finfo(jnp.bfloat16).eps)  # where the last bits of float32 decide
    np.testing.assert_allclose(out, wide, rtol=eps)
    assert (out == wide).mean() > 0.999


@every
def test_float64_is_kept(row):
    with jax.enable_x64(True):
        out = pixels(jax.eval_shape(row, KEY, images_of(jnp.float64)))
    assert out.dtype == jnp.float64


@every
def test_traced_is_eager(row):
    assert_same(compiled(row)(KEY, images_of(jnp.float32)), eager(row))


@every
def test_vmap_over_keys_is_a_loop(row):
    images, keys = images_of(jnp.float32), jax.random.split(KEY, 2)
    mapped = quick_jit(jax.vmap(row, in_axes=(0, None)))(keys, images)
    for i, key in enumerate(keys):
        assert_same(jax.tree.map(lambda x, i=i: x[i], mapped), compiled(row)(key, images))


@random
def test_another_key_draws_other_numbers(row):
    assert differ(compiled(row)(jax.random.key(4), images_of(jnp.float32)), eager(row))


@random
def test_one_image_at_two_places_draws_different_numbers(row):
    images = jnp.tile(images_of(jnp.float32)[:1], (BATCH, 1, 1, 1))
    out = compiled(row)(KEY, images)
    assert differ(out, jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), out))


@every
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(row, axis_type):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    images = jax.device_put(images_of(jnp.float32), sharding)
    out = compiled(row)(KEY, images)
    assert pixels(out).sharding.is_equivalent_to(sharding, 4)
    assert_same(out, eager(row))


@every
def test_gradients_are_finite(row):
    gradient = jax.grad(lambda images: jnp.sum(pixels(row(KEY, images)) ** 2))
    assert np.isfinite(quick_jit(gradient)(images_of(jnp.float32))).all()


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.neutral], ids=lambda row: row.function.__name__
)
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_the_neutral_setting_is_the_identity(row, dtype):
    images = images_of(dtype)
    neutral = quick_jit(functools.partial(row.neutral, row.function))
    out = pixels(neutral(KEY, images))
    np.testing.assert_array_equal(out, images)


@every
def test_bad_images_raise(row):
    unchecked = inspect.unwrap(row.function)
    with pytest.raises(ValueError, match=r"images must be .*got shape \[9, 11, 3\]; add"):
        row.call(unchecked, KEY, images_of(jnp.float32)[0])
    with pytest.raises(ValueError, match="images must be uint8 or floating, got int32"):
        row.call(unchecked, KEY, images_of(jnp.uint8).astype(jnp.int32))

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType

from optix_tricks.augment import random_crop

KEY = jax.random.key(3)


def images_of(dtype, shape=(16, 7, 9, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(1, 256, shape), dtype)


def crop_loop(images, corners, padding, mode):
    mode = {"reflect": "reflect", "zero": "constant"}[mode]
    sides = ((padding, padding), (padding, padding), (0, 0))
    _, height, width, _ = images.shape
    crops = []
    for image, (top, left) in zip(np.asarray(images), corners, strict=True):
        padded = np.pad(image, sides, mode=mode)
        crops.append(padded[top : top + height, left : left + width])
    return np.stack(crops)


def drawn_corners(key, batch, padding):
    return np.asarray(jax.random.randint(key, (batch, 2), 0, 2 * padding + 1))


@pytest.mark.parametrize("mode", ["reflect", "zero"])
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_matches_pad_and_slice(dtype, mode):
    images = images_of(dtype)
    out = random_crop(KEY, images, padding=4, mode=mode)
    assert out.dtype == dtype
    corners = drawn_corners(KEY, 16, 4)
    assert len({tuple(corner) for corner in corners}) > 8
    np.testing.assert_array_equal(out, crop_loop(images, corners, 4, mode))


@given(
    st.integers(0, 10**6),
    st.sampled_from([(2, 3, 5, 1), (1, 4, 2, 3), (3, 1, 1, 2)]),
    st.integers(0, 6),
    st.sampled_from(["reflect", "zero"]),
)
def test_any_shape_matches_pad_and_slice(seed, shape, padding, mode):
    if mode == "reflect":
        padding = min(padding, min(shape[1:3]) - 1)
    key, images = jax.random.key(seed), images_of(jnp.uint8, shape)
    out = random_crop(key, images, padding=padding, mode=mode)
    corners = drawn_corners(key, shape[0], padding)
    np.testing.assert_array_equal(out, crop_loop(images, corners, padding, mode))


def test_corners_are_uniform_and_independent():
    batch, padding = 4000, 1
    rows, columns = np.mgrid[:3, :3]
    image = jnp.asarray(10 + 3 * rows + columns, jnp.uint8).reshape(1, 3, 3, 1)
    images = jnp.tile(image, (batch, 1, 1, 1))
    centre = np.asarray(random_crop(KEY, images, padding=padding))[:, 1, 1, 0] - 10
    counts = np.bincount(centre, minlength=9)
    expected = batch / 9
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # chi², 8 df, p = 0.001


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_no_padding_is_the_identity(mode):
    images = images_of(jnp.uint8)
    np.testing.assert_array_equal(random_crop(KEY, images, padding=0, mode=mode), images)


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_traced_is_eager_and_keys_matter(mode):
    images = images_of(jnp.uint8)
    eager = random_crop(KEY, images, mode=mode)
    traced = jax.jit(random_crop, static_argnames=("padding", "mode"))
    np.testing.assert_array_equal(traced(KEY, images, mode=mode), eager)
    assert (random_crop(jax.random.key(4), images, mode=mode) != eager).any()


def test_vmap_over_keys():
    images, keys = images_of(jnp.uint8), jax.random.split(KEY, 3)
    mapped = jax.vmap(random_crop, in_axes=(0, None))(keys, images)
    for key, out in zip(keys, mapped, strict=True):
        np.testing.assert_array_equal(out, random_crop(key, images))


@pytest.mark.parametrize("mode", ["reflect", "zero"])
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(mode, axis_type):
    images = images_of(jnp.uint8)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    traced = jax.jit(random_crop, static_argnames=("padding", "mode"))
    out = traced(KEY, jax.device_put(images, sharding), mode=mode)
    np.testing.assert_array_equal(out, random_crop(KEY, images, mode=mode))


def test_bad_arguments_raise():
    images = images_of(jnp.uint8)
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        random_crop(KEY, images, padding=-1)
    with pytest.raises(ValueError, match="mode must be 'reflect' or 'zero', got 'wrap'"):
        random_crop(KEY, images, mode="wrap")
    with pytest.raises(
        ValueError, match=r'padding .*below .* 7 pixels .*got 7; use mode="z'
    ):
        random_crop(KEY, images, padding=7)
    unchecked = inspect.unwrap(random_crop)
    with pytest.raises(ValueError, match=r"images must be .*got shape \[7, 9, 3\]; add"):
        unchecked(KEY, images[0])
    with pytest.raises(ValueError, match=r"padding must be a whole number, got 2\.5"):
        unchecked(KEY, images, padding=2.5)

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from optix_tricks.augment import random_flip

KEY = jax.random.key(3)


def images_of(dtype, shape=(16, 5, 6, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape), dtype)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_each_image_is_itself_or_its_mirror(dtype):
    images = images_of(dtype)
    out = random_flip(KEY, images)
    assert out.dtype == dtype
    flipped = np.asarray(jax.random.bernoulli(KEY, shape=(16, 1, 1, 1))).ravel()
    assert 0 < flipped.sum() < 16
    for image, mirrored, result in zip(images, flipped, out, strict=True):
        expected = np.asarray(image)[:, ::-1] if mirrored else np.asarray(image)
        np.testing.assert_array_equal(result, expected)


def test_half_of_the_images_are_flipped():
    images = jnp.tile(jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1), (2000, 1, 1, 1))
    share = random_flip(KEY, images)[:, 0, 0, 0].mean()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 2000)


def test_traced_is_eager_and_keys_matter():
    images = images_of(jnp.uint8)
    eager = random_flip(KEY, images)
    np.testing.assert_array_equal(jax.jit(random_flip)(KEY, images), eager)
    assert (random_flip(jax.random.key(4), images) != eager).any()


def test_vmap_over_keys():
    images, keys = images_of(jnp.uint8), jax.random.split(KEY, 3)
    mapped = jax.vmap(random_flip, in_axes=(0, None))(keys, images)
    for key, out in zip(keys, mapped, strict=True):
        np.testing.assert_array_equal(out, random_flip(key, images))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(axis_type):
    images = images_of(jnp.uint8)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    out = jax.jit(random_flip)(KEY, jax.device_put(images, sharding))
    np.testing.assert_array_equal(out, random_flip(KEY, images))


def test_bad_images_raise():
    unchecked = inspect.unwrap(random_flip)
    with pytest.raises(ValueError, match=r"images must be .*got shape \[5, 6, 3\]; add"):
        unchecked(KEY, jnp.zeros((5, 6, 3)))
    with pytest.raises(ValueError, match="images must be uint8 or floating, got int32"):
        unchecked(KEY, jnp.zeros((2, 5, 6, 3), jnp.int32))

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType

from optix_tricks.augment import cutout

KEY = jax.random.key(3)


def images_of(dtype, shape=(16, 7, 9, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(1, 256, shape), dtype)


def cutout_loop(images, centres, size, fill):
    out = np.array(images)
    for image, (row, column) in zip(out, centres, strict=True):
        top, left = row - size // 2, column - size // 2
        bottom, right = top + size, left + size
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = fill
    return out


def drawn_centres(key, shape):
    limits = jnp.array([shape[1:3]])
    return np.asarray(jax.random.randint(key, (shape[0], 2), 0, limits))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("size", [1, 4, 5, 30])
def test_matches_a_loop_over_images(dtype, size):
    images = images_of(dtype)
    out = cutout(KEY, images, size=size)
    assert out.dtype == dtype
    centres = drawn_centres(KEY, images.shape)
    assert len({tuple(centre) for centre in centres}) > 8
    np.testing.assert_array_equal(out, cutout_loop(images, centres, size, 0))


def test_fill_is_one_value_or_one_a_channel():
    images = images_of(jnp.float32)
    centres = drawn_centres(KEY, images.shape)
    for fill in (-0.5, np.array([0.1, 0.2, 0.3], np.float32)):
        out = cutout(KEY, images, size=3, fill=fill)
        np.testing.assert_array_equal(out, cutout_loop(images, centres, 3, fill))
    images = images_of(jnp.uint8)
    out = cutout(KEY, images, size=3, fill=255)
    np.testing.assert_array_equal(out, cutout_loop(images, centres, 3, 255))


@given(st.integers(0, 10**6), st.integers(0, 12))
def test_erases_a_clipped_square_and_no_more(seed, size):
    images = jnp.ones((3, 5, 8, 2))
    erased = np.asarray(cutout(jax.random.key(seed), images, size=size)) == 0
    assert (erased[..., 0] == erased[..., 1]).all()
    for mask in erased[..., 0]:
        height, width = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == height * width <= size**2
        assert height >= min(size // 2, 5)
        assert width >= min(size // 2, 8)


def test_centres_are_uniform_over_the_image():
    images = jnp.ones((3000, 3, 3, 1), jnp.uint8)
    counts = (cutout(KEY, images, size=1)[..., 0] == 0).sum(0).ravel()
    expected = 3000 / 9
    assert counts.sum() == 3000
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # chi², 8 df, p = 0.001


@pytest.mark.parametrize("size", [1, 4, 7])
def test_a_whole_square_lies_within_the_image_uniformly(size):
    images = jnp.ones((4000, 7, 9, 1))
    erased = np.asarray(cutout(KEY, images, size=size, whole=True))[..., 0] == 0
    assert (erased.sum(axis=(1, 2)) == size**2).all()
    rows, columns = erased.any(axis=2), erased.any(axis=1)
    for lines, side in ((rows, 7), (columns, 9)):
        first = lines.argmax(axis=1)
        counts = np.bincount(first, minlength=side)
        places = side - size + 1
        assert (counts[places:] == 0).all()
        expected = 4000 / places
        assert (abs(counts[:places] - expected) < 5 * np.sqrt(expected)).all()


def test_a_whole_square_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"size must be at most the image's 7 .* got 8"):
        cutout(KEY, jnp.ones((1, 7, 9, 1)), size=8, whole=True)


def test_size_zero_is_the_identity():
    images = images_of(jnp.uint8)
    np.testing.assert_array_equal(cutout(KEY, images, size=0), images)


def test_traced_is_eager_and_keys_matter():
    images = images_of(jnp.uint8)
    eager = cutout(KEY, images, size=4)
    traced = jax.jit(cutout, static_argnames="size")(KEY, images, size=4)
    np.testing.assert_array_equal(traced, eager)
    assert (cutout(jax.random.key(4), images, size=4) != eager).any()


def test_vmap_over_keys():
    images, keys = images_of(jnp.uint8), jax.random.split(KEY, 3)
    mapped = jax.vmap(lambda key: cutout(key, images, size=4))(keys)
    for key, out in zip(keys, mapped, strict=True):
        np.testing.assert_array_equal(out, cutout(key, images, size=4))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(axis_type):
    images = images_of(jnp.uint8)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    traced = jax.jit(cutout, static_argnames="size")
    out = traced(KEY, jax.device_put(images, sharding), size=4)
    np.testing.assert_array_equal(out, cutout(KEY, images, size=4))


def test_bad_arguments_raise():
    images = images_of(jnp.uint8)
    with pytest.raises(ValueError, match="size must be at least 0, got -1"):
        cutout(KEY, images, size=-1)
    with pytest.raises(
        ValueError, match=r"fill .* for uint8 images, got 127\.5; convert"
    ):
        cutout(KEY, images, size=3, fill=127.5)
    with pytest.raises(ValueError, match=r"fill .* for uint8 images, got -1; convert"):
        cutout(KEY, images, size=3, fill=-1)
    with pytest.raises(ValueError, match="fill must be a finite number, got nan"):
        cutout(KEY, images, size=3, fill=float("nan"))
    unchecked = inspect.unwrap(cutout)
    with pytest.raises(ValueError, match=r"images must be .*got shape \[7, 9, 3\]; add"):
        unchecked(KEY, images[0], size=3)


@pytest.mark.parametrize(
    "fill",
    [
        (125.5, 0.0, 0.0),
        (300, 0, 0),
        np.float32(127.5),
        np.int64(300),
        np.array([300, 0, 0]),
        jnp.array([0.0, -1.0, 0.0]),
    ],
)
def test_a_fill_that_uint8_cannot_hold_raises_in_any_form(fill):
    with pytest.raises(ValueError, match=r"fill must be a whole number in \[0, 255\]"):
        inspect.unwrap(cutout)(KEY, images_of(jnp.uint8), size=3, fill=fill)

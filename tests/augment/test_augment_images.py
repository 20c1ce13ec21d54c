"""What augmentations share: what they take, how they round, how draws lie."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.augment import _images as I


def test_images_have_four_axes_and_are_uint8_or_floating():
    check = inspect.unwrap(I.check_images)
    for dtype in (jnp.uint8, jnp.float32, jnp.bfloat16):
        check(jnp.zeros((1, 2, 3, 4), dtype))
    for shape in ((2, 3, 4), (1, 1, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"images must be \[batch, height"):
            check(jnp.zeros(shape))
    with pytest.raises(ValueError, match="images must be uint8 or floating, got int32"):
        check(jnp.zeros((1, 2, 3, 4), jnp.int32))


def test_values_are_rounded_to_levels_and_floats_are_not():
    values = jnp.array([-3.0, 0.4, 0.6, 254.6, 255.0, 300.0])
    np.testing.assert_array_equal(I.to_dtype(values, jnp.uint8), [0, 0, 1, 255, 255, 255])
    np.testing.assert_array_equal(I.to_dtype(values, jnp.float32), values)


def test_a_fill_is_one_value_or_one_a_channel():
    levels, floats = jnp.zeros((1, 2, 4, 3), jnp.uint8), jnp.zeros((1, 2, 4, 3))
    np.testing.assert_array_equal(I.fill_values(levels, 255), [255] * 3)
    np.testing.assert_array_equal(I.fill_values(levels, np.array([0, 1, 2])), [0, 1, 2])
    np.testing.assert_array_equal(I.fill_values(floats, 0.5), [0.5] * 3)
    for wrong in (256, -1, 0.5):
        with pytest.raises(ValueError, match="fill must be a whole number in"):
            I.fill_values(levels, wrong)


def test_a_size_is_one_side_or_two():
    assert I.height_and_width(1) == (1, 1)
    assert I.height_and_width((3, 1)) == (3, 1)
    for wrong in ((1, 2, 3), (3,)):
        with pytest.raises(ValueError, match="size must be one number or two"):
            I.height_and_width(wrong)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        I.height_and_width((3, 0))


def test_a_range_may_be_one_point_and_reach_its_bound():
    for limits in ((0.25, 0.25), (1e-3, 1), (1, 1)):
        I.check_range("area", limits, largest=1)
    I.check_range("aspect", (0.5, 7.0))
    for wrong, message in (
        ((0.5, 0.4), "area must be two numbers, the smaller first"),
        ((0.5,), "area must be two numbers, the smaller first"),
        ((0.1, 0.2, 0.3), "area must be two numbers, the smaller first"),
        ((0.0, 0.5), "area must be positive"),
        ((0.5, 1.5), "area must be at most 1"),
        ((0.5, float("nan")), "area must be a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            I.check_range("area", wrong, largest=1)


def test_draws_keep_their_values_and_lie_as_the_images():
    draws = jnp.arange(16.0).reshape(8, 2)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    images = jax.device_put(jnp.ones((8, 3, 2, 1), jnp.uint8), sharding)
    whole = jax.device_put(draws, jax.NamedSharding(mesh, jax.P()))
    laid_out = jax.jit(I.lay_out_like)(images, whole)
    assert laid_out.sharding.spec[0] == "data"
    np.testing.assert_array_equal(laid_out, draws)
    np.testing.assert_array_equal(I.lay_out_like(jnp.ones((8, 3, 2, 1)), draws), draws)

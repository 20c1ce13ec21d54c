import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from optix_tricks.augment import random_erasing

KEY = jax.random.key(3)
HEIGHT, WIDTH = 24, 36

erase = jax.jit(
    random_erasing,
    static_argnames=("probability", "area", "aspect", "fill"),
    compiler_options={"xla_backend_optimization_level": 0},  # compiles faster
)


def images_of(dtype, shape=(16, 7, 9, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(1, 256, shape), dtype)


@functools.cache
def erased(**kwargs):
    """Which pixels of 2000 white images are erased."""
    images = jnp.ones((2000, HEIGHT, WIDTH, 1), jnp.uint8)
    return np.asarray(erase(KEY, images, fill=0, **kwargs))[..., 0] == 0


def sides(masks):
    """Height and width of each rectangle; fails where pixels are no rectangle."""
    height, width = masks.any(2).sum(1), masks.any(1).sum(1)
    assert (masks.sum((1, 2)) == height * width).all()
    for mask in masks:  # without gaps
        for line in (mask.any(0), mask.any(1)):
            assert np.abs(np.diff(np.pad(line.astype(int), 1))).sum() <= 2
    return height, width


def candidates(key, batch, height, width, area, aspect):
    """What is drawn, re-derived by a loop over tries in float64."""
    _, for_area, for_aspect, _, _ = jax.random.split(key, 5)
    s = jax.random.uniform(for_area, (batch, 10), minval=area[0], maxval=area[1])
    r = jax.random.uniform(for_aspect, (batch, 10), minval=aspect[0], maxval=aspect[1])
    chosen = []
    for areas, ratios in zip(np.float64(s) * height * width, np.float64(r), strict=True):
        for pixels, ratio in zip(areas, ratios, strict=True):
            h, w = round(np.sqrt(pixels * ratio)), round(np.sqrt(pixels / ratio))
            if 1 <= h <= height and 1 <= w <= width:
                chosen.append((h, w))
                break
        else:
            chosen.append((0, 0))
    return np.array(chosen)


def test_the_first_of_ten_rectangles_that_fits():
    expected = candidates(KEY, 2000, HEIGHT, WIDTH, (0.02, 0.4), (0.3, 1 / 0.3))
    got = np.stack(sides(erased(probability=1.0)), axis=1)
    np.testing.assert_array_equal(got, expected)


def test_where_none_fits_the_image_is_left_alone():
    images = jnp.ones((200, 4, 40, 1), jnp.uint8)  # as high as wide does not fit often
    area, aspect = (0.1, 0.9), (0.9, 1.1)
    out = erase(KEY, images, probability=1.0, area=area, aspect=aspect, fill=0)
    expected = candidates(KEY, 200, 4, 40, area, aspect)
    got = np.stack(sides(np.asarray(out)[..., 0] == 0), axis=1)
    np.testing.assert_array_equal(got, expected)
    assert 0 < (expected == 0).all(1).sum() < 200


def test_area_is_uniform_where_every_rectangle_fits():
    masks = erased(probability=1.0, area=(0.1, 0.3), aspect=(0.5, 2.0))
    height, width = sides(masks)
    share = masks.mean((1, 2))
    # Whole pixels blur the ends of the range; in between the steps are fine enough.
    assert stats.kstest(share, stats.uniform(0.1, 0.2).cdf).pvalue > 0.001
    assert abs(np.mean(height / width) - 1.25) < 0.05


def test_places_are_uniform():
    masks = erased(probability=1.0, area=(0.25, 0.25), aspect=(2 / 3, 2 / 3))
    top = masks.any(2).argmax(1)
    left = masks.any(1).argmax(1)
    assert (sides(masks)[0] == 12).all()
    for corner, places in ((top, HEIGHT - 12 + 1), (left, WIDTH - 18 + 1)):
        counts = np.bincount(corner, minlength=places)
        assert len(counts) == places
        assert stats.chisquare(counts).pvalue > 0.001
    joint = stats.contingency.crosstab(top // 5, left // 5).count
    assert stats.chi2_contingency(joint).pvalue > 0.001


@pytest.mark.parametrize("probability", [0.25, 0.5])
def test_probability_is_the_share_of_changed_images(probability):
    share = erased(probability=probability).any((1, 2)).mean()
    assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / 2000)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_noise_in_the_rectangle_and_the_image_elsewhere(dtype):
    images = images_of(dtype)
    out = erase(KEY, images, probability=1.0)
    white = images_of(jnp.uint8)
    mask = np.asarray(erase(KEY, white, probability=1.0, fill=0) == 0).any(-1)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out[~mask], images[~mask])
    assert (np.asarray(out)[mask] != np.asarray(images)[mask]).mean() > 0.9


def test_noise_is_uniform_on_levels_and_standard_normal_on_floats():
    options = {"probability": 1.0, "area": (1.0, 1.0), "aspect": (1.0, 1.0)}
    levels = erase(KEY, jnp.zeros((4, 64, 64, 1), jnp.uint8), **options)
    counts = np.bincount(np.asarray(levels).ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 0.001
    values = erase(KEY, jnp.zeros((4, 64, 64, 1), jnp.float32), **options)
    assert stats.kstest(np.asarray(values).ravel(), stats.norm.cdf).pvalue > 0.001


def test_fill_is_one_value_or_one_a_channel():
    images = images_of(jnp.float32)
    mask = np.asarray(random_erasing(KEY, images, fill=0) == 0).any(-1)
    assert 0 < mask.sum() < mask.size
    for fill in (-0.5, np.array([0.1, 0.2, 0.3], np.float32)):
        out = random_erasing(KEY, images, fill=fill)
        expected = np.where(mask[..., None], np.float32(fill), images)
        np.testing.assert_array_equal(out, expected)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.05, 0.5), st.floats(0.3, 1))
def test_rectangles_are_within_the_ranges(seed, area, aspect):
    images = jnp.ones((4, 15, 20, 2), jnp.uint8)
    options = {"area": (area, 0.5), "aspect": (aspect, 1 / aspect)}
    out = random_erasing(jax.random.key(seed), images, probability=1, fill=0, **options)
    mask = np.asarray(out) == 0
    assert (mask[..., 0] == mask[..., 1]).all()
    for height, width in zip(*sides(mask[..., 0]), strict=True):
        low_height, low_width = max(height - 0.5, 0), max(width - 0.5, 0)
        high_height, high_width = height + 0.5, width + 0.5
        assert low_height * low_width <= 0.5 * 300 + 1e-3
        assert high_height * high_width >= area * 300 - 1e-3
        assert low_height / high_width <= 1 / aspect + 1e-3
        assert high_height / max(low_width, 1e-9) >= aspect - 1e-3


def test_gradient_reaches_what_is_not_erased():
    images = images_of(jnp.float32)
    out, vjp = jax.vjp(lambda x: random_erasing(KEY, x, fill=0), images)
    np.testing.assert_array_equal(vjp(jnp.ones_like(out))[0], np.asarray(out) != 0)


def test_bad_arguments_raise():
    images, unchecked = images_of(jnp.uint8), inspect.unwrap(random_erasing)
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 1\.5"):
        random_erasing(KEY, images, probability=1.5)
    with pytest.raises(ValueError, match=r"area must be .* smaller first, got \(0\.4, 0"):
        random_erasing(KEY, images, area=(0.4, 0.1))
    with pytest.raises(ValueError, match=r"area must be at most 1, got \(0\.4, 1\.1\)"):
        random_erasing(KEY, images, area=(0.4, 1.1))
    with pytest.raises(ValueError, match="aspect must be positive, got 0"):
        random_erasing(KEY, images, aspect=(0, 1))
    with pytest.raises(ValueError, match=r"aspect must be two numbers, .* got \(1,\)"):
        unchecked(KEY, images, aspect=(1,))
    with pytest.raises(
        ValueError, match="fill must be \"noise\" or a number, got 'mean'"
    ):
        random_erasing(KEY, images, fill="mean")
    with pytest.raises(
        ValueError, match=r"fill .* for uint8 images, got 127\.5; convert"
    ):
        random_erasing(KEY, images, fill=127.5)

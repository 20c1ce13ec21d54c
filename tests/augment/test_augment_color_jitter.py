import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from optix_tricks.augment import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    color_jitter,
)

KEY = jax.random.key(3)
PILLOW = {
    adjust_brightness: ImageEnhance.Brightness,
    adjust_contrast: ImageEnhance.Contrast,
    adjust_saturation: ImageEnhance.Color,
}
FACTORS = [0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.95, 1, 1.05, 1.27, 1.5, 1.9, 2.5, 10]
every = pytest.mark.parametrize("adjust", PILLOW, ids=lambda adjust: adjust.__name__)
jitter = jax.jit(color_jitter)


def images_of(dtype, shape=(16, 7, 9, 3)):
    levels = np.random.default_rng(0).integers(0, 256, shape)
    return jnp.asarray(levels if dtype == jnp.uint8 else levels / 255, dtype)


def adjusted(image, adjust, factor):
    """The blend in float64, for one floating image."""
    luma = image @ [0.299, 0.587, 0.114] if image.shape[-1] == 3 else image[..., 0]
    without = {
        adjust_brightness: 0.0,
        adjust_contrast: luma.mean(),
        adjust_saturation: luma[..., None],
    }[adjust]
    return np.clip(factor * image + (1 - factor) * without, 0, 1)


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_matches_pillow(adjust, channels):
    shape = (1, 24, 31, channels)
    tinted = np.random.default_rng(1).integers(90, 160, shape)
    for image in (images_of(jnp.uint8, shape), jnp.asarray(tinted, jnp.uint8)):
        batch = jnp.tile(image, (len(FACTORS), 1, 1, 1))
        out = np.asarray(adjust(batch, np.array(FACTORS, np.float32)), int)
        enhance = PILLOW[adjust](Image.fromarray(np.squeeze(np.asarray(image))))
        theirs = np.stack([np.asarray(enhance.enhance(f), int) for f in FACTORS])
        difference = np.abs(out - theirs.reshape(out.shape))
        assert difference.max() <= 1
        assert (difference == 0).mean() > 0.999


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_floating_images_match_the_blend(adjust, channels):
    images = images_of(jnp.float32, (5, 6, 7, channels))
    factors = np.array([0, 0.4, 1, 1.3, 3], np.float32)
    wide = np.asarray(images, np.float64)
    expected = [adjusted(x, adjust, f) for x, f in zip(wide, factors, strict=True)]
    np.testing.assert_allclose(adjust(images, factors), expected, rtol=0, atol=5e-6)
    one = adjust(images, 1.3)
    expected = [adjusted(x, adjust, 1.3) for x in wide]
    np.testing.assert_allclose(one, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_without_colour_saturation_does_nothing(dtype):
    single = images_of(dtype, (4, 5, 6, 1))
    np.testing.assert_array_equal(adjust_saturation(single, 0.3), single)
    if dtype == jnp.uint8:
        grey = jnp.tile(single, (1, 1, 1, 3))
        np.testing.assert_array_equal(adjust_saturation(grey, 0.3), grey)


def test_contrast_and_saturation_keep_the_mean_grey():
    images = 0.4 + 0.2 * images_of(jnp.float32)
    luma = np.asarray([0.299, 0.587, 0.114])
    before = (np.asarray(images, np.float64) @ luma).mean((1, 2))
    for adjust in (adjust_contrast, adjust_saturation):
        after = (np.asarray(adjust(images, 1.4), np.float64) @ luma).mean((1, 2))
        np.testing.assert_allclose(after, before, rtol=1e-4)
    after = (np.asarray(adjust_brightness(images, 1.4), np.float64) @ luma).mean((1, 2))
    np.testing.assert_allclose(after, 1.4 * before, rtol=1e-4)


def test_gradients_are_the_factor_where_nothing_clips():
    images = 0.4 + 0.2 * images_of(jnp.float32)
    for adjust in (adjust_brightness, adjust_contrast, adjust_saturation):
        gradient = jax.grad(lambda x, adjust=adjust: adjust(x, 1.3).sum())(images)
        one = jax.grad(lambda x, adjust=adjust: adjust(x, 1.3)[0, 1, 2, 0])(images)
        weight, pixels = 0.299, images[0, ..., 0].size
        own = {
            adjust_brightness: 1.3,
            adjust_contrast: 1.3 - 0.3 * weight / pixels,
            adjust_saturation: 1.3 - 0.3 * weight,
        }[adjust]
        np.testing.assert_allclose(one[0, 1, 2, 0], own, rtol=1e-4)
        total = 1.3 if adjust is adjust_brightness else 1.0
        np.testing.assert_allclose(gradient.sum() / gradient.size, total, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_jitter_is_brightness_then_contrast_then_saturation(dtype):
    images = images_of(dtype)
    out = jitter(KEY, images, brightness=0.4, contrast=0.2, saturation=1.5)
    low, high = np.array([0.6, 0.8, 0.0]), np.array([1.4, 1.2, 2.5])
    share = np.asarray(jax.random.uniform(KEY, (16, 3)), np.float64)
    factors = (low + share * (high - low)).astype(np.float32)
    expected = adjust_brightness(images, factors[:, 0])
    expected = adjust_contrast(expected, factors[:, 1])
    expected = adjust_saturation(expected, factors[:, 2])
    difference = np.abs(np.asarray(out, float) - np.asarray(expected, float))
    if dtype == jnp.uint8:  # a rounding of a factor may move a pixel by a level
        assert difference.max() <= 1
        assert (difference == 0).mean() > 0.999
    else:
        assert difference.max() < 2e-6


def test_factors_are_uniform_and_independent():
    """Three pixels tell the three factors of an image."""
    batch = 2000
    colours = np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.3], [0.3, 0.2, 0.2]])
    images = jnp.tile(jnp.asarray(colours, jnp.float32)[None, None], (batch, 1, 1, 1))
    out = np.asarray(
        jitter(KEY, images, brightness=0.5, contrast=0.3, saturation=0.2), np.float64
    )[:, 0]
    luma = [0.299, 0.587, 0.114]
    brightness = (out @ luma).mean(1) / (colours @ luma).mean()
    contrast = (out[:, 1, 0] - out[:, 0, 0]) / 0.2 / brightness
    saturation = (out[:, 2, 0] - out[:, 2, 1]) / 0.1 / brightness / contrast
    drawn = np.stack([brightness, contrast, saturation])
    for factors, width in zip(drawn, (0.5, 0.3, 0.2), strict=True):
        counts, _ = np.histogram(factors, 10, (1 - width - 1e-5, 1 + width + 1e-5))
        assert counts.sum() == batch
        assert ((counts - batch / 10) ** 2 / (batch / 10)).sum() < 27.9  # chi², p = 0.001
    correlation = np.corrcoef(drawn) - np.eye(3)
    assert np.abs(correlation).max() < 4 / np.sqrt(batch)


def test_factors_are_never_negative():
    images = jnp.full((500, 1, 1, 1), 0.1)
    out = jitter(KEY, images, brightness=3.0)
    assert out.min() > 0
    np.testing.assert_allclose(out.mean() / 0.1, 2.0, atol=0.2)  # uniform in [0, 4]


def test_one_argument_acts_alone():
    images = images_of(jnp.float32)
    share = jax.random.uniform(KEY, (16, 3))
    for i, adjust in enumerate(PILLOW):
        name = adjust.__name__.removeprefix("adjust_")
        expected = adjust(images, 0.7 + share[:, i] * 0.6)
        out = jitter(KEY, images, **{name: 0.3})
        np.testing.assert_allclose(out, expected, atol=2e-6)


def test_bad_arguments_raise():
    images = images_of(jnp.uint8)
    with pytest.raises(ValueError, match=r"contrast must be zero or .*, got -0\.1"):
        color_jitter(KEY, images, contrast=-0.1)
    with pytest.raises(ValueError, match=r"factor must be zero or positive, got -1"):
        adjust_brightness(images, -1)
    with pytest.raises(ValueError, match=r"each of the 16 images, got shape \[15\]"):
        adjust_contrast(images, np.ones(15))
    two = images[..., :2]
    for function in (adjust_contrast, adjust_saturation):
        with pytest.raises(ValueError, match=r"images must have 3 channels .* got 2;"):
            function(two, 0.5)
    with pytest.raises(ValueError, match=r"images must have 3 channels .* got 2; leave"):
        color_jitter(KEY, two)
    assert adjust_brightness(two, 0.5).shape == two.shape
    with pytest.raises(ValueError, match=r"images must be .*got shape \[7, 9, 3\]; add"):
        inspect.unwrap(color_jitter)(KEY, images[0])


def test_brightness_of_every_level_is_pillows():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([levels] * 3, axis=-1)
    for factor in np.arange(0, 41) / 20:
        theirs = ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor)
        ours = adjust_brightness(jnp.asarray(image)[None], float(factor))[0]
        np.testing.assert_array_equal(ours, theirs)


def test_without_colour_every_colour_has_pillows_grey():
    colours = np.random.default_rng(2).integers(0, 256, (256, 512, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(colours).convert("L"))
    ours = jax.jit(adjust_saturation)(jnp.asarray(colours)[None], 0.0)[0]
    np.testing.assert_array_equal(ours, np.stack([theirs] * 3, axis=-1))


def test_without_contrast_every_mean_is_pillows():
    """Of a hundred pixels, n of which are one level brighter."""
    pixels = 100 + (np.arange(100) < np.arange(0, 101, 5)[:, None]).astype(np.uint8)
    images = pixels.reshape(-1, 10, 10, 1)
    ours = jax.jit(adjust_contrast)(jnp.asarray(images), 0.0)
    theirs = [ImageEnhance.Contrast(Image.fromarray(x[..., 0])) for x in images]
    want = [np.asarray(enhancer.enhance(0.0)) for enhancer in theirs]
    np.testing.assert_array_equal(ours[..., 0], want)

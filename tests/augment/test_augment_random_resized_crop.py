import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from optix_tricks.augment import random_resized_crop, resize

KEY = jax.random.key(3)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Most of the time here goes to the compiler.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
crop = quick_jit(
    random_resized_crop, static_argnames=("size", "scale", "ratio", "method")
)


def images_of(dtype, shape=(16, 24, 36, 3)):
    """Random images, smoothed so that they look a little like photographs."""
    images = np.random.default_rng(0).integers(0, 256, shape).astype(float)
    for axis in (1, 2):
        images = (images + np.roll(images, 1, axis) + np.roll(images, -1, axis)) / 3
    return jnp.asarray(np.round(images), dtype)


def drawn_boxes(key, batch, height, width, scale=(0.08, 1), ratio=(3 / 4, 4 / 3)):
    """(top, left, height, width), re-derived by a loop over tries in float64."""
    for_area, for_ratio, for_place = jax.random.split(key, 3)
    a = jax.random.uniform(for_area, (batch, 10), minval=scale[0], maxval=scale[1])
    low, high = jnp.log(jnp.array(ratio))
    log_r = jax.random.uniform(for_ratio, (batch, 10), minval=low, maxval=high)
    sides = []
    for areas, ratios in zip(np.float64(a), np.exp(np.float64(log_r)), strict=True):
        for share, r in zip(areas, ratios, strict=True):
            w = round(np.sqrt(share * height * width * r))
            h = round(np.sqrt(share * height * width / r))
            if 0 < w <= width and 0 < h <= height:
                sides.append((h, w))
                break
        else:
            sides.append(None)
    fitting = np.array([side or (0, 0) for side in sides])
    limits = np.array([[height, width]]) - fitting + 1
    corners = np.asarray(jax.random.randint(for_place, (batch, 2), 0, limits))
    boxes = []
    for (top, left), side in zip(corners, sides, strict=True):
        if side is None:
            h = min(height, round(width / ratio[0]))
            w = min(width, round(height * ratio[1]))
            boxes.append(((height - h) // 2, (width - w) // 2, h, w))
        else:
            boxes.append((int(top), int(left), *side))
    return boxes


def weights(start, length, pixels, new_pixels, method):
    """Of the pixels start, ..., start + length - 1, by loops in float64."""

    def kernel(x):
        x = abs(x)
        if method == "bilinear":
            return max(1 - x, 0)
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0

    matrix = np.zeros((new_pixels, pixels))
    for i in range(new_pixels):
        centre = (i + 0.5) * length / new_pixels
        for k in range(length):
            distance = (k + 0.5 - centre) / max(length / new_pixels, 1)
            matrix[i, start + k] = kernel(distance)
        matrix[i] /= matrix[i].sum()
    return matrix


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 11), (30, 40)])
def test_matches_a_loop_in_float64(method, size):
    images = images_of(jnp.float32)
    out = crop(KEY, images, size=size, method=method)
    boxes = drawn_boxes(KEY, *images.shape[:3])
    assert len(set(boxes)) > 8
    for image, box, result in zip(np.float64(images), boxes, out, strict=True):
        rows = weights(box[0], box[2], 24, size[0], method)
        columns = weights(box[1], box[3], 36, size[1], method)
        expected = np.einsum("ih,jw,hwc->ijc", rows, columns, image)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 11), (30, 40)])
def test_matches_pillow(method, size):
    images = images_of(jnp.uint8)
    out = crop(KEY, images, size=size, method=method)
    assert out.dtype == jnp.uint8
    boxes = drawn_boxes(KEY, *images.shape[:3])
    for image, (top, left, h, w), result in zip(images, boxes, out, strict=True):
        part = Image.fromarray(np.asarray(image)[top : top + h, left : left + w])
        expected = np.asarray(part.resize(size[::-1], FILTERS[method]), int)
        # Pillow rounds between the two axes, with weights of whole 2⁻²²ths.
        assert np.abs(np.asarray(result, int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    images = images_of(jnp.uint8)
    out = crop(KEY, images.astype(dtype), size=8)
    wide = crop(KEY, images.astype(jnp.float32), size=8)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, wide.astype(dtype))


def test_where_no_crop_fits_it_is_the_centre_with_the_nearest_ratio():
    for shape in ((4, 6, 40, 1), (4, 40, 6, 1)):
        images = images_of(jnp.float32, shape)
        out = crop(KEY, images, size=12, scale=(0.9, 1.0))
        assert (
            drawn_boxes(KEY, *shape[:3], scale=(0.9, 1.0))
            == [(0, 16, 6, 8) if shape[1] == 6 else (16, 0, 8, 6)] * 4
        )
        middle = images[:, :, 16:24] if shape[1] == 6 else images[:, 16:24]
        np.testing.assert_allclose(out, resize(middle, 12), rtol=1e-5, atol=1e-4)


def observed_centres(key, batch, height, width, **options):
    """Measure the crops from outside: a ramp's mean over a crop is its centre."""
    row, column = np.mgrid[:height, :width].astype(np.float32)
    ramps = jnp.tile(jnp.asarray(np.stack([row, column], -1))[None], (batch, 1, 1, 1))
    out = np.asarray(crop(key, ramps, size=2, **options), np.float64)
    centre = out.mean((1, 2)) + 0.5
    return centre[:, 0], centre[:, 1]


def test_sides_and_places_are_those_of_the_source():
    batch, side = 1000, 60
    boxes = np.array(drawn_boxes(KEY, batch, side, side, scale=(0.1, 0.5)))
    share = boxes[:, 2] * boxes[:, 3] / side**2
    assert stats.kstest(share, stats.uniform(0.1, 0.4).cdf).pvalue > 0.001
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, (batch, 2))  # undo rounding
    log_ratio = np.log(np.divide(*(boxes[:, 2:] + spread).T[::-1]))
    span = np.log(4 / 3)
    assert stats.kstest(log_ratio, stats.uniform(-span, 2 * span).cdf).pvalue > 0.001
    centres = observed_centres(KEY, batch, side, side, scale=(0.1, 0.5))
    for corner, length, centre in zip(boxes.T[:2], boxes.T[2:], centres, strict=True):
        np.testing.assert_allclose(centre, corner + length / 2, atol=0.02)
        place = (corner + 0.5) / (side - length + 1)
        assert stats.kstest(place, stats.uniform.cdf).pvalue > 0.001


def test_one_size_is_both_sides():
    images = images_of(jnp.uint8)
    np.testing.assert_array_equal(
        crop(KEY, images, size=8), crop(KEY, images, size=(8, 8))
    )


def test_the_whole_image_is_resize():
    """At full scale and the image's own ratio, by another route: jax.image."""
    images = images_of(jnp.float32)
    whole = {"scale": (1.0, 1.0), "ratio": (1.5, 1.5)}
    for size, method in (((12, 18), "bilinear"), ((31, 50), "bicubic")):
        out = crop(KEY, images, size=size, method=method, **whole)
        expected = resize(images, size, method=method)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)


def test_a_crop_sees_nothing_of_its_surroundings():
    shape = (16, 12, 12, 1)
    boxes = drawn_boxes(KEY, *shape[:3], scale=(0.2, 0.4))
    images = np.full(shape, np.nan, np.float32)
    for image, (top, left, h, w) in zip(images, boxes, strict=True):
        image[top : top + h, left : left + w] = 7.0
    filled = np.where(np.isnan(images), 1000.0, images).astype(np.float32)
    for method in FILTERS:
        out = crop(KEY, jnp.asarray(filled), size=9, scale=(0.2, 0.4), method=method)
        np.testing.assert_allclose(out, 7.0, rtol=1e-5)


def test_gradient_is_the_transposed_interpolation():
    shape = (2, 6, 7, 1)
    images = images_of(jnp.float32, shape)
    total = jax.grad(lambda x: random_resized_crop(KEY, x, size=4).sum())
    gradient = quick_jit(total)(images)
    for (top, left, h, w), result in zip(
        drawn_boxes(KEY, *shape[:3]), gradient, strict=True
    ):
        rows = weights(top, h, 6, 4, "bilinear").sum(0)
        columns = weights(left, w, 7, 4, "bilinear").sum(0)
        np.testing.assert_allclose(result[..., 0], np.outer(rows, columns), atol=1e-5)


def test_bad_arguments_raise():
    images, unchecked = images_of(jnp.uint8), inspect.unwrap(random_resized_crop)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        random_resized_crop(KEY, images, size=0)
    with pytest.raises(ValueError, match=r"size must be a whole number, got 8\.5"):
        unchecked(KEY, images, size=8.5)
    with pytest.raises(ValueError, match=r"size must be one number or two, .* \(8, 8, 3"):
        unchecked(KEY, images, size=(8, 8, 3))
    with pytest.raises(ValueError, match=r"scale must be at most 1, got \(0\.5, 2\)"):
        random_resized_crop(KEY, images, size=8, scale=(0.5, 2))
    with pytest.raises(ValueError, match=r"ratio must be .* first, got \(1\.5, 0\.5\)"):
        random_resized_crop(KEY, images, size=8, ratio=(1.5, 0.5))
    with pytest.raises(
        ValueError, match=r"method must be 'bilinear' or 'bicubic', got 'area'"
    ):
        random_resized_crop(KEY, images, size=8, method="area")


def test_a_crop_may_be_one_pixel():
    images = jnp.arange(64.0).reshape(1, 8, 8, 1) * jnp.ones((40, 1, 1, 1))
    out = crop(KEY, images, size=1, scale=(1 / 64, 1 / 64), ratio=(1.0, 1.0))
    places = np.asarray(out).ravel()
    np.testing.assert_array_equal(places, np.round(places))
    assert len(set(places)) > 20

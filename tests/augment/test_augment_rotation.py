import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from optix_tricks.augment import random_rotation
from optix_tricks.augment._warp import warp

KEY = jax.random.key(3)
BATCH = 6
rotate = jax.jit(random_rotation, static_argnames=("interpolation",))
both = pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])


def images_of(dtype, shape=(BATCH, 8, 11, 3)):
    levels = np.random.default_rng(0).integers(0, 256, shape)
    return jnp.asarray(levels if dtype == jnp.uint8 else levels / 255, dtype)


def drawn_degrees(key, batch, degrees):
    return degrees * np.asarray(jax.random.uniform(key, (batch,), minval=-1), float)


def sources(angle, height, width):
    """Where each pixel comes from, as row and column: pixel centres are whole."""
    middle = np.array([height - 1, width - 1]) / 2
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - middle[0], x - middle[1]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return x * sin + y * cos + middle[0], x * cos - y * sin + middle[1]


def rotated(image, angle, fill, interpolation):
    """One pixel after the other, in float64; NaN where a rounding decides."""
    height, width, _ = image.shape
    rows, columns = sources(angle, height, width)
    out = np.empty(image.shape)
    for i, j in np.ndindex(height, width):
        row, column = rows[i, j], columns[i, j]
        edges = np.array([row, column, height - 0.5 - row, width - 0.5 - column])
        if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
            out[i, j] = fill
        elif interpolation == "nearest":
            out[i, j] = image[int(np.floor(row + 0.5)), int(np.floor(column + 0.5))]
            edges = np.array([row % 1 - 0.5, column % 1 - 0.5])
        else:
            top, left = int(np.floor(row)), int(np.floor(column))
            out[i, j] = sum(
                (1 - abs(row - r))
                * (1 - abs(column - c))
                * image[np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)]
                for r in (top, top + 1)
                for c in (left, left + 1)
            )
        if np.abs(edges).min() < 1e-4:
            out[i, j] = np.nan
    return out


@both
@pytest.mark.parametrize("shape", [(BATCH, 8, 11, 3), (BATCH, 9, 9, 1)])
def test_matches_a_loop_over_pixels(shape, interpolation):
    images = images_of(jnp.float32, shape)
    out = rotate(KEY, images, degrees=70, interpolation=interpolation, fill=-0.5)
    angles = drawn_degrees(KEY, BATCH, 70)
    wide = np.asarray(images, np.float64)
    expected = np.stack(
        [rotated(x, a, -0.5, interpolation) for x, a in zip(wide, angles, strict=True)]
    )
    decided = np.isfinite(expected)
    assert decided.mean() > 0.99
    np.testing.assert_allclose(out[decided], expected[decided], rtol=0, atol=1e-5)


@pytest.mark.parametrize("fill", [0, 200])
def test_matches_pillow_to_a_level(fill):
    images = images_of(jnp.uint8, (BATCH, 16, 13, 3))
    out = np.asarray(rotate(KEY, images, degrees=180, fill=fill), int)
    for image, angle, ours in zip(
        images, drawn_degrees(KEY, BATCH, 180), out, strict=True
    ):
        pillow = Image.fromarray(np.asarray(image))
        theirs = pillow.rotate(
            angle, Image.Resampling.BILINEAR, fillcolor=(fill, fill, fill)
        )
        assert np.abs(ours - np.asarray(theirs, int)).max() <= 1


def test_matches_pillow_at_the_nearest_pixel():
    images = images_of(jnp.uint8, (BATCH, 16, 16, 1))
    out = rotate(KEY, images, degrees=180, interpolation="nearest")
    for image, angle, ours in zip(
        images, drawn_degrees(KEY, BATCH, 180), out, strict=True
    ):
        theirs = Image.fromarray(np.asarray(image[..., 0])).rotate(angle)
        assert (np.asarray(theirs) != ours[..., 0]).mean() < 0.01  # theirs is fixed-point


def test_matches_scipy_inside():
    images = images_of(jnp.float32, (BATCH, 12, 15, 1))
    out = rotate(KEY, images, degrees=40)
    for image, angle, ours in zip(
        images, drawn_degrees(KEY, BATCH, 40), out, strict=True
    ):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        matrix, middle = np.array([[cos, sin], [-sin, cos]]), np.array([5.5, 7.0])
        theirs = ndimage.affine_transform(
            np.asarray(image[..., 0], np.float64),
            matrix,
            offset=middle - matrix @ middle,
            order=1,
            mode="constant",
        )
        row, column = sources(angle, 12, 15)
        inside = (row > 0) & (row < 11) & (column > 0) & (column < 14)
        assert inside.sum() > 80
        np.testing.assert_allclose(ours[..., 0][inside], theirs[inside], atol=1e-5)


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
@pytest.mark.parametrize(
    ("dtype", "interpolation"),
    [(jnp.uint8, "bilinear"), (jnp.uint8, "nearest"), (jnp.float32, "nearest")],
)
def test_quarter_turns_are_exact(quarters, side, dtype, interpolation):
    image = images_of(dtype, (1, side, side, 3))[0]
    angle = jnp.radians(jnp.float32(90 * quarters))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix, fill = ((cos, -sin, 0.0), (sin, cos, 0.0)), jnp.full(3, 9, dtype)
    out = jax.jit(warp, static_argnames="interpolation")(
        image, matrix, interpolation=interpolation, fill=fill
    )
    np.testing.assert_array_equal(out, np.rot90(image, quarters))


def test_angles_are_uniform_and_counter_clockwise():
    """A ramp along x turns into x cos θ - y sin θ, whose slopes give the angle."""
    batch, degrees = 2000, 50.0
    ramp = jnp.broadcast_to(jnp.arange(9.0)[None, None, :, None], (batch, 9, 9, 1))
    out = np.asarray(rotate(KEY, ramp, degrees=degrees))[..., 0]
    cos, minus_sin = out[:, 4, 5] - out[:, 4, 4], out[:, 5, 4] - out[:, 4, 4]
    angles = np.degrees(np.arctan2(-minus_sin, cos))
    np.testing.assert_allclose(angles, drawn_degrees(KEY, batch, degrees), atol=1e-3)
    counts, _ = np.histogram(angles, 10, (-degrees, degrees))
    assert counts.sum() == batch
    assert ((counts - batch / 10) ** 2 / (batch / 10)).sum() < 27.9  # chi², p = 0.001


@both
def test_a_disc_stays_and_a_bar_turns(interpolation):
    y, x = np.mgrid[-10:11, -10:11]
    disc, bar = np.exp(-(x**2 + y**2) / 20), np.exp(-(y**2) / 20)
    for image, low, high in ((disc, 0, 0.15), (bar, 0.3, 1)):
        images = jnp.tile(jnp.asarray(image, jnp.float32)[None, ..., None], (8, 1, 1, 1))
        out = rotate(KEY, images, degrees=90, interpolation=interpolation)
        change = np.abs(out - images)[:, 5:16, 5:16].max()
        assert low <= change < high


def test_fill_is_one_value_or_one_a_channel():
    images = images_of(jnp.float32)
    fill = np.array([0.1, 0.2, 0.3], np.float32)
    out = np.asarray(rotate(KEY, images, degrees=60, fill=fill))
    plain = np.asarray(rotate(KEY, images, degrees=60, fill=2.0))
    outside = (plain == 2.0).all(-1)
    assert outside.sum() > 20
    np.testing.assert_array_equal(out[outside], np.tile(fill, (outside.sum(), 1)))
    np.testing.assert_array_equal(out[~outside], plain[~outside])


def test_bad_arguments_raise():
    images = images_of(jnp.uint8)
    with pytest.raises(ValueError, match="degrees must be zero or positive, got -5"):
        random_rotation(KEY, images, degrees=-5)
    with pytest.raises(ValueError, match=r"interpolation must be .* got 'bicubic'"):
        random_rotation(KEY, images, degrees=5, interpolation="bicubic")
    with pytest.raises(ValueError, match=r"fill .* for uint8 images, got 0\.5; convert"):
        random_rotation(KEY, images, degrees=5, fill=0.5)
    unchecked = inspect.unwrap(random_rotation)
    with pytest.raises(ValueError, match=r"images must be .*got shape \[8, 11, 3\]; add"):
        unchecked(KEY, images[0], degrees=5)


def test_one_number_of_degrees_for_all_images():
    with pytest.raises(ValueError, match=r"degrees must be one number .*shape \[2\]"):
        random_rotation(KEY, jnp.zeros((2, 4, 4, 1)), degrees=jnp.array([90.0, 0.0]))

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from augment.pillow_operations import (
    SIDE,
    assert_is_pillows,
    by_pillow,
    noise,
    photographs,
)
from optix_tricks.augment import rand_augment
from optix_tricks.augment._rand_augment_ops import (
    OPERATIONS,
    Space,
    autocontrast,
    equalize,
    operate,
)

KEY = jax.random.key(3)
SIGNS = (1, -1)
TRANSLATE = 150 / 331 * SIDE
SPACE = Space(0.3, (TRANSLATE, TRANSLATE), 30.0, 0.9, 4)
augment = jax.jit(rand_augment, static_argnames=("num_ops", "interpolation"))


def by_torchvisions_table(image, operation, m, sign, interpolation="nearest"):
    """Of the magnitude `m`, of 30."""
    pixels = int(TRANSLATE * sign * m / 30)
    return by_pillow(
        image,
        operation,
        shear=sign * m / 100,
        right=pixels,
        down=pixels,
        degrees=sign * m,
        factor=1 + 0.03 * sign * m,
        bits=8 - round(m / 7.5),
        threshold=255 - 8.5 * m,
        interpolation=interpolation,
    )


@functools.partial(jax.jit, static_argnames="interpolation")
def all_operations(images, magnitude, interpolation="nearest"):
    """[operation, sign, image, height, width, channel]."""
    fill = jnp.zeros(images.shape[-1], jnp.uint8)
    options = {"space": SPACE, "interpolation": interpolation, "fill": fill}

    def one(operation, sign, image):
        return operate(image, operation, sign * magnitude, **options)

    over_images = jax.vmap(one, (None, None, 0))
    over_signs = jax.vmap(over_images, (None, 0, None))
    signs = jnp.array(SIGNS, jnp.float32)
    return jax.vmap(over_signs, (0, None, None))(jnp.arange(14), signs, images)


@pytest.mark.parametrize("magnitude", [0.0, 9.0, 17.0, 30.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_is_pillows(magnitude, channels):
    images = np.concatenate([photographs(4), noise(4)])[..., :channels]
    out = np.asarray(all_operations(images, magnitude), int)
    for i, operation in enumerate(OPERATIONS):
        for j, sign in enumerate(SIGNS):
            theirs = [
                by_torchvisions_table(x, operation, magnitude, sign) for x in images
            ]
            assert_is_pillows(out[i, j], np.stack(theirs), operation)


def test_bilinear_warps_are_pillows_to_a_level():
    images = np.concatenate([photographs(4), noise(4)])
    out = np.asarray(all_operations(images, 13.0, "bilinear"), int)
    for i, operation in enumerate(OPERATIONS[:6]):
        for j, sign in enumerate(SIGNS):
            theirs = [
                by_torchvisions_table(x, operation, 13.0, sign, "bilinear")
                for x in images
            ]
            edge = np.abs(out[i, j] - np.stack(theirs))
            assert (edge > 1).mean() < 0.002, operation
            assert np.median(edge) <= 1


@pytest.mark.parametrize("operation", ["autocontrast", "equalize"])
@pytest.mark.parametrize("levels", [1, 2, 5, 40, 256])
def test_any_histogram(operation, levels):
    """Few levels, flat, skewed to the dark, and to the bright: nothing to equalize."""
    rng = np.random.default_rng(levels)
    skewed = np.minimum(rng.geometric(0.1, (8, SIDE, SIDE, 3)) - 1, levels - 1)
    skewed[4:] = np.where(rng.uniform(size=(4, SIDE, SIDE, 3)) < 0.9, levels - 1, 0)
    images = np.sort(rng.integers(0, 256, levels))[skewed].astype(np.uint8)
    out = np.asarray(all_operations(images, 9.0)[OPERATIONS.index(operation), 0], int)
    theirs = np.stack([by_pillow(x, operation) for x in images])
    assert np.abs(out - theirs).max() <= (operation == "autocontrast")


def test_an_image_goes_through_the_operations_it_draws():
    images = np.concatenate([photographs(4), noise(4)])
    draws = np.asarray(jax.random.randint(KEY, (8, 2), 0, 28))
    first = np.asarray(all_operations(images, 9.0))
    expected = np.stack([first[d // 2, d % 2, i] for i, d in enumerate(draws[:, 0])])
    once = augment(KEY, images)
    second = np.asarray(all_operations(expected, 9.0))
    expected = np.stack([second[d // 2, d % 2, i] for i, d in enumerate(draws[:, 1])])
    np.testing.assert_array_equal(once, expected)


def test_operations_and_signs_are_uniform():
    """Each of the outcomes is recognised by its pixels, not by the numbers drawn."""
    batch, images = 4200, photographs(8)
    outcomes = np.asarray(all_operations(images, 21.0))[:, :, 0]
    signed = len({x.tobytes() for x in outcomes[1:10].reshape(18, -1)})
    assert signed == 18
    out = np.asarray(
        augment(KEY, jnp.tile(images[:1], (batch, 1, 1, 1)), num_ops=1, magnitude=21)
    )
    found = np.zeros((14, 2))
    for x in out:
        same = (outcomes == x).all((-1, -2, -3))
        found += same / same.sum()
    expected = batch / 14
    assert ((found.sum(1) - expected) ** 2 / expected).sum() < 34.5  # chi², 13 df, 0.001
    share = found[1:10, 0].sum() / found[1:10].sum()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / found[1:10].sum())


def test_weak_magnitudes_change_little_and_strong_ones_much():
    images = photographs(8)
    change = [
        np.abs(np.asarray(all_operations(images, m), int) - images)[1:11].mean()
        for m in (0.0, 9.0, 30.0)
    ]
    assert change[0] == 0  # autocontrast, equalize and solarize at 255 are left out
    assert change[1] > 2
    assert change[2] > 2 * change[1]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_floating_images_are_levels_over_255(dtype):
    levels = noise(8)
    images = jnp.asarray(levels / 255, dtype)
    out = augment(KEY, images, fill=0.2)
    assert out.dtype == dtype
    expected = np.asarray(augment(KEY, levels, fill=51), np.float32) / 255
    rounding = 2e-7 if dtype == jnp.float32 else 2**-8
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, rtol=rounding)


def test_fill_is_one_value_or_one_a_channel():
    images = np.full((8, SIDE, SIDE, 3), 100, np.uint8)
    draw = next(
        s
        for s in range(99)
        if jax.random.randint(jax.random.key(s), (8, 1), 0, 28)[0] == 8
    )
    assert OPERATIONS[8 // 2] == "translate_y"
    fill = np.array([1, 2, 3], np.uint8)
    out = augment(jax.random.key(draw), images, num_ops=1, magnitude=30, fill=fill)
    down = int(150 / 331 * SIDE)
    np.testing.assert_array_equal(out[0, :down], np.tile(fill, (down, SIDE, 1)))
    np.testing.assert_array_equal(out[0, down:], images[0, down:])


def test_magnitude_may_be_traced():
    images = noise(8)
    eager = rand_augment(KEY, jnp.asarray(images), magnitude=12.5)
    np.testing.assert_array_equal(augment(KEY, images, magnitude=12.5), eager)


def test_bad_arguments_raise():
    images = jnp.asarray(noise(4))
    with pytest.raises(ValueError, match=r"magnitude must be in \[0, 30\], got 31"):
        rand_augment(KEY, images, magnitude=31)
    with pytest.raises(ValueError, match="magnitude must be zero or positive, got -1"):
        rand_augment(KEY, images, magnitude=-1)
    with pytest.raises(ValueError, match="num_ops must be at least 0, got -1"):
        rand_augment(KEY, images, num_ops=-1)
    with pytest.raises(ValueError, match=r"interpolation must be .* got 'cubic'"):
        rand_augment(KEY, images, interpolation="cubic")
    with pytest.raises(ValueError, match=r"images must have 3 channels .* got 2; leave"):
        rand_augment(KEY, images[..., :2])
    with pytest.raises(ValueError, match=r"fill .* for uint8 images, got 0\.5; convert"):
        rand_augment(KEY, images, fill=0.5)
    with pytest.raises(
        ValueError, match=r"images must be .*got shape \[24, 24, 3\]; add"
    ):
        inspect.unwrap(rand_augment)(KEY, images[0])


def test_the_smallest_histograms_that_are_stretched():
    """Two neighbouring levels; and 255 pixels below a single brightest one."""
    images = np.full((2, 16, 16, 1), 10, np.uint8)
    images[0, :8] = 11
    images[1, 3, 5] = 200
    for name, stretch, close in (
        ("autocontrast", autocontrast, 1),
        ("equalize", equalize, 0),
    ):
        for image in images:
            difference = np.asarray(stretch(jnp.asarray(image)), int)
            difference -= by_pillow(image, name)
            assert np.abs(difference).max() <= close


def test_a_magnitude_of_thirty_is_the_largest():
    images = jnp.asarray(noise(1))
    np.testing.assert_array_equal(
        rand_augment(KEY, images, num_ops=0, magnitude=30), images
    )

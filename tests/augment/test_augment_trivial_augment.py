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
from optix_tricks.augment import trivial_augment
from optix_tricks.augment._rand_augment_ops import OPERATIONS, Space, operate

KEY = jax.random.key(3)
IMAGES = np.tile(np.concatenate([photographs(8), noise(8)]), (125, 1, 1, 1))
augment = jax.jit(trivial_augment, static_argnames=("space", "interpolation"))


def strengths(space, m, sign):
    """The paper's ranges at `m` of 30, as torchvision turns them into arguments."""
    if space == "wide":
        shear, pixels, degrees, change, bits = 0.99, 32, 135, 0.99, 6
    else:
        shear, pixels, degrees, change, bits = 0.3, 10 / 32 * SIDE, 30, 0.9, 4
    moved = int(pixels * sign * m / 30)
    return {
        "shear": sign * shear * m / 30,
        "right": moved,
        "down": moved,
        "degrees": sign * degrees * m / 30,
        "factor": 1 + sign * change * m / 30,
        "bits": 8 - round(bits * m / 30),
        "threshold": 255 - 8.5 * m,
    }


@functools.cache
def draws(batch):
    """Operation, magnitude and sign of each image, from the key."""
    drawn = np.asarray(jax.random.randint(KEY, (batch, 1), 0, 14 * 31 * 2))[:, 0]
    operations, rest = np.divmod(drawn, 62)
    magnitudes, odd = np.divmod(rest, 2)
    return [OPERATIONS[i] for i in operations], magnitudes, 1 - 2 * odd


@pytest.mark.parametrize("space", ["wide", "ra"])
def test_each_image_is_pillows_of_its_operation_and_strength(space):
    out = np.asarray(augment(KEY, IMAGES, space=space))
    operations, magnitudes, signs = draws(len(IMAGES))
    theirs = np.stack(
        [
            by_pillow(x, operation, **strengths(space, m, sign))
            for x, operation, m, sign in zip(
                IMAGES, operations, magnitudes, signs, strict=True
            )
        ]
    )
    for operation in OPERATIONS:
        drawn = np.array([o == operation for o in operations])
        assert len(set(magnitudes[drawn])) > 25
        assert_is_pillows(out[drawn], theirs[drawn], operation)


@pytest.mark.parametrize("side", [28, 32, 96])
def test_an_image_moves_by_whole_pixels_however_its_side_divides(side):
    """Of the narrow space: by the part below the point of m side / 96, exactly."""
    ramp = np.arange(side, dtype=np.uint8)
    image = jnp.asarray(np.broadcast_to(ramp[:, None, None], (side, side, 1)))
    space, fill = Space(0.3, (10 / 32 * side,) * 2, 30.0, 0.9, 4), jnp.zeros(1, jnp.uint8)
    down = functools.partial(operate, image, OPERATIONS.index("translate_y"))
    move = jax.vmap(lambda m: down(m, space=space, interpolation="nearest", fill=fill))
    moved = np.asarray(move(jnp.arange(31.0)))
    np.testing.assert_array_equal(
        moved[:, -1, 0, 0], side - 1 - np.arange(31) * side // 96
    )


def test_bilinear_turns_are_pillows_to_a_level():
    images = IMAGES[:320]
    out = np.asarray(augment(KEY, images, interpolation="bilinear"), int)
    found = zip(images, out, *draws(len(images)), strict=True)
    turned = [
        np.abs(
            y - by_pillow(x, o, **strengths("wide", m, sign), interpolation="bilinear")
        )
        for x, y, o, m, sign in found
        if o in ("shear_x", "shear_y", "rotate")
    ]
    assert len(turned) > 40
    assert (np.stack(turned) > 1).mean() < 0.002


def share_inverted(out):
    """Which of the flat images of level 10 were solarized: nothing else makes it 245."""
    return (out == 245).all((1, 2, 3)).mean()


def test_operations_and_strengths_are_uniform():
    """A flat image of level 10 is inverted by solarize at 29 and 30 of 0 to 30."""
    flat = np.full((42000, 2, 2, 1), 10, np.uint8)
    share, expected = share_inverted(np.asarray(augment(KEY, flat))), 2 / 31 / 14
    assert abs(share - expected) < 4 * np.sqrt(expected / len(flat))
    operations, magnitudes, signs = draws(4200)
    counts = np.array([operations.count(o) for o in OPERATIONS])
    assert ((counts - 300) ** 2 / 300).sum() < 34.5  # chi², 13 df, 0.001
    counts = np.bincount(magnitudes, minlength=31)
    assert ((counts - 4200 / 31) ** 2 / (4200 / 31)).sum() < 59.7  # 30 df
    assert abs(np.mean(signs)) < 4 / np.sqrt(4200)


def test_wide_changes_more_than_ra():
    wide, narrow = (
        np.abs(np.asarray(augment(KEY, IMAGES, space=space), int) - IMAGES).mean()
        for space in ("wide", "ra")
    )
    assert wide > 1.3 * narrow > 10


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_floating_images_are_levels_over_255(dtype):
    levels = noise(8)
    out = augment(KEY, jnp.asarray(levels / 255, dtype), fill=0.2)
    assert out.dtype == dtype
    expected = np.asarray(augment(KEY, levels, fill=51), np.float32) / 255
    rounding = 2e-7 if dtype == jnp.float32 else 2**-8
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, rtol=rounding)


def test_bad_arguments_raise():
    images = jnp.asarray(noise(4))
    with pytest.raises(ValueError, match=r"space must be 'wide' or 'ra', got 'aa'"):
        trivial_augment(KEY, images, space="aa")
    with pytest.raises(ValueError, match=r"interpolation must be .* got 'cubic'"):
        trivial_augment(KEY, images, interpolation="cubic")
    with pytest.raises(ValueError, match=r"images must have 3 channels .* got 2; leave"):
        trivial_augment(KEY, images[..., :2])
    with pytest.raises(ValueError, match=r"fill .* for uint8 images, got 0\.5; convert"):
        trivial_augment(KEY, images, fill=0.5)
    with pytest.raises(
        ValueError, match=r"images must be .*got shape \[24, 24, 3\]; add"
    ):
        inspect.unwrap(trivial_augment)(KEY, images[0])

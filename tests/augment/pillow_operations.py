"""The fourteen operations by Pillow's functions, and images to try them on."""

import functools

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

SIDE = 24


def photographs(count):
    china = np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((160, 107)))
    rng = np.random.default_rng(0)
    tops, lefts = rng.integers(0, 83, count), rng.integers(0, 136, count)
    return np.stack(
        [china[t : t + SIDE, u : u + SIDE] for t, u in zip(tops, lefts, strict=True)]
    )


def noise(count):
    """Of the whole range, and of a part of it."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3))
    images[1::2] = rng.integers(60, 190, images[1::2].shape)
    return images.astype(np.uint8)


def affine(image, coefficients, resample):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample)


def by_pillow(
    image,
    operation,
    *,
    shear=0.0,
    right=0,
    down=0,
    degrees=0.0,
    factor=1.0,
    bits=8,
    threshold=255.0,
    interpolation="nearest",
):
    """Apply one operation to [height, width, channel], of the strength that it reads."""
    pillow = Image.fromarray(np.squeeze(image))
    resample = getattr(Image.Resampling, interpolation.upper())
    turn = functools.partial(affine, pillow, resample=resample)
    operations = {
        "identity": lambda: pillow,
        "shear_x": lambda: turn((1, shear, 0, 0, 1, 0)),
        "shear_y": lambda: turn((1, 0, 0, shear, 1, 0)),
        "translate_x": lambda: turn((1, 0, -right, 0, 1, 0)),
        "translate_y": lambda: turn((1, 0, 0, 0, 1, -down)),
        "rotate": lambda: pillow.rotate(degrees, resample),
        "brightness": lambda: ImageEnhance.Brightness(pillow).enhance(factor),
        "color": lambda: ImageEnhance.Color(pillow).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(pillow).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(pillow).enhance(factor),
        "posterize": lambda: ImageOps.posterize(pillow, bits),
        "solarize": lambda: ImageOps.solarize(pillow, threshold),
        "autocontrast": lambda: ImageOps.autocontrast(pillow),
        "equalize": lambda: ImageOps.equalize(pillow),
    }
    return np.asarray(operations[operation](), int).reshape(image.shape)


EXACT = {"identity", "translate_x", "translate_y", "posterize", "solarize", "equalize"}
NEAREST = {"shear_x", "shear_y", "rotate"}  # Pillow finds the pixel in fixed point


def assert_is_pillows(out, theirs, operation):
    difference = np.abs(np.asarray(out, int) - theirs)
    if operation in EXACT:
        assert difference.max() == 0, operation
    elif operation in NEAREST:
        assert (difference > 0).mean() < 0.005, operation
    else:
        assert difference.max() <= 1, operation
        assert (difference == 0).mean() > 0.99, operation

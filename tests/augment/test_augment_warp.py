"""An affine warp against loops in float64, to the borders and between pixels."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.augment._warp import warp

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (5, 7, 2))
FILL = np.array([3, 9])
MATRICES = {
    "identity": ((1, 0, 0), (0, 1, 0)),
    "half a pixel left": ((1, 0, 0.5), (0, 1, 0)),
    "half a pixel right": ((1, 0, -0.5), (0, 1, 0)),
    "half a pixel up": ((1, 0, 0), (0, 1, 0.5)),
    "half a pixel down": ((1, 0, 0), (0, 1, -0.5)),
    "turned": ((0.8, -0.6, 0.31), (0.6, 0.8, -0.73)),
    "sheared": ((1.3, 0.4, -1.12), (-0.2, 0.7, 0.93)),
}


def by_loops(image, matrix, interpolation):
    height, width, _ = image.shape
    out = np.empty(image.shape)
    (a, b, c), (d, e, f) = matrix

    def pixel(i, j):
        return image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]

    for i in range(height):
        for j in range(width):
            x, y = j + 0.5 - width / 2, i + 0.5 - height / 2
            u, v = a * x + b * y + c + width / 2, d * x + e * y + f + height / 2
            if not (0 <= u < width and 0 <= v < height):
                out[i, j] = FILL
            elif interpolation == "nearest":
                out[i, j] = pixel(math.floor(v), math.floor(u))
            else:
                top, left = math.floor(v - 0.5), math.floor(u - 0.5)
                down, right = v - 0.5 - top, u - 0.5 - left
                out[i, j] = (
                    (1 - down) * (1 - right) * pixel(top, left)
                    + (1 - down) * right * pixel(top, left + 1)
                    + down * (1 - right) * pixel(top + 1, left)
                    + down * right * pixel(top + 1, left + 1)
                )
    return out


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_it_is_the_map_of_every_pixel(dtype, interpolation):
    warped = jax.jit(functools.partial(warp, interpolation=interpolation))
    for name, matrix in MATRICES.items():
        given = jax.tree.map(jnp.float32, matrix)
        got = warped(jnp.asarray(IMAGE, dtype), given, fill=jnp.asarray(FILL, dtype))
        assert got.dtype == dtype
        want = by_loops(IMAGE.astype(float), matrix, interpolation)
        whole = dtype == jnp.uint8 and interpolation == "bilinear"
        close = 0.501 if whole else 1e-3
        np.testing.assert_allclose(got, want, rtol=0, atol=close, err_msg=name)

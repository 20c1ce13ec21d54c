import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.initializers import patch_whitening

unchecked = inspect.unwrap(patch_whitening)


def images(n=60, size=8, channels=3, seed=0):
    """Smooth, correlated channels: a blurred field mixed by a matrix."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, size + 2, size + 2, channels))
    x = x[:, :-2, 2:] + x[:, 1:-1, 1:-1] + x[:, 2:, :-2]
    x = x @ rng.normal(size=(channels, channels))
    return x - x.mean((0, 1, 2))


def outputs(x, kernel):
    """A VALID convolution by loops, in float64."""
    size, filters = kernel.shape[0], kernel.shape[-1]
    side = x.shape[1] - size + 1
    y = np.zeros((len(x), side, side, filters))
    for i in range(size):
        for j in range(size):
            y += x[:, i : i + side, j : j + side] @ np.asarray(kernel[i, j], np.float64)
    return y


@pytest.mark.parametrize(("size", "channels"), [(2, 3), (3, 1), (1, 3)])
def test_outputs_are_uncorrelated_and_of_variance_one(size, channels):
    with jax.enable_x64(True):
        x = images(channels=channels)
        kernel = patch_whitening(jnp.asarray(x), kernel_size=size, eps=1e-12)
    half = size * size * channels
    assert kernel.shape == (size, size, channels, 2 * half)
    assert kernel.dtype == jnp.float64
    y = outputs(x, kernel[..., :half]).reshape(-1, half)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(half), atol=1e-7)


def test_float32_whitens_too():
    x = images()
    kernel = patch_whitening(jnp.asarray(x, jnp.float32), eps=1e-9)
    assert kernel.dtype == jnp.float32
    y = outputs(x, kernel[..., :12]).reshape(-1, 12)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=1e-3)


def test_order_negatives_and_the_plain_covariance():
    x = images()
    kernel = np.asarray(patch_whitening(jnp.asarray(x, jnp.float32)), np.float64)
    np.testing.assert_array_equal(kernel[..., :12], -kernel[..., 12:])
    norms = np.linalg.norm(kernel[..., :12].reshape(12, 12), axis=0)
    assert (np.diff(norms) > 0).all()  # eigenvalues fall, filters grow
    patches = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (1, 2))
    patches = np.moveaxis(patches, 3, -1).reshape(-1, 12)
    values = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    np.testing.assert_allclose(norms, 1 / np.sqrt(values + 5e-4), rtol=1e-4)


def test_eps_bounds_what_noise_is_amplified_by():
    constant = jnp.ones((4, 5, 5, 3)) * jnp.array([1.0, -1.0, 2.0]).reshape(1, 1, 1, 3)
    kernel = patch_whitening(constant, eps=1e-2)
    norms = jnp.linalg.norm(kernel.reshape(12, 24), axis=0)
    assert np.isfinite(kernel).all()
    assert norms.max() <= 10.001


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x = jnp.asarray(images(), dtype)
    kernel = patch_whitening(x)
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, patch_whitening(x.astype(jnp.float32)))


def test_jit_agrees_up_to_the_signs():
    x = jnp.asarray(images(), jnp.float32)

    def inverse(whiten):
        filters = whiten(x)[..., :12].reshape(12, 12)
        return filters @ filters.T

    eager = inverse(lambda x: patch_whitening(x, eps=0.1))
    jitted = inverse(jax.jit(lambda x: patch_whitening(x, eps=0.1)))
    np.testing.assert_allclose(jitted, eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (jnp.zeros((4, 5, 5)), {}, r"images must be \[batch, .*got shape \[4, 5, 5\]"),
        (jnp.zeros((4, 5, 5, 3), jnp.uint8), {}, "images must be floating, .*got uint8"),
        (jnp.zeros((4, 2, 5, 3)), {"kernel_size": 3}, "got 3 for 2x5 pixels"),
        (jnp.zeros((4, 5, 5, 3)), {"kernel_size": 0}, "kernel_size must be at least 1"),
        (jnp.zeros((4, 5, 5, 3)), {"eps": 0.0}, "eps must be positive, got 0.0"),
    ],
)
def test_bad_input_raises_when_traced(x, options, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda x: unchecked(x, **options), x)


def test_images_of_one_patch_are_the_smallest():
    x = images(size=2, channels=1)
    kernel = patch_whitening(jnp.asarray(x, jnp.float32), eps=1e-9)
    y = x.reshape(-1, 4) @ np.asarray(kernel, np.float64).reshape(4, 8)
    np.testing.assert_allclose((y.T @ y / len(y))[:4, :4], np.eye(4), atol=1e-3)

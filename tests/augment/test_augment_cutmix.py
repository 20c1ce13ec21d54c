import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from optix_tricks.augment import cutmix
from optix_tricks.losses import cross_entropy

KEY = jax.random.key(3)
LABELS = jnp.arange(16) % 5

# Most of the time here goes to the compiler.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
mix = quick_jit(cutmix)


def images_of(dtype, shape=(16, 7, 9, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape), dtype)


def drawn(key, shape, alpha=1.0):
    """The uncorrected λ, the centres and the partners."""
    for_lam, for_centre, for_order = jax.random.split(key, 3)
    lam = jax.random.beta(for_lam, alpha, alpha, shape[:1])
    limits = jnp.array([shape[1:3]])
    centres = jax.random.randint(for_centre, (shape[0], 2), 0, limits)
    order = jax.random.permutation(for_order, shape[0])
    return np.float64(lam), np.asarray(centres), np.asarray(order)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_matches_a_loop(dtype):
    images = images_of(dtype)
    _, height, width, _ = images.shape
    x, y_a, y_b, lam = mix(KEY, images, LABELS)
    assert x.dtype == dtype
    assert lam.dtype == jnp.float32
    drawn_lam, centres, order = drawn(KEY, images.shape)
    np.testing.assert_array_equal(y_a, LABELS)
    np.testing.assert_array_equal(y_b, LABELS[order])
    expected = np.array(images)
    for i in range(16):
        cut = np.sqrt(1 - drawn_lam[i])
        h, w = int(height * cut), int(width * cut)
        top, left = centres[i] - np.array([h, w]) // 2
        box = np.s_[max(top, 0) : max(top + h, 0), max(left, 0) : max(left + w, 0)]
        expected[i][box] = np.asarray(images)[order[i]][box]
        pasted = np.zeros((height, width))
        pasted[box] = 1
        assert abs(lam[i] - (1 - pasted.mean())) < 1e-6
    np.testing.assert_array_equal(x, expected)


def test_lam_counts_the_pixels():
    """One class is black and one white: the mean of an image is its share of white."""
    white = jnp.arange(64) % 2
    images = jnp.broadcast_to(white[:, None, None, None], (64, 7, 9, 1)).astype(jnp.uint8)
    mixed = mix(KEY, images, white)
    brightness = np.asarray(mixed.images, np.float64).mean((1, 2, 3))
    np.testing.assert_allclose(mixed.dense(2)[:, 1], brightness, atol=1e-7)
    assert ((brightness > 0) & (brightness < 1)).sum() > 10


def test_boxes_are_clipped_at_the_border_and_lam_corrected():
    batch, side = 2000, 16
    images = jnp.zeros((batch, side, side, 1), jnp.uint8)
    corrected = np.asarray(mix(KEY, images, jnp.zeros(batch, int)).lam)
    lam, centres, _ = drawn(KEY, images.shape)
    sides = np.floor(side * np.sqrt(1 - lam)).astype(int)[:, None]
    low, high = centres - sides // 2, centres - sides // 2 + sides
    whole = ((low >= 0) & (high <= side)).all(1)
    unclipped = 1 - (sides[:, 0] / side) ** 2
    np.testing.assert_allclose(corrected[whole], unclipped[whole], atol=1e-6)
    assert (corrected[~whole] > unclipped[~whole]).all()
    assert 0.2 < whole.mean() < 0.8


def test_lam_and_centres_are_those_of_the_source():
    lam, centres, _ = drawn(KEY, (4000, 12, 16, 1), alpha=0.7)
    assert stats.kstest(lam, stats.beta(0.7, 0.7).cdf).pvalue > 0.001
    images = jnp.zeros((4000, 12, 16, 1), jnp.uint8)
    out = np.asarray(mix(KEY, images, jnp.zeros(4000, int), alpha=0.7).lam)
    np.testing.assert_array_less(lam - 1e-6, out)  # truncated sides, clipped boxes
    counts = stats.contingency.crosstab(*centres.T).count
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


def test_no_alpha_is_the_identity():
    images = images_of(jnp.float32)
    mixed = mix(KEY, images, LABELS, alpha=0)
    np.testing.assert_array_equal(mixed.images, images)
    np.testing.assert_array_equal(mixed.lam, 1)
    logits = jax.random.normal(KEY, (16, 5))
    loss = mixed.loss(cross_entropy, logits)
    np.testing.assert_array_equal(loss, cross_entropy(logits, LABELS))


def test_gradient_goes_to_the_image_that_each_pixel_is_of():
    images, weights = images_of(jnp.float32), jnp.arange(16.0)[:, None, None, None]
    order = drawn(KEY, images.shape)[2]
    pasted = np.asarray(mix(KEY, images, LABELS).images != images).any(-1, keepdims=True)
    pasted &= (order != np.arange(16))[:, None, None, None]
    total = jax.grad(lambda x: jnp.sum(weights * cutmix(KEY, x, LABELS).images))
    gradient = quick_jit(total)(images)
    expected = np.where(pasted, 0, np.broadcast_to(weights, images.shape))
    np.add.at(expected, order, np.where(pasted, weights, 0))
    np.testing.assert_array_equal(gradient, expected)


def test_one_image_is_its_own_partner():
    mixed = mix(KEY, images_of(jnp.uint8)[:1], LABELS[:1])
    np.testing.assert_array_equal(mixed.images, images_of(jnp.uint8)[:1])
    np.testing.assert_allclose(mixed.dense(5), [[1, 0, 0, 0, 0]], rtol=1e-6)


def test_bad_arguments_raise():
    images, unchecked = images_of(jnp.uint8), inspect.unwrap(cutmix)
    with pytest.raises(ValueError, match=r"alpha must be zero or positive, got -1"):
        cutmix(KEY, images, LABELS, alpha=-1)
    with pytest.raises(ValueError, match=r"labels .* \[16\] .*, got int32\[3\]"):
        unchecked(KEY, images, LABELS[:3])

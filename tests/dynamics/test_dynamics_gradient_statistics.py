"""Statistics of per-example gradients against loops, and on noise of known direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import gradient_noise_scale, gradient_statistics


def loss(params, x):
    """Gradients: w - x in the layer w, b - sum(x) in the layer b."""
    first = jnp.sum((params["w"][None] - x) ** 2, axis=-1)
    return jnp.mean(first + (params["b"] - jnp.sum(x, axis=-1)) ** 2) / 2


PARAMS = {"w": np.array([0.5, -0.4, 0.6], np.float32), "b": np.float32(1.3)}


def statistics_by_hand(g):
    """Of the gradients [n, dims] in float64, by loops over pairs."""
    n, mean = len(g), g.mean(axis=0)
    pairs = [(a, b) for i, a in enumerate(g) for b in g[:i]]
    signal = np.mean([a @ b for a, b in pairs])
    noise = np.mean([np.sum((a - b) ** 2) / 2 for a, b in pairs])
    along = np.array([a @ mean for a in g])
    inner_product = np.sum((along - along.mean()) ** 2) / (n - 1) / signal**2
    square = np.sum((g - mean) ** 2, axis=1)
    kurtosis = np.mean(square**2) / np.mean(square) ** 2
    return np.linalg.norm(mean), noise / signal, inner_product, kurtosis


def test_each_layer_and_the_whole_are_those_of_loops():
    x = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    whole, layers = gradient_statistics(loss, PARAMS, x)
    w = PARAMS["w"].astype(np.float64) - x
    b = float(PARAMS["b"]) - x.astype(np.float64).sum(axis=1, keepdims=True)
    assert list(layers) == ["b", "w"]
    rows = (whole, np.hstack([b, w])), (layers["b"], b), (layers["w"], w)
    for result, g in rows:
        measured = (
            result.gradient_norm,
            result.noise_scale.noise_scale,
            result.inner_product_test,
            result.kurtosis,
        )
        np.testing.assert_allclose(measured, statistics_by_hand(g), rtol=1e-4)
    alone = gradient_noise_scale(loss, PARAMS, x)
    for a, b in zip(whole.noise_scale, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def quadratic(w, x):
    return jnp.mean(jnp.sum((w[None] - x) ** 2, axis=-1)) / 2


@pytest.mark.parametrize("axis", [0, 1])
def test_noise_across_the_gradient_passes_the_inner_product_test(axis):
    noise = np.random.default_rng(1).normal(size=400).astype(np.float32)
    x = np.zeros((400, 2), np.float32)
    x[:, axis] = noise - noise.mean()
    whole, _ = gradient_statistics(quadratic, jnp.array([0.5, 0.0]), x)
    norm_test, inner_product = whole.noise_scale.noise_scale, whole.inner_product_test
    if axis == 0:  # along it
        np.testing.assert_allclose(inner_product, norm_test, rtol=0.05)
    else:
        assert inner_product < 1e-3 * norm_test
    assert 2.5 < whole.kurtosis < 3.5  # normal, in one direction


def test_micro_batches_are_given_for_single_examples():
    x = jax.random.normal(jax.random.key(0), (200, 240, 5))
    w = jnp.full(5, 0.8)

    def inner_product(micro):
        def one(x):
            found = gradient_statistics(quadratic, w, x, micro_batch_size=micro)
            return found[0].inner_product_test

        return np.asarray(jax.jit(jax.vmap(one))(x))

    single, micro = inner_product(1), inner_product(4)
    error = np.std(micro) / np.sqrt(200)
    assert abs(single.mean() - micro.mean()) < 4 * error
    np.testing.assert_allclose(single.mean(), 1 / (5 * 0.64), rtol=0.1)


def test_a_few_outliers_show_in_the_kurtosis():
    x = np.random.default_rng(2).normal(size=(300, 40)).astype(np.float32)
    measure = jax.jit(lambda x: gradient_statistics(quadratic, jnp.ones(40), x)[0])
    outliers = np.concatenate([10 * x[:3], x[3:]])
    assert abs(measure(x).kurtosis - (1 + 2 / 40)) < 0.03
    assert measure(outliers).kurtosis > 10


def test_a_gradient_below_its_noise_passes_no_test():
    x = np.array([[1.0], [-1.0], [1.0], [-1.0]], np.float32)
    whole, layers = gradient_statistics(
        lambda w, x: quadratic(w["w"], x), {"w": jnp.zeros(1)}, x
    )
    assert whole.inner_product_test == np.inf
    assert layers["w"].noise_scale.noise_scale == np.inf
    assert whole.gradient_norm == 0
    assert whole.kurtosis == 1


def test_16_bits_and_chunks_and_bad_sizes():
    x = np.random.default_rng(3).normal(size=(12, 3)).astype(np.float32)
    params = jax.tree.map(lambda w: jnp.asarray(w, jnp.bfloat16), PARAMS)
    whole, _ = gradient_statistics(loss, params, x)
    chunked, _ = gradient_statistics(loss, params, x, chunk_size=3)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(whole)[:5])
    np.testing.assert_allclose(chunked.kurtosis, whole.kurtosis, rtol=1e-5)
    with pytest.raises(ValueError, match="into at least 3 equal parts, got 6 for 12"):
        gradient_statistics(loss, params, x, micro_batch_size=6)

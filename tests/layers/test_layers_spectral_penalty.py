"""The spectral penalty: against NumPy's singular values, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.layers import spectral_penalty, spectral_vectors

KEY = jax.random.key(2)


def top(w):
    return np.linalg.svd(np.asarray(w, np.float64), compute_uv=False)[0]


def parameters(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return {
        "conv": {
            "kernel": jnp.asarray(rng.normal(size=(3, 3, 2, 4)), dtype),
            "bias": jnp.ones(4, dtype),
        },
        "head": {"kernel": jnp.asarray(rng.normal(size=(4, 3)), dtype)},
    }


def matrices(params):
    kernels = [params["conv"]["kernel"], params["head"]["kernel"]]
    return [np.asarray(k, np.float64).reshape(-1, k.shape[-1]) for k in kernels]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_penalty_is_half_the_sum_of_squares_and_its_gradient_is_sigma_u_v(dtype):
    params = parameters(dtype)
    vectors = spectral_vectors(KEY, params)
    assert vectors["conv"]["bias"] is None
    penalty = jax.jit(lambda *args: spectral_penalty(*args, n_steps=5))
    after = vectors
    for _ in range(12):
        value, after = penalty(params, after)
    assert value.dtype == jnp.float32
    want = 0.5 * sum(top(w) ** 2 for w in matrices(params))
    np.testing.assert_allclose(value, want, rtol=1e-5)
    grads = jax.grad(lambda params: penalty(params, after)[0])(params)
    np.testing.assert_array_equal(grads["conv"]["bias"], np.zeros(4))
    close = 1e-4 if dtype == jnp.float32 else 2 * float(jnp.finfo(dtype).eps)
    for w, grad in zip(matrices(params), matrices(grads), strict=True):
        u, s, vt = np.linalg.svd(w)
        np.testing.assert_allclose(grad, s[0] * np.outer(u[:, 0], vt[0]), atol=close * 3)


def test_one_step_of_iteration_a_step_is_enough():
    w = np.random.default_rng(0).normal(size=(4, 5)) * np.array([5.0, 2.0, 1.0, 1.0, 1.0])
    w = jnp.asarray(w, jnp.float32)
    vectors = spectral_vectors(KEY, w)
    step = jax.jit(jax.value_and_grad(spectral_penalty, has_aux=True))
    for _ in range(20):
        before = 0.5 * top(w) ** 2
        (value, vectors), gradient = step(w, vectors)
        w = w - 0.01 * gradient
    np.testing.assert_allclose(value, before, rtol=1e-4)
    np.testing.assert_allclose(0.5 * top(w) ** 2, 0.99**2 * before, rtol=1e-4)


def test_the_penalty_shrinks_the_longest_direction_alone():
    w = jnp.diag(jnp.array([3.0, 2.0, 1.0]))
    vectors = spectral_vectors(KEY, w)
    gradient, vectors = jax.grad(
        lambda w: spectral_penalty(w, vectors, n_steps=40), has_aux=True
    )(w)
    np.testing.assert_allclose(w - 0.1 * gradient, np.diag([2.7, 2.0, 1.0]), atol=1e-5)


def test_the_penalty_of_zeros_is_zero_and_so_is_its_gradient():
    params = {"kernel": jnp.zeros((4, 3))}
    vectors = spectral_vectors(KEY, params)
    (value, after), grads = jax.value_and_grad(spectral_penalty, has_aux=True)(
        params, vectors
    )
    assert value == 0
    np.testing.assert_array_equal(grads["kernel"], np.zeros((4, 3)))
    np.testing.assert_array_equal(after["kernel"], vectors["kernel"])
    assert spectral_penalty({"bias": jnp.ones(3)}, {"bias": None})[0] == 0


def test_vectors_are_of_length_one_and_their_own():
    vectors = spectral_vectors(KEY, {"a": jnp.ones((9, 2)), "b": jnp.ones((3, 3, 2))})
    for v in vectors.values():
        assert v.shape == (9,)
        assert np.linalg.norm(v) == pytest.approx(1, rel=1e-6)
    assert np.abs(vectors["a"] - vectors["b"]).max() > 0.1


def test_vectors_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"shape \[4\] for .*\[4, 3\], got \[3\]; make"):
        spectral_penalty(jnp.ones((4, 3)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"shape \[4\] .*got None"):
        spectral_penalty({"kernel": jnp.ones((4, 3))}, {"kernel": None})
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        spectral_penalty(jnp.ones((4, 3)), jnp.ones(4), n_steps=0)

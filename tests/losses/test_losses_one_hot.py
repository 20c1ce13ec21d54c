import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks.losses import one_hot

unchecked = inspect.unwrap(one_hot)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_matches_a_loop(shape):
    labels = np.random.default_rng(0).integers(0, 5, shape).astype(np.int32)
    expected = np.full((*shape, 5), -0.5, np.float32)
    for at in np.ndindex(shape):
        expected[(*at, labels[at])] = 2.0
    out = one_hot(jnp.asarray(labels), 5, on_value=2.0, off_value=-0.5)
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, expected)


def test_by_default_it_is_that_of_jax():
    labels = jnp.array([3, 0])
    np.testing.assert_array_equal(one_hot(labels, 4), jax.nn.one_hot(labels, 4))


def test_two_values_smooth_labels():
    labels, s = jnp.array([3, 0]), 0.2
    smooth = one_hot(labels, 4, on_value=1 - s + s / 4, off_value=s / 4)
    theirs = optax.smooth_labels(jax.nn.one_hot(labels, 4), s)
    np.testing.assert_allclose(smooth, theirs, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_values_are_rounded_once(dtype):
    out = one_hot(jnp.array([1]), 2, on_value=0.9, off_value=0.1, dtype=dtype)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, jnp.array([[0.1, 0.9]]).astype(dtype))


def test_values_may_be_traced_and_labels_mapped():
    labels = jnp.array([2, 0, 1])
    traced = jax.jit(lambda y, on: jax.vmap(lambda y: one_hot(y, 3, on_value=on))(y))
    np.testing.assert_array_equal(traced(labels, 0.5), one_hot(labels, 3, on_value=0.5))


def test_a_label_outside_is_an_error_if_known_and_nan_if_traced():
    labels = jnp.array([2, 4])
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got 4; replace"):
        one_hot(labels, 3)
    traced = jax.jit(one_hot, static_argnums=1)(labels, 3)
    np.testing.assert_array_equal(traced, [[0, 0, 1], [np.nan] * 3])


def test_bad_arguments_raise():
    labels = jnp.array([2, 0])
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        one_hot(labels, 0)
    with pytest.raises(ValueError, match="on_value must be a finite number, got nan"):
        one_hot(labels, 3, on_value=float("nan"))
    with pytest.raises(ValueError, match="off_value must be a finite number, got inf"):
        one_hot(labels, 3, off_value=float("inf"))
    with pytest.raises(ValueError, match="dtype must be floating, got int32"):
        one_hot(labels, 3, dtype=jnp.int32)
    with pytest.raises(ValueError, match=r"labels must be integers, got float32\[2\]"):
        unchecked(labels.astype(jnp.float32), 3)

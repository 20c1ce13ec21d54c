"""Distributions against SciPy's, and what JAX's are in 16 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from optix_tricks.initializers import (
    delta_orthogonal,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    random_uniform,
    truncated_normal,
    uniform,
    uniform_unit_scaling,
    variance_scaling,
)

SHAPE = (3, 3, 24, 48)  # HWIO: fan in 9 * 24, fan out 9 * 48
FAN_IN, FAN_OUT = 9 * 24, 9 * 48
CUT = stats.truncnorm.std(-2, 2)  # 0.8796


def uniform_of(variance):
    return stats.uniform(-np.sqrt(3 * variance), 2 * np.sqrt(3 * variance))


def cut_normal_of(variance):
    return stats.truncnorm(-2, 2, scale=np.sqrt(variance) / CUT)


AVERAGE = (FAN_IN + FAN_OUT) / 2
DISTRIBUTIONS = {
    "normal": (normal(0.02), stats.norm(scale=0.02)),
    "truncated normal": (truncated_normal(0.02), stats.truncnorm(-2, 2, scale=0.02)),
    "uniform": (uniform(0.1), stats.uniform(0, 0.1)),
    "random uniform": (random_uniform(-10, 10), stats.uniform(-10, 20)),
    "unit scaling": (uniform_unit_scaling(1.43), uniform_of(1.43**2 / FAN_IN)),
    "glorot uniform": (glorot_uniform(), uniform_of(1 / AVERAGE)),
    "glorot normal": (glorot_normal(), cut_normal_of(1 / AVERAGE)),
    "he uniform": (he_uniform(), uniform_of(2 / FAN_IN)),
    "he normal": (he_normal(), cut_normal_of(2 / FAN_IN)),
    "lecun uniform": (lecun_uniform(), uniform_of(1 / FAN_IN)),
    "lecun normal": (lecun_normal(), cut_normal_of(1 / FAN_IN)),
    "fan out": (
        variance_scaling(3.0, "fan_out", "normal"),
        stats.norm(scale=np.sqrt(3 / FAN_OUT)),
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_values_come_from_the_distribution(name):
    init, expected = DISTRIBUTIONS[name]
    w = np.asarray(init(jax.random.key(0), SHAPE), np.float64).ravel()
    assert stats.kstest(w, expected.cdf).pvalue > 1e-3
    np.testing.assert_allclose(w.std(), expected.std(), rtol=0.02)
    low, high = expected.support()
    assert w.min() >= low - 1e-7
    assert w.max() <= high + 1e-7


def test_the_distribution_test_sees_a_wrong_scale():
    w = np.asarray(glorot_normal()(jax.random.key(0), SHAPE), np.float64).ravel()
    _, not_cut = normal(), stats.norm(scale=np.sqrt(1 / AVERAGE))
    assert stats.kstest(w, not_cut.cdf).pvalue < 1e-3
    not_widened = stats.truncnorm(-2, 2, scale=np.sqrt(1 / AVERAGE))
    assert stats.kstest(w, not_widened.cdf).pvalue < 1e-3


def test_truncated_normal_is_not_widened_and_variance_scaling_is():
    shape = (400, 400)
    cut = truncated_normal(1.0)(jax.random.key(0), shape)
    np.testing.assert_allclose(cut.std(), CUT, rtol=0.01)
    widened = variance_scaling(400.0, "fan_in", "truncated_normal")
    w = widened(jax.random.key(0), shape)
    np.testing.assert_allclose(w.std(), 1.0, rtol=0.01)
    np.testing.assert_allclose(w, cut / CUT, rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 3, 4, 16), (3, 3, 4, 64), (16, 16), (5, 40)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    w = np.asarray(orthogonal(2.0)(jax.random.key(0), shape), np.float64)
    matrix = w.reshape(-1, shape[-1]) / 2
    rows, columns = matrix.shape
    gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-5)


def test_delta_orthogonal_keeps_the_norm_of_images():
    kernel = delta_orthogonal()(jax.random.key(0), (3, 3, 4, 6))
    images = jax.random.normal(jax.random.key(1), (2, 5, 5, 4))
    y = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    norm = np.linalg.norm
    np.testing.assert_allclose(norm(y, axis=-1), norm(images, axis=-1), rtol=1e-5)


def test_jax_alone_draws_few_numbers_in_bfloat16_and_of_another_mean():
    """The reason to draw in float32: were this to change, ours could be JAX's."""
    shape, dtype = (600, 600), jnp.bfloat16
    theirs = jax.nn.initializers.normal(1.0)(jax.random.key(0), shape, dtype)
    ours = normal(1.0)(jax.random.key(0), shape, dtype)
    assert len(np.unique(theirs)) <= 128 < len(np.unique(ours))
    standard_error = 1 / 600
    assert np.asarray(theirs, np.float64).mean() < -4 * standard_error
    assert abs(np.asarray(ours, np.float64).mean()) < 3 * standard_error
    assert orthogonal()(jax.random.key(0), (4, 4), dtype).dtype == dtype
    with pytest.raises(NotImplementedError):
        jax.nn.initializers.orthogonal()(jax.random.key(0), (4, 4), dtype)


def test_float32_is_what_jax_draws():
    key = jax.random.key(0)
    for ours, theirs in (
        (kaiming_normal(), jax.nn.initializers.kaiming_normal()),
        (orthogonal(0.5), jax.nn.initializers.orthogonal(0.5)),
    ):
        np.testing.assert_array_equal(ours(key, (8, 6)), theirs(key, (8, 6)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: random_uniform(1.0, 1.0),
            "minval must be below maxval, got 1.0 and 1.0",
        ),
        (lambda: random_uniform(0.0, float("nan")), "maxval must be a finite number"),
        (lambda: uniform_unit_scaling(0.0), "factor must be positive, got 0.0"),
    ],
)
def test_bad_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Condition numbers: right where they are known, undecided where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import ConditionNumber, condition_number

KEY = jax.random.key(0)


def rotated(eigenvalues, dtype="float32"):
    n = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))
    A = basis * np.asarray(eigenvalues) @ basis.T
    return jnp.asarray((A + A.T) / 2, dtype)


def kappa_of(A, **arguments):
    return condition_number(lambda v: A @ v, A[0], key=KEY, **arguments)


def test_a_known_condition_number_lies_between_its_bounds():
    with jax.enable_x64(True):
        kappa = kappa_of(rotated(np.geomspace(1e-3, 10, 20), "float64"))
        assert kappa.verdict == "positive definite"
        assert kappa.value == pytest.approx(1e4, rel=1e-6)
        assert kappa.lower <= 1e4 <= kappa.upper
        assert kappa.upper - kappa.lower < 1e-3


def test_few_products_leave_a_crowded_small_end_undecided():
    """Wishart: the smallest of 40 Ritz values is 17 times the eigenvalue."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).standard_normal((200, 200))
        A = jnp.asarray(x @ x.T / 200)
        kappa = kappa_of(A)
        eigenvalues = np.linalg.eigvalsh(A)
        assert kappa.smallest > 2 * eigenvalues[0]
        assert kappa.verdict == "undecided"
        assert np.isnan(kappa.value)
        assert np.isinf(kappa.upper)
        assert 1 < kappa.lower < eigenvalues[-1] / eigenvalues[0]


@pytest.mark.parametrize(
    ("spectrum", "verdict"),
    [
        (np.linspace(-1, 1, 12), "not positive definite"),
        (-np.ones(12), "not positive definite"),
        (np.r_[0, np.ones(11)], "undecided"),
        (np.zeros(12), "undecided"),
        (np.r_[1e-7, np.ones(11)], "undecided"),  # below the rounding of float32
        (np.r_[1e-4, np.ones(11)], "positive definite"),
        (np.full(12, 3.0), "positive definite"),
    ],
)
def test_verdicts_in_float32(spectrum, verdict):
    kappa = kappa_of(rotated(spectrum))
    assert kappa.verdict == verdict
    if verdict == "not positive definite":
        assert np.isnan([kappa.value, kappa.lower, kappa.upper]).all()
    else:
        exact = spectrum.max() / spectrum.min() if spectrum.min() else np.inf
        assert 1 <= kappa.lower <= exact or not spectrum.any()
        assert exact <= kappa.upper
    assert abs(kappa.largest - spectrum.max()) <= kappa.largest_error
    assert abs(kappa.smallest - spectrum.min()) <= kappa.smallest_error


def test_it_vectorises_and_compiles():
    spectra = [np.linspace(1, 5, 6), np.linspace(-1, 5, 6)]
    A = jnp.stack([rotated(s) for s in spectra])
    kappa = jax.jit(jax.vmap(kappa_of))(A)
    np.testing.assert_allclose(kappa.value, [5, np.nan], rtol=1e-4)


@pytest.mark.parametrize(
    ("smallest", "verdict"),
    [
        (0.5, "undecided"),
        (0.51, "positive definite"),
        (-0.5, "undecided"),
        (-0.51, "not positive definite"),
    ],
)
def test_a_sign_is_certain_beyond_the_error(smallest, verdict):
    one = jnp.ones(())
    kappa = ConditionNumber(one, one, one, one, one, jnp.float32(smallest), one / 2)
    assert kappa.verdict == verdict

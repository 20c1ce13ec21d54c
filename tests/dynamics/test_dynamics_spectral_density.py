"""Densities of known spectra: mass, clusters, peaks, and the quadrature's moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import spectral_density

KEY = jax.random.key(0)


def rotated(eigenvalues, seed=0):
    n = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    A = basis * np.asarray(eigenvalues) @ basis.T
    return ((A + A.T) / 2).astype("float32")


def density_of(A, **arguments):
    A = jnp.asarray(A)
    return spectral_density(lambda v: A @ v, A[0], key=KEY, **arguments)


def mass(spectrum, low=-np.inf, high=np.inf):
    inside = (spectrum.grid > low) & (spectrum.grid < high)
    return np.trapezoid(np.where(inside, spectrum.density, 0), spectrum.grid)


CLUSTERS = np.concatenate(
    [
        np.random.default_rng(1).normal(-3, 0.05, 12),
        np.random.default_rng(2).normal(0, 0.05, 36),
        np.random.default_rng(3).normal(5, 0.05, 12),
    ]
)


def test_three_clusters_have_their_masses_and_places():
    spectrum = density_of(rotated(CLUSTERS), num_matvecs=40, num_probes=20)
    assert mass(spectrum) == pytest.approx(1, abs=1e-3)
    for low, high, centre, share in (
        (-6, -1.5, -3, 0.2),
        (-1.5, 2, 0, 0.6),
        (2, 9, 5, 0.2),
    ):
        assert mass(spectrum, low, high) == pytest.approx(share, abs=0.05)
        inside = (spectrum.grid > low) & (spectrum.grid < high)
        peak = spectrum.grid[np.argmax(np.where(inside, spectrum.density, 0))]
        assert peak == pytest.approx(centre, abs=0.1)
        below = np.sum(spectrum.weights * (spectrum.values < high)) / 20
        assert below == pytest.approx(np.mean(high > CLUSTERS), abs=0.05)


def test_the_error_covers_the_exact_broadened_density():
    """All products taken, so that only the choice of probes is left to chance."""
    A = rotated(CLUSTERS)
    spectrum = density_of(A, num_matvecs=60, num_probes=30, width=0.03)
    z = (np.asarray(spectrum.grid)[:, None] - CLUSTERS) / float(spectrum.width)
    exact = np.mean(np.exp(-(z**2) / 2), axis=1) / (spectrum.width * np.sqrt(2 * np.pi))
    off = np.abs(spectrum.density - exact)
    seen = exact > 0.01
    assert np.mean(off[seen] <= 2.5 * spectrum.standard_error[seen]) > 0.9
    assert (off <= 5 * spectrum.standard_error + 1e-3).all()
    assert spectrum.standard_error[seen].max() > 0.005


def test_nodes_and_weights_integrate_polynomials_exactly():
    """z'H^p z / n for p < 2 m, by the quadrature of each probe."""
    with jax.enable_x64(True):
        A = rotated(CLUSTERS).astype("float64") / 5
        spectrum = density_of(A, num_matvecs=4, num_probes=3)
        keys = jax.random.split(KEY, 3)
        for key, values, weights in zip(keys, *spectrum[-2:], strict=True):
            bits = jax.random.rademacher(
                jax.random.split(key)[0], (1, 60), dtype=A.dtype
            )[0]
            for power in range(8):
                exact = bits @ np.linalg.matrix_power(A, power) @ bits / 60
                quadrature = np.sum(weights * values**power)
                np.testing.assert_allclose(quadrature, exact, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_a_single_eigenvalue_is_one_peak(value):
    spectrum = density_of(value * np.eye(10, dtype="float32"), num_probes=2)
    assert mass(spectrum) == pytest.approx(1, abs=1e-3)
    assert spectrum.grid[np.argmax(spectrum.density)] == pytest.approx(value, abs=0.01)
    np.testing.assert_allclose(spectrum.weights.sum(axis=1), 1, atol=1e-5)


def test_jit_gives_the_same_and_dtypes_are_wide():
    A = rotated(np.linspace(-1, 1, 12))

    def found(A):
        return density_of(A, num_matvecs=6, num_probes=2, num_points=120)

    for x, y in zip(found(A), jax.jit(found)(A), strict=True):
        assert x.dtype == y.dtype == jnp.float32
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3)


def test_a_spectrum_of_zeros_is_as_wide_as_the_width():
    spectrum = density_of(np.zeros((6, 6), "float32"), num_probes=2, width=0.1)
    assert spectrum.grid[-1] == pytest.approx(0.5)  # five widths away
    assert spectrum.density.max() == pytest.approx(
        1 / (0.1 * np.sqrt(2 * np.pi)), rel=0.01
    )


def test_a_grid_may_be_just_finer_than_the_width():
    eye = np.eye(3, dtype="float32")
    density_of(eye, width=0.1, num_points=21)  # 1 / width + 2 x 5 + 1
    with pytest.raises(ValueError, match="num_points must be at least"):
        density_of(eye, width=0.1, num_points=20)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_points must be at least 1 / width \+ 11"):
        density_of(np.eye(3, dtype="float32"), width=0.001)
    with pytest.raises(ValueError, match="width must be positive"):
        density_of(np.eye(3, dtype="float32"), width=0.0)
    with pytest.raises(ValueError, match="num_probes must be at least 2"):
        density_of(np.eye(3, dtype="float32"), num_probes=1)

"""Fans, bounds and delta kernels against PyTorch's; its kernels are OIHW, ours HWIO."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.initializers import (
    dirac,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_uniform,
    patch_whitening,
    truncated_normal,
    variance_scaling,
)

torch = pytest.importorskip("torch")

SHAPES = [(3, 3, 16, 32), (1, 1, 64, 16), (5, 3, 8, 24), (48, 96)]


def to_torch_shape(shape):
    *spatial, inputs, outputs = shape
    return (outputs, inputs, *spatial)


def drawn_by_torch(fill, shape, **options):
    torch.manual_seed(0)
    return fill(torch.empty(to_torch_shape(shape)), **options).double().numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("init", "fill", "options"),
    [
        (glorot_uniform(), "xavier_uniform_", {}),
        (he_uniform(), "kaiming_uniform_", {"nonlinearity": "relu"}),
        (lecun_uniform(), "kaiming_uniform_", {"nonlinearity": "linear"}),
        (
            variance_scaling(2.0, "fan_out", "uniform"),
            "kaiming_uniform_",
            {"nonlinearity": "relu", "mode": "fan_out"},
        ),
    ],
)
def test_bounds_are_those_of_pytorch(shape, init, fill, options):
    ours = np.asarray(init(jax.random.key(0), shape), np.float64)
    theirs = drawn_by_torch(getattr(torch.nn.init, fill), shape, **options)
    np.testing.assert_allclose(abs(ours).max(), abs(theirs).max(), rtol=0.01)


def test_he_normal_has_the_variance_of_pytorch_but_is_cut():
    shape = (3, 3, 64, 64)
    ours = np.asarray(he_normal()(jax.random.key(0), shape), np.float64)
    fill = torch.nn.init.kaiming_normal_
    theirs = drawn_by_torch(fill, shape, nonlinearity="relu")
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.02)
    assert abs(theirs).max() > 3 * theirs.std()
    assert abs(ours).max() < 2.28 * ours.std()


def test_truncated_normal_is_that_of_pytorch():
    shape = (200, 200)
    ours = np.asarray(truncated_normal(0.5)(jax.random.key(0), shape), np.float64)
    theirs = drawn_by_torch(torch.nn.init.trunc_normal_, shape, std=0.5, a=-1.0, b=1.0)
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.01)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "shape", [(3, 3, 4, 8), (3, 3, 8, 4), (3, 5, 4), (1, 3, 5, 2, 4)]
)
def test_dirac_is_that_of_pytorch_for_odd_sizes(shape, groups):
    ours = np.asarray(dirac(groups=groups)(jax.random.key(0), shape))
    theirs = drawn_by_torch(torch.nn.init.dirac_, shape, groups=groups)
    np.testing.assert_array_equal(np.moveaxis(ours, (-1, -2), (0, 1)), theirs)


def test_whitening_is_airbench_up_to_the_sign_of_the_eigenvectors():
    images = np.random.default_rng(0).normal(size=(50, 6, 6, 3)).cumsum(1).astype("f4")
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    patches = x.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5)
    patches = patches.reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    theirs = (vectors / torch.sqrt(values + 5e-4)).flip(1).T.reshape(12, 3, 2, 2).numpy()
    ours = np.moveaxis(np.asarray(patch_whitening(jnp.asarray(images))), (3, 2), (0, 1))
    assert ours.shape == (24, 3, 2, 2)
    np.testing.assert_array_equal(ours[:12], -ours[12:])
    signs = np.sign((ours[:12] * theirs).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(ours[:12] * signs, theirs, rtol=1e-3, atol=1e-4)

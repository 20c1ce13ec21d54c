"""Blocks of the Hessian against slices of the dense one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.dynamics import block_curvature, hessian_operator

KEY = jax.random.key(0)
PARAMS = {
    "first": {"bias": jnp.ones(3), "kernel": jnp.linspace(-1, 1, 6).reshape(2, 3)},
    "second": jnp.array([0.5, -1.0, 2.0]),
    "scale": jnp.array(1.5),
}
X = np.random.default_rng(0).standard_normal((9, 2)).astype("float32")


def loss(p):
    hidden = jnp.tanh(X @ p["first"]["kernel"] + p["first"]["bias"].reshape(1, 3))
    return jnp.mean((p["scale"] * hidden @ p["second"] - 1) ** 2)


@pytest.fixture(scope="module")
def blocks():
    """Diagonal blocks of the dense Hessian, by the names at both depths."""
    H = jax.jit(jax.hessian(loss))(PARAMS)
    kernel = np.reshape(H["first"]["kernel"]["first"]["kernel"], (6, 6))
    bias = np.asarray(H["first"]["bias"]["first"]["bias"])
    cross = np.reshape(H["first"]["bias"]["first"]["kernel"], (3, 6))
    return {
        "first/bias": bias,
        "first/kernel": kernel,
        "first": np.block([[bias, cross], [cross.T, kernel]]),
        "second": np.asarray(H["second"]["second"]),
        "scale": np.reshape(H["scale"]["scale"], (1, 1)),
    }


@pytest.mark.parametrize("depth", [None, 1])
def test_each_block_is_the_slice_of_the_dense_hessian(blocks, depth):
    matvec = hessian_operator(loss, PARAMS)
    found = block_curvature(matvec, PARAMS, depth=depth, num_probes=100, key=KEY)
    first = ("first",) if depth else ("first/bias", "first/kernel")
    assert found.blocks == (*first, "scale", "second")
    for i, name in enumerate(found.blocks):
        values = np.linalg.eigvalsh(blocks[name])
        assert found.sizes[i] == len(values)
        condition = jax.tree.map(lambda x, i=i: x[i], found.condition)
        assert condition.largest == pytest.approx(values[-1], abs=1e-5)
        assert condition.smallest == pytest.approx(values[0], abs=1e-5)
        trace, error = found.trace.value[i], found.trace.standard_error[i]
        assert abs(trace - values.sum()) <= 4 * error + 1e-5


def test_the_whole_is_one_block_of_one_name():
    found = block_curvature(
        lambda v: jax.tree.map(lambda x: 2 * x, v), [jnp.ones(4)], key=KEY
    )
    assert (found.blocks, found.sizes) == (("0",), (4,))
    np.testing.assert_allclose(found.condition.value, [1], rtol=1e-5)
    np.testing.assert_allclose(found.trace.value, [8])


def test_blocks_of_16_bit_parameters_are_measured_in_float32():
    narrow = jax.tree.map(lambda x: x.astype("bfloat16"), PARAMS)
    matvec = hessian_operator(loss, narrow)
    found = block_curvature(matvec, narrow, depth=1, num_probes=100, key=KEY)[2:]
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    assert np.isfinite(found[0].largest).all()


def test_depth_is_at_least_one():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        block_curvature(lambda v: v, PARAMS, depth=0, key=KEY)

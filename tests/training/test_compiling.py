"""Compiler options: taken where they are known, left out where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from optix_tricks.training import _compiling as compiling


@pytest.fixture(autouse=True)
def _forget():
    compiling.compiler_options.cache_clear()
    yield
    compiling.compiler_options.cache_clear()


def test_an_option_that_this_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compiling, "CPU_OPTIONS", {"xla_cpu_of_another_century": 1})
    assert compiling.compiler_options() == {}
    assert compiling.jit(lambda x: x + 1)(1) == 2


def test_another_device_gets_none(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiling.compiler_options() == {}


def test_convolutions_are_the_same_numbers():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 9, 9, 3)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(3, 3, 3, 8)), jnp.float32)

    def loss(x, w):
        y = lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(jnp.tanh(y))

    gradient = jax.grad(loss, argnums=(0, 1))
    assert compiling.compiler_options() in ({}, compiling.CPU_OPTIONS)
    for ours, plain in zip(
        compiling.jit(gradient)(x, w), jax.jit(gradient)(x, w), strict=True
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)

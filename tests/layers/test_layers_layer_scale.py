"""LayerScale, by optimiser steps of a residual block against their formula."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.layers import LayerScale
from optix_tricks.training import functional

RNG = np.random.default_rng(0)
X, TARGET = jnp.asarray(RNG.normal(size=(2, 7, 4)), jnp.float32)


class Block(nnx.Module):
    """x + gamma (x W), one residual block."""

    def __init__(self, init_value=0.1):
        self.linear = nnx.Linear(4, 4, use_bias=False, rngs=nnx.Rngs(0))
        self.layer_scale = LayerScale(4, init_value)

    def __call__(self, x, *, train):
        return x + self.layer_scale(self.linear(x))


def loss_of(apply):
    return lambda params: (
        0.5 * jnp.sum((apply(params, {}, X, train=True)[0] - TARGET) ** 2)
    )


def test_two_steps_of_momentum_are_those_of_the_formula():
    """Of the kernel and of gamma, in NumPy and float64."""
    apply, params, _ = functional(Block())
    rate, m = 0.01, 0.9
    w, x, target = (
        np.asarray(a, np.float64) for a in (params["linear"]["kernel"], X, TARGET)
    )
    gamma = np.full(4, 0.1)
    v_w, v_gamma = 0.0, 0.0
    tx = ot.sgd(rate, momentum=m)
    state, step = tx.init(params), jax.jit(jax.grad(loss_of(apply)))
    for _ in range(2):
        updates, state = tx.update(step(params), state, params)
        params = optax.apply_updates(params, updates)
        error = x + gamma * (x @ w) - target
        v_w = m * v_w + x.T @ (error * gamma)
        v_gamma = m * v_gamma + (error * (x @ w)).sum(0)
        w, gamma = w - rate * v_w, gamma - rate * v_gamma
    np.testing.assert_allclose(params["linear"]["kernel"], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(params["layer_scale"]["gamma"], gamma, rtol=1e-5)
    assert np.abs(gamma - 0.1).min() > 1e-3


def test_weight_decay_masks_leave_gamma_alone():
    _, params, _ = functional(Block())
    assert ot.no_bias_or_norm(params) == {
        "layer_scale": {"gamma": False},
        "linear": {"kernel": True},
    }
    zero = jax.tree.map(jnp.zeros_like, params)
    tx = ot.adamw(0.1, weight_decay=0.5, mask=ot.no_bias_or_norm)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_array_equal(updates["layer_scale"]["gamma"], 0)
    np.testing.assert_allclose(
        updates["linear"]["kernel"], -0.05 * params["linear"]["kernel"], rtol=1e-6
    )


@pytest.mark.parametrize("init_value", [0, 1e-5, 1])
def test_the_block_starts_near_the_identity(init_value):
    """As near as the factor says; gamma is trained from there, zero included."""
    apply, params, _ = functional(Block(init_value))
    branch = np.asarray(X) @ np.asarray(params["linear"]["kernel"])
    y, _ = apply(params, {}, X, train=False)
    np.testing.assert_allclose(y - X, init_value * branch, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(loss_of(apply))(params)["layer_scale"]["gamma"]
    assert np.abs(gradient).min() > 1e-3


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_factor_is_not_rounded_and_the_product_is_rounded_once(dtype):
    layer = LayerScale(4, 0.1)
    x = jnp.asarray(X, dtype)
    y = layer(x)
    assert y.dtype == dtype
    wide = np.float32(0.1) * np.asarray(x, np.float32)
    np.testing.assert_array_equal(y, jnp.asarray(wide, dtype))
    twice = jnp.full_like(x, 0.1) * x
    assert (y != twice).any()


def test_bad_input_is_named():
    build, call = (inspect.unwrap(f) for f in (LayerScale.__init__, LayerScale.__call__))
    with pytest.raises(ValueError, match="num_features must be at least 1, got 0"):
        build(object(), 0)
    with pytest.raises(ValueError, match="init_value must be a finite number, got nan"):
        build(object(), 4, float("nan"))
    layer = LayerScale(4)
    with pytest.raises(ValueError, match=r"x must have num_features=4 .* shape \[7, 1\]"):
        call(layer, jnp.ones((7, 1)))
    with pytest.raises(ValueError, match=r"x must be floating, got int32"):
        call(layer, jnp.ones((7, 4), jnp.int32))

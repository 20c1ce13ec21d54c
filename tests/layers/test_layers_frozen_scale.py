"""A scale that no optimiser sees; the arithmetic is tested with that of BatchNorm."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.layers import BatchNorm, FrozenScaleBatchNorm
from optix_tricks.training import functional


class Net(nnx.Module):
    def __init__(self):
        self.norm = FrozenScaleBatchNorm(3, scale=0.25, rngs=nnx.Rngs(0))

    def __call__(self, x, *, train):
        return self.norm(x, use_running_average=not train)


X = jnp.asarray(np.random.default_rng(0).normal(1, 2, (8, 3)), jnp.float32)


def test_the_scale_is_in_no_tree_and_no_weight_decay_changes_it():
    apply, params, stats = functional(Net())
    assert params.keys() == {"norm"}
    assert params["norm"].keys() == {"bias"}
    assert stats["norm"].keys() == {"mean", "var"}
    tx = optax.adamw(0.1, weight_decay=0.5)
    state = tx.init(params)
    for _ in range(3):
        grads = jax.grad(
            lambda params: jnp.sum(apply(params, stats, X, train=True)[0] ** 3)
        )(params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    y, _ = apply(params, stats, X, train=True)
    assert np.std(y, axis=0) == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("train", [True, False])
def test_is_batch_norm_with_that_scale_held(train):
    frozen = FrozenScaleBatchNorm(3, scale=-1.7, rngs=nnx.Rngs(0))
    plain = BatchNorm(3, scale_init=nnx.initializers.constant(-1.7), rngs=nnx.Rngs(0))
    mode = {"use_running_average": not train}
    np.testing.assert_allclose(frozen(X, **mode), plain(X, **mode), rtol=1e-6)
    one = FrozenScaleBatchNorm(3, rngs=nnx.Rngs(0))
    none = nnx.BatchNorm(3, use_scale=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(one(X, **mode), none(X, **mode), rtol=1e-5, atol=1e-6)


def test_a_new_layer_with_the_saved_variables_is_the_same_layer(tmp_path):
    """What is built by the same code needs no scale from the file."""
    old = FrozenScaleBatchNorm(3, scale=0.25, rngs=nnx.Rngs(0))
    old(X)
    old.bias[...] = jnp.arange(3.0)
    saved = {k: np.asarray(v) for k, v in nnx.to_pure_dict(nnx.state(old)).items()}
    np.savez(tmp_path / "norm.npz", **saved)
    new = FrozenScaleBatchNorm(3, scale=0.25, rngs=nnx.Rngs(1))
    with np.load(tmp_path / "norm.npz") as file:
        nnx.update(new, {k: jnp.asarray(file[k]) for k in file})
    np.testing.assert_array_equal(
        new(X, use_running_average=True), old(X, use_running_average=True)
    )
    copied = nnx.merge(*nnx.split(old))
    np.testing.assert_array_equal(copied(X), old(X))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "1", None])
def test_bad_input_is_named(scale):
    build = inspect.unwrap(FrozenScaleBatchNorm.__init__)
    with pytest.raises(ValueError, match="scale must be a"):
        build(object(), 3, scale=scale, rngs=nnx.Rngs(0))

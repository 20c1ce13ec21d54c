"""Training and evaluation: every layer follows, however the model is written."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.layers import BatchNorm, DropConnect, SpectralNorm
from optix_tricks.training import LayerOutput, functional

X = np.random.default_rng(0).normal(1, 2, (64, 2)).astype(np.float32)
MEAN, VAR = np.array([3.0, -1.0]), np.array([4.0, 0.25])


class Handing(nnx.Module):
    """Says at each layer's call whether it trains."""

    def __init__(self, norm):
        self.norm = norm(2, momentum=0.5, rngs=nnx.Rngs(0))
        self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(1))
        self.norm.mean[...], self.norm.var[...] = jnp.asarray(MEAN), jnp.asarray(VAR)

    def __call__(self, x, *, train):
        y = self.norm(x, use_running_average=not train)
        return self.drop(y, deterministic=not train)


class Forgetful(Handing):
    """Takes `train` and does nothing with it."""

    def __call__(self, x, *, train):
        return self.drop(self.norm(x))


class Plain(Handing):
    """Takes no `train`."""

    def __call__(self, x):
        return self.drop(self.norm(x))


class Told(Plain):
    """Layers that want to be told at the call or by the mode."""

    def __init__(self, norm):
        super().__init__(norm)
        self.norm.use_running_average = self.drop.deterministic = None


class Evaluating(Plain):
    """Handed over in evaluation mode."""

    def __init__(self, norm):
        super().__init__(norm)
        self.eval()


class Rematerialised(nnx.Module):
    """Whose block is a transformed call, which writes everything back."""

    def __init__(self, norm):
        self.block = Plain(norm)

    def __call__(self, x):
        return nnx.remat(Plain.__call__)(self.block, x)


class Compiled(Rematerialised):
    """Likewise."""

    def __call__(self, x):
        return nnx.jit(Plain.__call__)(self.block, x)


class Keywords(nnx.Module):
    """Hands on whatever it gets."""

    def __init__(self, norm):
        self.inner = Handing(norm)

    def __call__(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def sequential(norm):
    layers = Plain(norm)
    return nnx.Sequential(layers.norm, nnx.relu, layers.drop, lambda x: x)


def nested(norm):
    return nnx.Sequential(Handing(norm), lambda x: x)


def layer_output(norm):
    return LayerOutput(nnx.Sequential(Plain(norm), nnx.relu), "layers.0")


MODELS = [Handing, Forgetful, Plain, Told, Evaluating, Rematerialised, Compiled]
MODELS += [Keywords, sequential, nested, layer_output]


@pytest.mark.parametrize("norm", [nnx.BatchNorm, BatchNorm])
def test_all_models_train_and_evaluate_alike(norm):
    """Evaluation is the formula of the running statistics; training that of the batch."""
    nets = {model.__name__: functional(model(norm)) for model in MODELS}

    @functools.partial(jax.jit, static_argnames="train")
    def everywhere(trees, *, train):
        key = jax.random.key(0)
        return {
            name: apply(*trees[name], jnp.asarray(X), train=train, key=key)
            for name, (apply, *_) in nets.items()
        }

    trees = {name: trees for name, (_, *trees) in nets.items()}
    evaluated, trained = (everywhere(trees, train=train) for train in (False, True))
    exact = (X - MEAN) / np.sqrt(VAR + 1e-5)
    of_batch = (X - X.mean(0, keepdims=True)) / np.sqrt(X.var(0, keepdims=True) + 1e-5)
    for name in nets:
        cut = name == "sequential"  # its ReLU
        y, stats = evaluated[name]
        want = np.maximum(exact, 0) if cut else exact
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5, err_msg=name)
        given = jax.tree.leaves(nets[name][2])
        for kept, x in zip(jax.tree.leaves(stats), given, strict=True):
            np.testing.assert_array_equal(kept, x, err_msg=name)
        y, stats = trained[name]
        want = np.maximum(of_batch, 0) if cut else of_batch
        left = np.asarray(y) != 0
        assert 0.3 < left.mean() / (want != 0).mean() < 0.7, name
        np.testing.assert_allclose(
            np.asarray(y)[left], 2 * want[left], rtol=1e-4, atol=1e-4, err_msg=name
        )
        mean, var = jax.tree.leaves(stats)
        np.testing.assert_allclose(mean, (MEAN + X.mean(0)) / 2, rtol=1e-5)
        np.testing.assert_allclose(var, (VAR + X.var(0)) / 2, rtol=1e-4)


def test_the_model_itself_keeps_its_modes_and_statistics():
    model = Plain(nnx.BatchNorm)
    functional(model)
    assert not model.norm.use_running_average
    assert not model.drop.deterministic
    model(jnp.asarray(X))
    np.testing.assert_allclose(model.norm.mean[...], (MEAN + X.mean(0)) / 2, rtol=1e-5)


def test_layers_with_modes_of_their_own_follow():
    """A spectral norm that iterates in training, weights that drop out."""
    rngs = nnx.Rngs(0)
    spectral = SpectralNorm(nnx.Linear(2, 3, rngs=rngs), n_steps=1, rngs=rngs)
    model = nnx.Sequential(
        spectral, DropConnect(nnx.Linear(3, 2, rngs=rngs), 0.5, rngs=rngs)
    )
    model.layers[0].v[...] = jnp.array([0.6, 0.8])

    class Net(nnx.Module):
        def __init__(self):
            self.model = model

        def __call__(self, x):
            return self.model(x)

    apply, params, stats = functional(Net())
    key, compiled = jax.random.key(0), jax.jit(apply, static_argnames="train")
    still, held = compiled(params, stats, jnp.asarray(X), train=False, key=key)
    np.testing.assert_array_equal(
        still, compiled(params, stats, jnp.asarray(X), train=False)[0]
    )
    moving, moved = compiled(params, stats, jnp.asarray(X), train=True, key=key)
    for x, a, b in zip(*map(jax.tree.leaves, (stats, held, moved)), strict=True):
        np.testing.assert_array_equal(a, x)
        assert (np.asarray(b) != np.asarray(x)).any()
    assert not np.allclose(moving, still)


class Stubborn(nnx.Module):
    """Trains whatever it is told."""

    def __init__(self, norm):
        self.norm = norm(2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(x, use_running_average=False)


class StubbornWithin(nnx.Module):
    """The same in a transformed call."""

    def __init__(self, norm):
        self.block = Stubborn(norm)

    def __call__(self, x):
        return nnx.remat(Stubborn.__call__)(self.block, x)


@pytest.mark.parametrize("norm", [nnx.BatchNorm, BatchNorm])
def test_statistics_that_move_in_evaluation_are_refused_by_name(norm):
    for model, name in ((Stubborn, "norm/mean"), (StubbornWithin, "block/norm/mean")):
        apply, params, stats = functional(model(norm))
        match = f"train=False, but '{name}' gets a new value"
        with pytest.raises(ValueError, match=match):
            apply(params, stats, jnp.asarray(X), train=False)
        assert apply(params, stats, jnp.asarray(X), train=True)[0].shape == (64, 2)


def test_a_call_that_wants_more_than_images_is_named():
    class Training(nnx.Module):
        def __call__(self, x, training):
            return x

    class Silent(nnx.Module):
        pass

    for model, fault in (
        (Training, "argument: 'training'"),
        (Silent, "it has no __call__"),
    ):
        match = rf"model must be called as .* got {model.__name__}: .*{fault}"
        with pytest.raises(ValueError, match=match):
            functional(model())

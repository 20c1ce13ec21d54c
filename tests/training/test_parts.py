"""Any norm and any convolution in any network, by one contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks import layers
from optix_tricks.layers import layer_outputs
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Airbench,
    Batch,
    ConvNorm,
    create_state,
    functional,
    make_train_step,
)
from optix_tricks.training import _parts as parts
from optix_tricks.training import _resnet as resnet

OF_BATCHES = [
    nnx.BatchNorm,
    layers.BatchNorm,
    layers.BatchRenorm,
    layers.FrozenScaleBatchNorm,
    functools.partial(layers.GhostBatchNorm, ghost_size=2),
]
OF_EXAMPLES = [
    nnx.LayerNorm,
    nnx.RMSNorm,
    nnx.InstanceNorm,
    functools.partial(nnx.GroupNorm, num_groups=2),
    layers.LayerNorm,
    layers.RMSNorm,
    layers.InstanceNorm,
    functools.partial(layers.GroupNorm, num_groups=2),
]
TINY = {"stages": (1, 1), "width": 4, "stem": "cifar", "num_classes": 3}
NETWORKS = {
    "basic": functools.partial(resnet.ResNet, **TINY, block=resnet.BasicBlock),
    "bottleneck": functools.partial(resnet.ResNet, **TINY, block=resnet.BottleneckBlock),
    "resnet9": functools.partial(resnet.ResNet9, 3, width=4),
    "airbench": functools.partial(Airbench, 3, widths=(4, 4, 4), convs=3),
}


def public_norms(room):
    return {
        kind
        for name, kind in vars(room).items()
        if name.endswith("Norm") and name not in ("WeightNorm", "SpectralNorm")
    }


def test_the_lists_are_whole():
    listed = {getattr(norm, "func", norm) for norm in (*OF_BATCHES, *OF_EXAMPLES)}
    ours = public_norms(layers) | {layers.BatchRenorm}
    assert listed == ours | public_norms(nnx)


def make(norm, **options):
    options = {"conv": nnx.Conv, "dtype": jnp.bfloat16, "axis_name": None} | options
    return ConvNorm(4, 6, 3, norm=norm, rngs=nnx.Rngs(0), **options)


class Noted:
    """An initialiser that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, key, shape, dtype=jnp.float32, **options):
        self.calls += 1
        return jnp.zeros(shape, dtype)


def test_any_norm_is_made_and_called_by_its_kind():
    x = jnp.ones((4, 3, 3, 4))
    of_norm = {"only": lambda path, _: path == "norm"}
    for norm in (*OF_BATCHES, *OF_EXAMPLES):
        kept, scale = {}, Noted()

        def run(norm=norm, kept=kept, scale=scale):
            kept["given"] = make(norm, axis_name="data", scale_init=scale).norm
            layer = make(norm)
            for train in (True, False):
                assert layer(x, train=train).shape == (4, 3, 3, 6)
            _, seen = layer_outputs(layer, x, train=True, **of_norm)
            return seen, nnx.state(layer, nnx.BatchStat)

        seen, statistics = jax.eval_shape(run)
        given = kept["given"]
        assert list(seen) == ["norm"]
        assert given.dtype == jnp.bfloat16
        assert scale.calls == (norm is not layers.FrozenScaleBatchNorm)
        assert bool(jax.tree.leaves(statistics)) == (norm in OF_BATCHES)
        if norm in OF_BATCHES:
            numbers = given.momentum, given.epsilon, given.axis_name
            assert numbers == (0.9, 1e-5, "data")
        else:
            assert given.epsilon == 1e-6  # its own
            assert getattr(given, "axis_name", None) is None  # of other examples


def test_a_network_takes_norms_of_examples():
    for network in NETWORKS.values():

        def run(network=network):
            model = network(norm=layers.RMSNorm, rngs=nnx.Rngs(0))
            y = model(jnp.ones((4, 16, 16, 3)), train=True)
            return y, nnx.state(model, nnx.BatchStat)

        y, statistics = jax.eval_shape(run)
        assert y.shape == (4, 3)
        assert not jax.tree.leaves(statistics)


def test_an_example_norm_normalises_each_example():
    images = jnp.asarray(np.random.default_rng(0).normal(3, 2, (2, 5, 5, 4)), jnp.float32)
    layer = make(functools.partial(layers.GroupNorm, num_groups=2), dtype=jnp.float32)
    y = np.asarray(layer.conv(images), np.float64).reshape(2, 25, 2, 3)
    mean, var = y.mean((1, 3), keepdims=True), y.var((1, 3), keepdims=True)
    expected = ((y - mean) / np.sqrt(var + 1e-6)).reshape(2, 5, 5, 6)
    for train in (True, False):
        np.testing.assert_allclose(layer(images, train=train), expected, atol=1e-4)


def test_what_the_caller_has_set_goes_before_the_networks_choice():
    numbers = {"momentum": 0.5, "epsilon": 0.1, "use_bias": False}
    for name, network in NETWORKS.items():
        made, kernel, scale = [], Noted(), Noted()

        def run(network=network, made=made, kernel=kernel, scale=scale):
            conv = functools.partial(nnx.Conv, kernel_init=kernel, use_bias=True)
            norm = functools.partial(layers.BatchNorm, scale_init=scale, **numbers)
            model = network(conv=conv, norm=norm, rngs=nnx.Rngs(0))
            made += [m for _, m in nnx.iter_modules(model)]

        jax.eval_shape(run)
        convs = [m for m in made if isinstance(m, nnx.Conv)]
        convs = [m for m in convs if m.kernel_size != (2, 2)]  # of patches: no part
        norms = [m for m in made if isinstance(m, nnx.BatchNorm)]
        assert len(convs) == len(norms) == kernel.calls == scale.calls > 4, name
        assert all(layer.use_bias for layer in convs)
        for layer in norms:  # the last ones of a branch too
            assert (layer.momentum, layer.epsilon, layer.use_bias) == (0.5, 0.1, False)


def test_functions_take_what_they_name():
    def of_examples(num_features, *, scale_init, dtype, rngs):
        options = {"scale_init": scale_init, "dtype": dtype, "rngs": rngs}
        return nnx.LayerNorm(num_features, **options)

    assert isinstance(make(of_examples).norm, nnx.LayerNorm)
    assert make(lambda n, **options: nnx.BatchNorm(n, **options)).norm.momentum == 0.9
    x = jnp.ones((2, 3, 3, 4))
    layer = make(lambda n, **options: lambda x: x)  # no norm at all
    np.testing.assert_array_equal(layer(x, train=True), layer.conv(x))


def test_a_layer_in_place_of_its_class_is_refused():
    message = "norm must make layers, as a class .* got LayerNorm, which is none"
    with pytest.raises(TypeError, match=message):
        parts.make_part("norm", nnx.LayerNorm(6, rngs=nnx.Rngs(0)), 6)


def test_a_network_without_statistics_trains():
    network = functools.partial(NETWORKS["basic"], stages=(1,))
    model = network(norm=layers.LayerNorm, rngs=nnx.Rngs(0))
    apply, params, statistics = functional(model)
    tx = optax.sgd(0.1)
    state = create_state(params, statistics, tx, jax.random.key(0))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    batch = Batch(jnp.asarray(images), jnp.array([0, 1, 2, 0]))
    losses = []
    for _ in range(3):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[0] > losses[-1]
    assert not jax.tree.leaves(state.batch_stats)

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.layers import WeightNorm, WSConv, layer_outputs
from optix_tricks.training import functional

unchecked = inspect.unwrap(WeightNorm.__init__)


def linear(seed=0, **options):
    return nnx.Linear(4, 3, rngs=nnx.Rngs(seed), **options)


def example(seed=0):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    return jnp.asarray(x, jnp.float32), jnp.asarray(target, jnp.float32)


def loss(model, x, target):
    return 0.5 * jnp.sum((model(x) - target) ** 2)


LAYERS = {
    "linear": (linear, -1, (3,)),
    "bfloat16": (lambda: linear(param_dtype=jnp.bfloat16), -1, (3,)),
    "whole": (linear, None, ()),
    "of the inputs": (linear, 0, (4,)),
    "conv": (lambda: nnx.Conv(4, 3, (3,), rngs=nnx.Rngs(0)), -1, (3,)),
    "grouped": (
        lambda: nnx.Conv(4, 2, (3,), feature_group_count=2, rngs=nnx.Rngs(0)),
        (-1,),
        (2,),
    ),
    "transposed": (
        lambda: nnx.ConvTranspose(4, 3, (3,), transpose_kernel=True, rngs=nnx.Rngs(0)),
        -2,
        (4,),
    ),
    "two features": (
        lambda: nnx.LinearGeneral(4, (2, 3), rngs=nnx.Rngs(0)),
        (2, 1),
        (2, 3),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_begins_as_the_layer(name):
    make, axes, shape = LAYERS[name]
    if name == "transposed":  # flax's kernel is then [..., out, in]

        def make():
            return nnx.ConvTranspose(3, 4, (3,), transpose_kernel=True, rngs=nnx.Rngs(0))

    layer = make()
    normed = WeightNorm(layer, feature_axes=axes, rngs=nnx.Rngs(0))
    assert normed.scale.shape == shape
    assert normed.scale.dtype == layer.kernel.dtype
    x = jnp.ones((2, 6, 3 if name == "transposed" else 4), layer.kernel.dtype)
    x = x * jnp.linspace(-1, 1, 6, dtype=x.dtype)[None, :, None]
    before = np.asarray(layer.kernel[...])
    np.testing.assert_allclose(normed(x), layer(x), rtol=2e-2, atol=2e-2)
    if layer.kernel.dtype == jnp.float32:
        np.testing.assert_allclose(normed(x), layer(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer.kernel[...], before)


def numpy_gradients(v, g, b, x, target):
    norm = np.sqrt((v**2).sum(0))
    w = g * v / norm
    residual = x @ w + b - target
    grad_w = x.T @ residual
    grad_g = (grad_w * v).sum(0) / norm
    grad_v = g / norm * (grad_w - grad_g * v / norm)
    return 0.5 * (residual**2).sum(), grad_v, grad_g, residual.sum(0)


def test_three_steps_of_sgd_with_momentum_are_those_of_the_formula():
    normed = WeightNorm(linear())
    normed.scale[...] = jnp.array([0.5, 1.0, 3.0])
    v, b = (np.asarray(x, np.float64) for x in (normed.layer.kernel, normed.layer.bias))
    g = np.asarray(normed.scale, np.float64)
    trace = [0, 0, 0]
    optimizer = nnx.Optimizer(normed, optax.sgd(0.01, momentum=0.9), wrt=nnx.Param)
    for seed in range(3):
        x, target = example(seed)
        value, grads = nnx.value_and_grad(loss)(normed, x, target)
        wide = [np.asarray(z, np.float64) for z in (x, target)]
        want, *gradients = numpy_gradients(v, g, b, *wide)
        np.testing.assert_allclose(value, want, rtol=1e-5)
        found = [grads.layer.kernel[...], grads.scale[...], grads.layer.bias[...]]
        for got, gradient in zip(found, gradients, strict=True):
            np.testing.assert_allclose(got, gradient, rtol=2e-5, atol=2e-5)
        trace = [
            0.9 * old + gradient for old, gradient in zip(trace, gradients, strict=True)
        ]
        v, g, b = (p - 0.01 * t for p, t in zip((v, g, b), trace, strict=True))
        optimizer.update(normed, grads)
        np.testing.assert_allclose(normed.layer.kernel[...], v, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(normed.scale[...], g, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(normed.layer.bias[...], b, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_v_only_turns(seed, factor):
    normed = WeightNorm(linear(seed))
    x, target = example(seed)
    y = normed(x)
    gradient = nnx.grad(loss)(normed, x, target).layer.kernel[...]
    along = jnp.sum(gradient * normed.layer.kernel[...], axis=0)
    np.testing.assert_allclose(along, np.zeros(3), atol=1e-4)
    normed.layer.kernel[...] *= factor
    np.testing.assert_allclose(normed(x), y, rtol=1e-4, atol=1e-5)


def test_a_unit_of_zeros_begins_as_zero_and_trains():
    normed = WeightNorm(linear(kernel_init=nnx.initializers.zeros))
    x, target = example()
    np.testing.assert_array_equal(normed(x), np.zeros((5, 3)))
    first = loss(normed, x, target)
    optimizer = nnx.Optimizer(normed, optax.sgd(0.02), wrt=nnx.Param)
    for _ in range(20):
        grads = nnx.grad(loss)(normed, x, target)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
        optimizer.update(normed, grads)
    assert (np.abs(normed.scale[...]) > 0.05).all()
    assert loss(normed, x, target) < 0.8 * first


def test_a_kernel_in_half_precision_is_normed_in_float32():
    layer = linear(param_dtype=jnp.float16)
    layer.kernel[...] = 300 * layer.kernel[...]  # the sum of squares overflows float16
    normed = WeightNorm(layer)
    wide = np.sqrt((np.asarray(layer.kernel, np.float64) ** 2).sum(0))
    np.testing.assert_allclose(normed.scale[...], wide, rtol=1e-3)
    y = normed(jnp.full((1, 4), 0.01, jnp.float16))
    assert y.dtype == jnp.float16
    assert np.isfinite(y).all()


class Net(nnx.Module):
    def __init__(self, dtype=jnp.float32):
        rngs = nnx.Rngs(0)
        conv = nnx.Conv(3, 4, (3, 3), use_bias=False, dtype=dtype, rngs=rngs)
        self.conv = WeightNorm(conv)
        self.norm = nnx.BatchNorm(4, epsilon=1e-10, dtype=dtype, rngs=rngs)
        self.head = WeightNorm(nnx.Linear(4, 2, dtype=dtype, rngs=rngs))

    def __call__(self, x, *, train):
        x = nnx.relu(self.norm(self.conv(x), use_running_average=not train))
        return self.head(jnp.mean(x, axis=(1, 2)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_in_a_net_as_a_pure_function(dtype):
    apply, params, stats = functional(Net(dtype))
    assert set(params["conv"]) == {"layer", "scale"}
    images = jax.random.normal(jax.random.key(0), (4, 5, 5, 3))

    @jax.jit
    def gradient(params):
        def total(params):
            return jnp.sum(apply(params, stats, images, train=True)[0] ** 2, dtype=float)

        return jax.grad(total)(params)

    grads = gradient(params)
    kernel = grads["conv"]["layer"]["kernel"]
    assert kernel.dtype == jnp.float32
    size = np.abs(kernel).max()
    assert size > 0
    assert np.abs(grads["head"]["scale"]).max() > 0
    # Batch normalisation takes the length out again, so that it learns nothing.
    assert np.abs(grads["conv"]["scale"]).max() < (1e-3 if dtype == jnp.float32 else 0.1)


def test_step_turns_v_less_the_longer_it_is():
    """By η |∇_v| / ||v||, where ∇_v itself is one over ||v||: a quarter at twice v."""

    def turn(factor):
        normed = WeightNorm(linear(use_bias=False))
        normed.layer.kernel[...] *= factor
        x, target = example()
        v = normed.layer.kernel[...]
        after = v - 1e-3 * nnx.grad(loss)(normed, x, target).layer.kernel[...]
        unit = v / jnp.linalg.norm(v, axis=0, keepdims=True)
        moved = after / jnp.linalg.norm(after, axis=0, keepdims=True) - unit
        return jnp.linalg.norm(moved, axis=0)

    np.testing.assert_allclose(turn(2.0), turn(1.0) / 4, rtol=1e-2)


def test_vmap_over_models():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def create(rngs):
        return WeightNorm(nnx.Linear(4, 3, rngs=rngs))

    models, (x, _) = create(nnx.Rngs(0)), example()
    y = nnx.vmap(lambda model, x: model(x), in_axes=(0, None))(models, x)
    graph, state = nnx.split(models)
    for i in range(3):
        one = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state))
        np.testing.assert_allclose(y[i], one(x), rtol=1e-5, atol=1e-6)


def test_the_output_of_the_layer_inside_is_seen():
    normed, (x, _) = WeightNorm(linear()), example()
    y, outputs = layer_outputs(normed, x)
    assert list(outputs) == ["layer"]
    np.testing.assert_array_equal(outputs["layer"], y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": nnx.BatchNorm(3, rngs=nnx.Rngs(0))}, "`kernel` .*got BatchNorm"),
        ({"layer": WeightNorm(linear())}, "`kernel` of two or more .*got WeightNorm"),
        (
            {"layer": WSConv(4, 3, (3,), rngs=nnx.Rngs(0))},
            "multiply by .*got WSConv, which",
        ),
        ({"feature_axes": 2}, "distinct axes of a kernel of rank 2, got 2"),
        ({"feature_axes": (1, -1)}, r"distinct axes .*got \(1, -1\)"),
        ({"epsilon": 0.0}, r"epsilon must be positive, got 0\.0"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    arguments = {"layer": linear()} | arguments
    layer = arguments.pop("layer")
    with pytest.raises(ValueError, match=message):
        WeightNorm(layer, **arguments)

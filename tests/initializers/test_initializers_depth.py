"""Variances by depth: of a model, and of initialisers and nonlinearities compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.initializers import (
    compare_initializers,
    he_normal,
    normal,
    variance_by_depth,
)

KEY = jax.random.key(0)


class Net(nnx.Module):
    """Called in another order than named, with a norm and an unused layer."""

    def __init__(self, dtype=None):
        self.second = nnx.Linear(6, 3, dtype=dtype, rngs=nnx.Rngs(0))
        self.first = nnx.Linear(4, 6, dtype=dtype, rngs=nnx.Rngs(1))
        self.norm = nnx.BatchNorm(6, rngs=nnx.Rngs(2))
        self.unused = nnx.Linear(2, 2, rngs=nnx.Rngs(3))

    def __call__(self, x, *, train):
        h = self.norm(self.first(x), use_running_average=not train)
        return self.second(jnp.tanh(h))


def test_matches_the_chain_rule_by_hand():
    net, x = Net(), jax.random.normal(KEY, (10, 4))
    measured = variance_by_depth(net, x, loss=lambda y: (y**3).mean(), train=False)
    assert measured.paths == ("first", "second")
    first, second = (np.asarray(m.kernel, np.float64) for m in (net.first, net.second))
    y1 = np.asarray(x, np.float64) @ first
    h = np.tanh(y1 / np.sqrt(1 + 1e-5))
    y2 = h @ second
    g2 = 3 * y2**2 / y2.size
    g1 = g2 @ second.T * (1 - h**2) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(measured.activation, [y1.var(), y2.var()], rtol=1e-5)
    np.testing.assert_allclose(measured.gradient, [g1.var(), g2.var()], rtol=1e-4)


def test_the_model_is_left_as_it_was():
    net, x = Net(jnp.bfloat16), jax.random.normal(KEY, (10, 4))
    kinds = [type(net.first), type(net.second)]
    before = jax.tree.map(jnp.copy, nnx.state(net))
    measured = variance_by_depth(net, x, loss=lambda y: y.sum(), train=True)
    assert measured.activation.dtype == measured.gradient.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, nnx.state(net), before)
    assert [type(net.first), type(net.second)] == kinds


def test_a_model_without_layers_raises():
    with pytest.raises(ValueError, match="at least one layer of the model, got none"):
        variance_by_depth(nnx.Sequential(nnx.relu), jnp.ones((2, 2)), loss=jnp.sum)


def test_comparison_is_the_recursion_in_float64():
    depth, width = 3, 8
    measured = compare_initializers(
        KEY,
        initializers={"normal": normal(0.5)},
        nonlinearities={"tanh": jnp.tanh, "softplus": jax.nn.softplus},
        depth=depth,
        width=width,
        batch_size=5,
    )
    assert measured.nonlinearities == ("tanh", "softplus")
    assert measured.initializers == ("normal",)
    assert measured.activation.shape == measured.gradient.shape == (2, 1, depth)
    of_weights, of_input, of_gradient = jax.random.split(KEY, 3)
    x, r = (
        np.asarray(jax.random.normal(key, (5, width)), np.float64)
        for key in (of_input, of_gradient)
    )
    keys = jax.random.split(of_weights, depth)
    weights = [np.asarray(normal(0.5)(k, (width, width)), np.float64) for k in keys]
    functions = [
        (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
    ]
    for row, (phi, slope) in enumerate(functions):
        z = [x]
        for w in weights:
            z.append(phi(z[-1]) @ w)
        delta = [r]
        for layer in range(depth - 1, 0, -1):
            delta.insert(0, delta[0] @ weights[layer].T * slope(z[layer]))
        activation, gradient = measured.activation[row, 0], measured.gradient[row, 0]
        np.testing.assert_allclose(activation, [y.var() for y in z[1:]], rtol=1e-4)
        np.testing.assert_allclose(gradient, [d.var() for d in delta], rtol=1e-4)


def test_he_keeps_the_variance_of_relu_and_a_small_one_vanishes():
    measured = compare_initializers(
        KEY,
        initializers={"He": he_normal(), "small": normal(0.01)},
        nonlinearities={"ReLU": jax.nn.relu},
        depth=12,
        width=128,
        batch_size=64,
    )
    he, small = measured.activation[0]
    assert he.min() > 0.3
    assert he.max() < 3
    assert small[-1] < 1e-12
    assert 0.3 < measured.gradient[0, 0, 0] < 3
    assert measured.gradient[0, 1, 0] < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"initializers": {}}, r"initializers must name at least one, got \{\}"),
        ({"nonlinearities": {}}, r"nonlinearities must name at least one, got \{\}"),
    ],
)
def test_bad_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        compare_initializers(KEY, **options)


def test_a_layer_called_at_two_sizes_raises():
    class Twice(nnx.Module):
        def __init__(self):
            self.dense = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.dense(x).sum() + self.dense(x[::2]).sum()

    with pytest.raises(ValueError, match="call its layer 'dense' at one size"):
        variance_by_depth(Twice(), jnp.ones((4, 3)), loss=lambda y: y)


def test_one_layer_of_one_unit_for_one_example_is_the_least():
    one = {"depth": 1, "width": 1, "batch_size": 1}
    measured = compare_initializers(
        KEY, initializers={"n": normal(1.0)}, nonlinearities={"id": lambda z: z}, **one
    )
    np.testing.assert_array_equal(measured.activation, np.zeros((1, 1, 1)))

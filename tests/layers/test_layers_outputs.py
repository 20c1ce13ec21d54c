"""Reading the outputs of a model's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.layers import (
    DropConnect,
    WeightNorm,
    WSConv,
    layer_outputs,
    named_layers,
)


class Net(nnx.Module):
    """Two linear layers, called in the order opposite to their names."""

    def __init__(self):
        self.b = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        self.a = nnx.Linear(3, 4, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.a(nnx.relu(self.b(x)))


def test_outputs_are_those_of_the_layers_in_the_order_of_the_calls():
    net, x = Net(), jax.random.normal(jax.random.key(0), (5, 2))
    y, outputs = layer_outputs(net, x)
    assert list(outputs) == ["b", "a"]
    assert sorted(named_layers(net)) == ["a", "b"]
    np.testing.assert_array_equal(outputs["b"], net.b(x))
    np.testing.assert_array_equal(outputs["a"], y)
    np.testing.assert_array_equal(y, net(x))


def test_the_model_is_as_before_also_after_an_error():
    net = Net()
    with pytest.raises(TypeError):
        layer_outputs(net, jnp.ones((5, 7)))
    assert type(net.a) is type(net.b) is nnx.Linear


def test_gradients_flow_through_the_outputs():
    net, x = Net(), jnp.ones((1, 2))
    graph, state = nnx.split(net)

    @jax.jit
    def hidden(state):
        _, outputs = layer_outputs(nnx.merge(graph, state, copy=True), x)
        return outputs["b"].sum()

    grads = nnx.to_pure_dict(jax.grad(hidden)(state))
    np.testing.assert_array_equal(grads["b"]["kernel"], np.ones((2, 3)))
    np.testing.assert_array_equal(grads["a"]["kernel"], np.zeros((3, 4)))


def test_only_what_is_selected():
    _, outputs = layer_outputs(Net(), jnp.ones((1, 2)), only=lambda path, _: path == "a")
    assert list(outputs) == ["a"]
    with pytest.raises(ValueError, match="only must select at least one layer"):
        layer_outputs(Net(), jnp.ones((1, 2)), only=lambda path, _: False)


def test_a_layer_called_inside_a_transformation_raises():
    """Its output is of that transformation, and would leak out of it."""
    net = nnx.Sequential(DropConnect(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), 0.5))
    with pytest.raises(ValueError, match=r"only must not select 'layers\.0\.layer'"):
        layer_outputs(net, jnp.ones((4, 2)), rngs=nnx.Rngs(0))
    net.eval()
    assert layer_outputs(net, jnp.ones((4, 2)))[1]["layers.0.layer"].shape == (4, 3)


@pytest.mark.parametrize(
    "wrap", [lambda conv: WeightNorm(conv), lambda conv: DropConnect(conv, 0.5)]
)
def test_a_layer_that_computes_its_kernel_cannot_be_wrapped(wrap):
    conv = WSConv(2, 3, (3, 3), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="got WSConv, which computes another"):
        wrap(conv)

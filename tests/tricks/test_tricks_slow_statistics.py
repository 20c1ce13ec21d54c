"""A batch norm whose statistics would not arrive within a run is named before it."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.layers import BatchNorm
from optix_tricks.tricks import Setup
from optix_tricks.tricks._network import SlowStatistics
from tests.tricks.toys import dataset


class Net(nnx.Module):
    def __init__(self, norm, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = norm
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.norm(self.conv(x))).mean(axis=(1, 2)))


def made(epochs, **options):
    """Of five steps an epoch."""

    def network(context, *, rngs):
        return Net(BatchNorm(4, rngs=rngs, **options), rngs)

    setup = Setup(network, epochs=epochs, batch_size=8).take(tricks.sgd(0.1))
    return setup.job(dataset())


def test_how_much_is_left_is_that_of_a_norm_that_sees_the_mean_ones():
    norm = BatchNorm(1, rngs=nnx.Rngs(0))  # momentum 0.99; statistics begin at 0
    for _ in range(20):
        norm(jnp.array([[2.0], [4.0]]))
    left = 1 - float(jax.device_get(norm.mean.get_value())[0]) / 3
    with pytest.warns(
        SlowStatistics, match=rf", {left:.0%} of the .* 1 BatchNorm"
    ) as said:
        made(epochs=4)
    assert "momentum of 0.99" in str(said[0].message)
    assert "such as norm, " in str(said[0].message)
    assert "after the 20 steps" in str(said[0].message)


@pytest.mark.parametrize(
    ("epochs", "options"),
    [
        (4, {"momentum": 0.9}),
        (30, {}),  # 150 steps, after which 22 % are left
        (2, {}),  # ten steps, in which 0.9 does not arrive either
    ],
)
def test_nothing_is_said_of_others(epochs, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(epochs, **options)


def test_it_is_said_of_a_network_once_and_not_of_each_seed():
    def network(context, *, rngs):
        return Net(BatchNorm(4, rngs=rngs), rngs)

    setup = Setup(network, epochs=4, batch_size=8).take(tricks.sgd(0.1))
    with pytest.warns(SlowStatistics):
        plan = setup.plan(dataset())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (0, 1, 2):
            plan.job(seed)

"""Adagrad, Adadelta and RMSprop of compat.torch go the way of PyTorch's."""

import jax.numpy as jnp
import pytest
from both_ways import TOLERANCE, assert_optimiser_goes_with_torch

from optix_tricks.compat import torch as ours


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1},
        {"lr": 0.1, "initial_accumulator_value": 0.2, "eps": 0.1},
        {"lr": 0.1, "maximize": True},
    ],
)
def test_adagrad_goes_the_way_of_torch(arguments):
    for dtype in TOLERANCE:
        assert_optimiser_goes_with_torch("Adagrad", arguments, dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1},
        {"maximize": True},
    ],
)
def test_adadelta_goes_the_way_of_torch(arguments):
    for dtype in TOLERANCE:
        assert_optimiser_goes_with_torch("Adadelta", arguments, dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"alpha": 0.9, "eps": 1e-2, "weight_decay": 0.1},
        {"lr": 3e-3, "momentum": 0.8, "eps": 1e-2},
        {"lr": 3e-3, "momentum": 0.8, "centered": True, "eps": 1e-2},
        {"maximize": True},
    ],
)
def test_rmsprop_goes_the_way_of_torch(arguments):
    for dtype in TOLERANCE:
        assert_optimiser_goes_with_torch("RMSprop", arguments, dtype)


def test_rmsprop_takes_the_rate_after_the_momentum():
    tx = ours.RMSprop(lambda count: jnp.where(count == 0, 1.0, 0.0), momentum=0.9)
    w = jnp.zeros(1)
    _, state = tx.update(jnp.ones(1), tx.init(w), w)
    updates, _ = tx.update(jnp.ones(1), state, w)
    assert updates == 0  # nothing of the first rate is left in the buffer

"""ASGD of compat.torch goes the way of PyTorch's, its average too."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from both_ways import TOLERANCE, assert_optimiser_goes_with_torch

from optix_tricks.compat.torch import ASGD


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": 0.1},
        {"lr": 0.1, "lambd": 0.05, "alpha": 0.5, "t0": 20.0, "weight_decay": 0.1},
        {"lr": 0.1, "t0": 0.0, "maximize": True},
    ],
)
def test_asgd_and_its_average_go_the_way_of_torch(arguments):
    for dtype, tolerance in TOLERANCE.items():
        state, optimizer = assert_optimiser_goes_with_torch("ASGD", arguments, dtype)
        (there,) = (entry["ax"].numpy() for entry in optimizer.state.values())
        error = np.abs(optax.tree.get(state, "ax") - there).max()
        assert error <= tolerance * np.abs(there).max()


def test_a_schedule_acts_one_step_late():
    rates = jnp.array([1.0, 0.5, 0.25, 0.125])
    tx = ASGD(lr=lambda count: rates[count], lambd=0.0, alpha=0.0)
    w = jnp.zeros(1)
    state, steps = tx.init(w), []
    for _ in range(4):
        updates, state = tx.update(-jnp.ones(1), state, w)
        steps.append(float(updates[0]))
    assert steps == [1.0, 1.0, 0.5, 0.25]


def test_before_averaging_begins_the_average_is_the_parameters_to_the_last_bit():
    tx = ASGD(lr=0.1, t0=3.0)
    w = jnp.asarray(np.random.default_rng(0).normal(size=50), jnp.float32)
    state = tx.init(w)
    for step in range(6):
        updates, state = tx.update(jnp.sin(w), state, w)
        w = optax.apply_updates(w, updates)
        same = np.array_equal(optax.tree.get(state, "ax"), w)
        assert same == (step + 1 <= 3 + 2)

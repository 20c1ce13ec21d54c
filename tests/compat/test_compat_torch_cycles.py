"""The cycles of compat.torch have the rates and momenta of PyTorch's schedulers."""

import jax
import numpy as np
import pytest
from both_ways import STEPS, assert_scheduler_goes_with_torch

from optix_tricks.compat import torch as ours

RATES = {"base_lr": 0.1, "max_lr": 0.3}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"step_size_up": 9},
        {"step_size_up": 5, "step_size_down": 11, "mode": "triangular2"}
        | {"base_momentum": 0.5, "max_momentum": 0.95},
        {"step_size_up": 6, "mode": "exp_range", "gamma": 0.98},
    ],
)
def test_a_cycle_is_that_of_torch(arguments):
    assert_scheduler_goes_with_torch("CyclicLR", RATES | arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale_fn": lambda cycle: 1 / (5 * cycle + 1)},
        {"scale_fn": lambda step: 0.9**step, "scale_mode": "iterations"},
        {"scale_fn": lambda cycle: 0.7**cycle, "step_size_down": 3},
    ],
)
def test_the_height_of_a_cycle_may_be_a_function(arguments):
    assert_scheduler_goes_with_torch("CyclicLR", RATES | {"step_size_up": 6} | arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"total_steps": STEPS},
        {"epochs": 12, "steps_per_epoch": 11, "pct_start": 0.23}
        | {"anneal_strategy": "linear", "div_factor": 10.0, "final_div_factor": 50.0},
        {"total_steps": STEPS, "three_phase": True}
        | {"base_momentum": 0.6, "max_momentum": 0.9},
    ],
)
def test_one_cycle_is_that_of_torch(arguments):
    assert_scheduler_goes_with_torch("OneCycleLR", {"max_lr": 0.3} | arguments)


def test_one_step_up_and_down_and_one_epoch_or_one_step_of_it_are_the_least():
    schedule = ours.CyclicLR(0.1, 0.3, 1, 1)
    rates, momenta = jax.jit(lambda t: (schedule(t), schedule.momentum(t)))(np.arange(4))
    np.testing.assert_allclose(rates, [0.1, 0.3, 0.1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(momenta, [0.9, 0.8, 0.9, 0.8], rtol=1e-6)
    whole = jax.jit(ours.OneCycleLR(0.1, 10))(np.arange(10))
    for steps in (
        {"epochs": 1, "steps_per_epoch": 10},
        {"epochs": 10, "steps_per_epoch": 1},
    ):
        got = jax.jit(ours.OneCycleLR(0.1, **steps))(np.arange(10))
        np.testing.assert_array_equal(got, whole)


def test_a_cycle_without_momentum_has_none():
    assert ours.CyclicLR(0.1, 0.3, cycle_momentum=False).momentum is None
    assert ours.OneCycleLR(0.1, 10, cycle_momentum=False).momentum is None


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ours.CyclicLR(0.1, 0.2, 0), "step_size_up must be at least 1, got 0"),
    (lambda: ours.CyclicLR(0.1, 0.2, 9, mode="saw"), "mode must be 'triangular'"),
    (lambda: ours.CyclicLR(0.1, 0.2, scale_mode="step"), "'cycle' or 'iterations'"),
    (lambda: ours.OneCycleLR(0.1), "total_steps must be given"),
    (lambda: ours.OneCycleLR(0.1, epochs=3), "total_steps must be given"),
    (lambda: ours.OneCycleLR(0.1, 9, anneal_strategy="cosine"), "'cos' or 'linear'"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""The decays of compat.torch have the values of PyTorch's schedulers."""

import numpy as np
import pytest
from both_ways import assert_scheduler_goes_with_torch

from optix_tricks.compat import torch as ours


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("StepLR", {"step_size": 7}),
        ("StepLR", {"step_size": 30, "gamma": 0.5}),
        ("MultiStepLR", {"milestones": [5, 40]}),
        ("MultiStepLR", {"milestones": [40, 5, 40, 0], "gamma": 0.7}),
    ],
)
def test_steps_are_those_of_torch(name, arguments):
    assert_scheduler_goes_with_torch(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialLR", {"gamma": 0.97}),
        ("CosineAnnealingWarmRestarts", {"T_0": 13}),
        ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.02}),
    ],
)
def test_decays_and_restarts_are_those_of_torch(name, arguments):
    assert_scheduler_goes_with_torch(name, arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"T_max": 40},
        {"T_max": 300, "eta_min": 0.03},
        {"T_max": 7, "eta_min": 0.5},
    ],
)
def test_a_cosine_goes_down_and_up_as_in_torch(arguments):
    assert_scheduler_goes_with_torch("CosineAnnealingLR", arguments)


def test_one_step_is_the_least():
    values = {
        "StepLR": ours.StepLR(1.0, 1, gamma=0.5),
        "CosineAnnealingLR": ours.CosineAnnealingLR(1.0, 1),
        "CosineAnnealingWarmRestarts": ours.CosineAnnealingWarmRestarts(1.0, 1, 1),
    }
    want = {
        "StepLR": [1, 0.5, 0.25],
        "CosineAnnealingLR": [1, 0, 1],
        "CosineAnnealingWarmRestarts": [1, 1, 1],
    }
    for name, schedule in values.items():
        np.testing.assert_allclose(schedule(np.arange(3)), want[name], atol=1e-12)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ours.StepLR(0.1, 0), "step_size must be at least 1, got 0"),
    (lambda: ours.StepLR(0.1, 3, gamma=0.0), "gamma must be positive"),
    (lambda: ours.MultiStepLR(0.1, [-3]), "must be at least 0, got -3"),
    (lambda: ours.CosineAnnealingLR(0.1, 0), "T_max must be at least 1, got 0"),
    (lambda: ours.CosineAnnealingLR(float("nan"), 9), "lr must be a finite number"),
    (lambda: ours.CosineAnnealingWarmRestarts(0.1, 9, 0), "T_mult must be at least 1"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

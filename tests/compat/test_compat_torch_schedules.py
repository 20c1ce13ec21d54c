"""Schedulers and optimisers of compat.torch together; their arguments are PyTorch's."""

import inspect

import pytest
import torch
from both_ways import (
    LR,
    STEPS,
    TOLERANCE,
    assert_same_path,
    jax_path,
    scheduler_of,
    torch_path,
)
from torch.optim import lr_scheduler as theirs

from optix_tricks.compat import torch as ours

NAMES = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "StepLR",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_order_and_defaults_are_those_of_torch(name):
    def arguments(function):
        found = inspect.signature(function).parameters
        return [(p.name, p.default) for p in found.values() if p.name != "last_epoch"]

    (optimizer, _), *there = arguments(getattr(theirs, name))
    assert optimizer == "optimizer"
    mine = arguments(getattr(ours, name))
    if name not in ("CyclicLR", "OneCycleLR"):  # these bring their own rates
        assert mine.pop(0)[0] == "lr"
    assert mine == there


TOGETHER = [
    ("SGD", {"momentum": 0.9, "nesterov": True}, "StepLR", {"step_size": 30}),
    ("SGD", {"weight_decay": 0.1}, "MultiStepLR", {"milestones": [40, 80]}),
    ("RMSprop", {"momentum": 0.5, "eps": 0.1}, "StepLR", {"step_size": 20}),
    ("Adam", {}, "CosineAnnealingLR", {"T_max": 50, "eta_min": 0.01}),
    ("AdamW", {}, "CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 2}),
    ("Adagrad", {"lr_decay": 0.1}, "ExponentialLR", {"gamma": 0.98}),
    ("ASGD", {"lambd": 0.1, "t0": 10.0}, "StepLR", {"step_size": 10, "gamma": 0.5}),
    ("NAdam", {}, "ExponentialLR", {"gamma": 0.98}),
    ("RAdam", {"decoupled_weight_decay": True}, "CosineAnnealingLR", {"T_max": 60}),
    (
        "SGD",
        {"momentum": 0.8},
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.3,
            "step_size_up": 5,
            "step_size_down": 11,
            "mode": "triangular2",
            "base_momentum": 0.5,
            "max_momentum": 0.95,
        },
    ),
    (
        "SGD",
        {"momentum": 0.8, "nesterov": True},
        "OneCycleLR",
        {"max_lr": 0.3, "total_steps": STEPS},
    ),
    (
        "AdamW",
        {"betas": (0.8, 0.99)},
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.3,
            "step_size_up": 6,
            "mode": "exp_range",
            "gamma": 0.98,
        },
    ),
    (
        "AdamW",
        {"betas": (0.8, 0.99), "amsgrad": True},
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "total_steps": STEPS,
            "three_phase": True,
            "base_momentum": 0.6,
            "max_momentum": 0.9,
        },
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments", "scheduler", "settings"), TOGETHER)
def test_scheduler_and_optimiser_go_the_way_of_torch(
    name, arguments, scheduler, settings, dtype
):
    def mine():
        rate = scheduler_of(scheduler, settings)
        cycled = {}
        if hasattr(rate, "momentum") and "betas" in arguments:
            cycled = {"betas": (rate.momentum, arguments["betas"][1])}
        elif hasattr(rate, "momentum"):
            cycled = {"momentum": rate.momentum}
        return getattr(ours, name)(lr=rate, **arguments | cycled)

    steps = STEPS - 1  # OneCycleLR refuses the last call of scheduler.step()
    want, rates, _ = torch_path(
        lambda params: getattr(torch.optim, name)(params, lr=LR, **arguments),
        lambda optimizer: getattr(theirs, scheduler)(optimizer, **settings),
        dtype=dtype,
        steps=steps,
    )
    got, _ = jax_path(mine, dtype=dtype, steps=steps)
    assert len(set(rates)) > 2
    assert_same_path(got, want, TOLERANCE[dtype])

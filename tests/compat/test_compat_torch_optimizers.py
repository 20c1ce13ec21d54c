"""The optimisers of compat.torch go the way of torch.optim."""

import inspect

import jax
import jax.numpy as jnp
import optax
import pytest
import torch
from both_ways import assert_optimiser_goes_with_torch

from optix_tricks.compat import torch as ours

NAMES = [
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "NAdam"),
    *("RAdam", "RMSprop", "SGD"),
]
ARGUMENTS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "betas": (0.9, 0.9), "amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.02, "maximize": True}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-2, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02}),
    ("RAdam", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_an_optimiser_goes_the_way_of_torch(name, arguments, dtype):
    assert_optimiser_goes_with_torch(name, arguments, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_names_order_and_defaults_are_those_of_torch(name):
    def arguments(function):
        found = inspect.signature(function).parameters
        return [(p.name, p.default, p.kind) for p in found.values()]

    how = {"foreach", "fused", "capturable", "differentiable"}
    stops = {"max_iter", "max_eval", "tolerance_grad", "tolerance_change"}
    theirs = [
        a
        for a in arguments(getattr(torch.optim, name))
        if a[0] not in {"params", *how} | (stops if name == "LBFGS" else set())
    ]
    mine = arguments(getattr(ours, name))
    assert [a[:2] for a in mine] == [a[:2] for a in theirs]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for (argument, _, kind), (_, _, there) in zip(mine, theirs, strict=True):
        assert kind == there or (argument == "maximize" and there == positional)


def test_a_rate_in_the_state_is_changed_without_a_new_optimiser():
    tx = ours.SGD(lr=0.1)
    state = optax.tree.set(tx.init(jnp.zeros(1)), learning_rate=jnp.float32(0.5))
    assert tx.update(jnp.ones(1), state)[0] == -0.5


@pytest.mark.parametrize(("name", "slots"), [
    ("SGD", 0), ("Adam", 2), ("AdamW", 2), ("Adamax", 2), ("NAdam", 2), ("RAdam", 2),
    ("Adagrad", 1), ("Adadelta", 2), ("RMSprop", 1), ("ASGD", 1),
])  # fmt: skip
def test_bfloat16_parameters_have_float32_slots(name, slots):
    tx = getattr(ours, name)(lr=0.1)
    w = jnp.ones(5, jnp.bfloat16)
    updates, state = tx.update(w, tx.init(w), w)
    assert updates.dtype == jnp.bfloat16
    found = [x.dtype for x in jax.tree.leaves(state) if x.shape == (5,)]
    assert found == [jnp.float32] * slots


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("SGD", {"nesterov": True}, "momentum must be positive with nesterov=True, got 0"),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "nesterov": True}, "dampening must be 0"),
    ("SGD", {"lr": -1.0}, "lr must be zero or positive, got -1.0"),
    ("SGD", {"weight_decay": -1.0}, "weight_decay must be zero or positive"),
    ("Adam", {"betas": (1.0, 0.9)}, r"betas\[0\] must be in \[0, 1\), got 1.0"),
    ("RAdam", {"eps": -1.0}, "eps must be zero or positive, got -1.0"),
    ("Adagrad", {"lr": -1.0, "lr_decay": 0.1}, "lr must be zero or positive"),
    ("Adagrad", {"lr_decay": -1.0}, "lr_decay must be zero or positive"),
    ("ASGD", {"t0": -1.0}, "t0 must be zero or positive"),
    ("LBFGS", {"line_search_fn": "armijo"}, "must be None or 'strong_wolfe'"),
    ("LBFGS", {"history_size": 0}, "must be at least 1"),
])  # fmt: skip
def test_bad_arguments_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(ours, name)(**arguments)

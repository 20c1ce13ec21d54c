"""ReduceLROnPlateau of compat.torch has the rates of PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

from optix_tricks.compat import torch as ours


@pytest.mark.parametrize(("arguments", "seed"), [
    ({}, 0),
    ({"factor": 0.5, "patience": 0}, 1),
    ({"factor": 0.5, "patience": 2, "cooldown": 3, "threshold": 0.05}, 2),
    ({"mode": "max", "patience": 3, "factor": 0.3, "min_lr": 0.01}, 4),
    ({"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs"}, 3),
    ({"patience": 0, "factor": 0.5, "eps": 3e-3}, 5),
    ({"patience": 0, "factor": 0.6, "min_lr": 0.019, "eps": 2e-3}, 6),
])  # fmt: skip
def test_reduce_on_plateau_has_the_rates_of_torch(arguments, seed):
    lr = 0.2
    rng = np.random.default_rng(seed)
    metrics = np.abs(1 / np.sqrt(1 + np.arange(150)) + 0.1 * rng.normal(size=150)) + 0.1
    metrics[[7, 50]] = np.nan
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = theirs.ReduceLROnPlateau(optimizer, **arguments)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    machine = ours.ReduceLROnPlateau(lr, **arguments)

    def step(watch, metric):
        watch = machine.update(watch, metric)
        return watch, lr * watch.scale

    _, got = jax.lax.scan(step, machine.init(), jnp.asarray(metrics, jnp.float32))
    assert len(set(rates)) > 2
    np.testing.assert_allclose(got, rates, rtol=3e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ours.ReduceLROnPlateau(0.1, factor=1.0), r"factor must be in \(0, 1\)"),
    (lambda: ours.ReduceLROnPlateau(0.1, patience=-1), "patience must be at least 0"),
    (lambda: ours.ReduceLROnPlateau(0.1, threshold_mode="no"), "must be 'rel' or 'abs'"),
    (lambda: ours.ReduceLROnPlateau(0.1, mode="up"), "mode must be 'min' or 'max'"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_reduction_by_no_more_than_eps_is_left_out():
    for eps, scale in ((0.25, 1.0), (0.2, 0.5)):
        machine = ours.ReduceLROnPlateau(0.5, factor=0.5, patience=0, eps=eps)
        watch = machine.update(machine.update(machine.init(), 1.0), 1.0)
        assert float(watch.scale) == scale

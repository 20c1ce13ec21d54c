"""Rates against accuracy: which networks are trained at which rates."""

import types

import jax
import numpy as np
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.studies._weight_norm import _rates as rates
from optix_tricks.training import count_parameters
from tests.studies.toy_study import TOY

CONFIG = TOY.__class__(**TOY.__dict__ | {"sweep_width": 8, "seed": 1, "seeds": 2})


def test_four_networks_are_trained_around_the_rate(monkeypatch, digits, tmp_path):
    asked, told = [], []

    def sweep(build, dataset, *, rates, seeds, path, name, on_epoch):
        asked.append((rates, list(seeds), path.name))
        on_epoch(1, 5)
        return types.SimpleNamespace(accuracy=np.array([[0.5, np.nan]]))

    monkeypatch.setattr(rates, "sweep_learning_rates", sweep)
    found = rates.run_rates(CONFIG, digits, tmp_path, lambda *at: told.append(at))
    wanted = [0.1 / 16, 0.1 / 4, 0.1 / 2, 0.1, 0.2, 0.4, 1.6]
    assert found["rates"] == pytest.approx(wanted)
    assert asked == [(found["rates"], [1, 2], "trainings.jsonl")] * 4
    assert told == [(5 * i, 20) for i in range(4)]
    assert list(found["networks"]) == [
        "ResNet-9, width 8",
        "ResNet-9, width 4",
        "ResNet-10, width 8",
        "bottleneck ResNet-14, width 8",
    ]


def test_networks_have_their_widths_and_depths():
    makers = rates._networks(CONFIG)
    shapes = {
        name: jax.eval_shape(
            lambda make=make: nnx.state(
                make(10, in_channels=3, rngs=nnx.Rngs(0)), nnx.Param
            )
        )
        for name, make in makers.items()
    }

    def kernels(name):
        leaves = jax.tree.leaves(shapes[name])
        return [x.shape for x in leaves if len(x.shape) == 4]

    wide, narrow, ten, fourteen = map(kernels, makers)
    assert max(x[-1] for x in wide) == 2 * max(x[-1] for x in narrow) == 64
    assert len(wide) == len(narrow) == 8
    # A stem and two or three convolutions in each of four stages, and shortcuts beside.
    assert sum(x[:2] == (3, 3) for x in ten) == 1 + 4 * 2
    assert sum(x[:2] == (3, 3) for x in fourteen) == 1 + 4
    assert sum(x[:2] == (1, 1) for x in fourteen) == 4 * 2 + 4
    assert max(x[-1] for x in ten) == 64
    assert max(x[-1] for x in fourteen) == 4 * 64
    assert count_parameters(shapes["ResNet-9, width 8"]) > 0


def test_a_training_has_the_peak_and_the_length_of_its_sweep(digits):
    config = CONFIG.__class__(**CONFIG.__dict__ | {"sweep_epochs": 2, "batch_size": 64})
    job = rates.rate_job(config, digits, "ResNet-9, width 4", 0.5, 3)
    assert (job.epochs, job.seed, job.batch_size) == (2, 3, 64)
    zeros = jax.tree.map(np.zeros_like, job.params)
    state = job.tx.init(job.params)
    for _ in range(10):  # of 44 steps the fifth, rounded, is 9
        _, state = job.tx.update(zeros, state, job.params)
    assert float(ot.report(state)["learning_rate"]) == pytest.approx(0.5)

"""Whole recipes on one, two, four and eight devices: the same losses but for rounding."""

import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from optix_tricks.recipes import new_run
from optix_tricks.training import RunDirectory, train

NUMBERS = ("loss", "accuracy", "gradient_norm", "update_norm", "parameter_norm")


def rows(path, run, dataset, devices):
    """Of each step and each test, without the time."""
    with RunDirectory.start(path, recipe=run.recipe.name, config=run.as_json()) as there:
        quiet = Console(quiet=True)
        train(run.job(dataset), dataset, there, devices=devices, console=quiet)
    found = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return np.array([[row.get(name, 0.0) for name in NUMBERS] for row in found])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_a_whole_recipe_has_the_same_losses_on_any_number_of_devices(tmp_path, name):
    """Of an MLP, which tells a class or a number: no rounding grows in its 30 epochs."""
    run = dataclasses.replace(new_run("tabular_mlp"), dataset=name)
    dataset = run.load()
    alone = rows(tmp_path / "1", run, dataset, 1)
    for devices in (2, 4, 8):
        found = rows(tmp_path / str(devices), run, dataset, devices)
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4)

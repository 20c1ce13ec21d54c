"""SGD against LARS at the rate of SGD's equilibrium, from two starts, at two batches."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks._tree import PyTree
from optix_tricks.dynamics import equilibrium_norm
from optix_tricks.studies._rate_sweep import sweep_learning_rates
from optix_tricks.studies._weight_norm._config import (
    Config,
    OnStep,
    heavy_ball,
    peaked_schedule,
    share_of,
)
from optix_tricks.studies._weight_norm._invariant import invariant_layers, training_loss
from optix_tricks.training import Dataset, Job, steps_per_epoch
from optix_tricks.training._json_numbers import finite_lists


def run_lars(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train by SGD and by LARS, from the usual start and from the equilibrium norm."""
    arms = [
        (f"{rule}, {start}", {"rule": rule, "start": start})
        for start in ("usual start", "equilibrium start")
        for rule in ("sgd", "lars")
    ]
    return _accuracies(config, dataset, path, arms, on_step)


def run_batch(
    config: Config, dataset: Dataset, path: Path, on_step: OnStep
) -> dict[str, Any]:
    """Train with four times the batch, the rate scaled in three ways.

    SGD's rate by 4 is LARS's by 2, which is sqrt(2 η λ (1-ρ)); LARS by 4 is SGD by 16.
    """
    large = {"batch_size": 4 * config.batch_size}
    arms: list[tuple[str, dict[str, Any]]] = [
        ("sgd, batch 1, rate 1", {"rule": "sgd"}),
        ("sgd, batch 4, rate 4", {"rule": "sgd", "factor": 4.0} | large),
        ("sgd, batch 4, rate 2", {"rule": "sgd", "factor": 2.0} | large),
        ("lars, batch 1, rate 1", {"rule": "lars"}),
        ("lars, batch 4, rate 2", {"rule": "lars", "factor": 4.0} | large),
        ("lars, batch 4, rate 4", {"rule": "lars", "factor": 16.0} | large),
    ]
    return _accuracies(config, dataset, path, arms, on_step)


def _accuracies(
    config: Config,
    dataset: Dataset,
    path: Path,
    arms: list[tuple[str, dict[str, Any]]],
    on_step: OnStep,
) -> dict[str, Any]:
    """Test accuracies of each arm, seed by seed; finished ones are read back."""
    invariant = invariant_layers(config.job(dataset, width=config.sweep_width), dataset)
    found = {}
    for place, (arm, options) in enumerate(arms):
        # One training of both parts is done once: it is kept by what it is.
        settings = {
            "start": "usual start",
            "factor": 1.0,
            "batch_size": config.batch_size,
        }
        name = ", ".join(f"{k} {v}" for k, v in sorted((settings | options).items()))
        sweep = sweep_learning_rates(
            functools.partial(lars_job, config, dataset, invariant.mask, **options),
            dataset,
            rates=[config.learning_rate],
            seeds=range(config.seed, config.seed + config.seeds),
            path=path / "trainings.jsonl",
            name=name,
            on_epoch=share_of(on_step, place, len(arms)),
        )
        found[arm] = {"test_accuracy": finite_lists(sweep.accuracy[0])}
    return found


def lars_job(
    config: Config,
    dataset: Dataset,
    invariant: PyTree,
    rate: Any,
    seed: int,
    *,
    rule: str,
    start: str = "usual start",
    factor: float = 1.0,
    batch_size: int | None = None,
) -> Job:
    """Return a training of the sweep's network by one of the two rules.

        w ← w - sqrt(2 η λ (1-ρ)) v,    v ← ρ v + (|w|/|g|) g        LARS

    of the layers that are scale-invariant, without decay; all others take SGD's steps
    under both rules.

    Args:
        config: of the experiments.
        dataset: to train on.
        invariant: which leaves are scale-invariant, a tree of bools.
        rate: η at the peak of SGD at the configured batch.
        seed: of the network and the batches.
        rule: "sgd" or "lars".
        start: "usual start", or "equilibrium start": each invariant layer is scaled to
            the norm it would come to at the peak with the gradients of the start.
        factor: multiplies η.
        batch_size: another one than configured.
    """
    batch = batch_size or config.batch_size
    job = config.job(
        dataset,
        seed=seed,
        width=config.sweep_width,
        epochs=config.sweep_epochs,
        batch_size=batch,
    )
    steps = config.sweep_epochs * steps_per_epoch(dataset.train.size, batch)
    schedule = peaked_schedule(factor * rate, steps)
    tx = sgd = heavy_ball(
        schedule, weight_decay=config.weight_decay, momentum=config.momentum
    )
    if rule == "lars":
        both = 2 * config.weight_decay * (1 - config.momentum)
        lars = ot.lars(
            lambda count: jnp.sqrt(both * schedule(count)),
            trust_coefficient=1.0,
            momentum=config.momentum,
            mask=None,
        )
        labels = jax.tree.map(lambda x: "lars" if x else "sgd", invariant)
        tx = optax.partition({"lars": lars, "sgd": sgd}, labels)
    params = job.params
    if start == "equilibrium start":
        params = at_equilibrium(config, dataset, job, invariant)
    return job._replace(params=params, tx=tx)


def at_equilibrium(
    config: Config, dataset: Dataset, job: Job, invariant: PyTree
) -> PyTree:
    """Scale each invariant layer to its equilibrium norm at the peak rate.

    |g||w|, of one batch, does not depend on the length, so it can be measured before.
    """
    loss = training_loss(job, dataset, size=config.batch_size)
    gradients = jax.jit(jax.grad(loss))(job.params)

    def scaled(w: Any, g: Any, is_invariant: bool) -> Any:
        if not is_invariant:
            return w
        norm = jnp.linalg.norm(w)
        wanted = equilibrium_norm(
            "heavy_ball",
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            gradient_scale=jnp.linalg.norm(g) * norm,
        )
        return w * wanted / norm

    return jax.tree.map(scaled, job.params, gradients, invariant)

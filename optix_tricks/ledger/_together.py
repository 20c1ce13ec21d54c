"""The seeds of one plan, trained as the members of a sweep."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.training import (
    Dataset,
    Result,
    count_parameters,
    steps_per_epoch,
    sweep_jobs,
    total_steps,
)
from optix_tricks.training._sweep_jobs import is_of_one_step
from optix_tricks.tricks._plan import Plan


def can_train_together(plan: Plan, seed: int) -> bool:
    """Whether nothing happens between a plan's epochs, as it may in a sweep."""
    job = plan.job(seed)
    return is_of_one_step(job) and not job.packed


def train_together(
    plan: Plan, dataset: Dataset, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Train some seeds of a plan in one sweep, which measures how.

    Returns:
      For each what `train_once` keeps; `seconds` are its share of those of all.
    """
    start = time.perf_counter()
    jobs = {seed: plan.job(seed) for seed in seeds}
    done = sweep_jobs(
        lambda setting, seed: jobs[seed],
        dataset,
        settings=jnp.zeros(1),
        seeds=seeds,
        views=False,
    )
    seconds = (time.perf_counter() - start) / len(seeds)
    job = jobs[seeds[0]]
    test = job.make_evaluate()
    tested, validation = dataset.test, dataset.validation
    sizes = dataset.train.size, job.batch_size
    per_epoch, steps = steps_per_epoch(*sizes), total_steps(job.epochs, *sizes)
    kept = []
    for k in range(len(seeds)):
        of_seed = {name: x[0, k] for name, x in done.history.items()}
        state = jax.tree.map(lambda x, k=k: x[0, k], done.states)
        result = Result(
            test=test(state, tested),
            epochs=job.epochs,
            steps=steps,
            parameters=count_parameters(job.params),
            seconds=seconds,
            validation=None if validation is None else test(state, validation),
        )
        rows = zip(
            of_seed["test_loss"],
            of_seed.get("test_accuracy", [None] * len(of_seed["test_loss"])),
            strict=True,
        )
        kept.append(
            {
                **result.as_json(),
                "diverged": not np.isfinite(result.test.loss),
                "epochs": [
                    [min((i + 1) * per_epoch, steps), float(loss), accuracy]
                    for i, (loss, accuracy) in enumerate(rows)
                ],
            }
        )
    return kept

"""What rate does a recipe want? A range test on its own job."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from optix_tricks.dynamics import (
    RangeTest,
    RateSuggestions,
    scan_learning_rates,
    suggest_learning_rates,
)
from optix_tricks.recipes import Run
from optix_tricks.reports import plot_range_test
from optix_tricks.reports._range_page import write_range_page
from optix_tricks.reports._save import save_figure
from optix_tricks.training import (
    Batch,
    Dataset,
    RunDirectory,
    TrainState,
    create_state,
    epoch_order,
    steps_per_epoch,
)
from optix_tricks.training._json_numbers import finite_lists
from optix_tricks.training._run_directory import explained

DPI = 150


class LearningRateStudy(NamedTuple):
    """What `find_learning_rate` found."""

    test: RangeTest
    suggestions: RateSuggestions


def find_learning_rate(
    run: Run,
    dataset: Dataset,
    *,
    min_rate: float = 1e-5,
    max_rate: float = 10.0,
    steps: int = 100,
    seeds: int = 3,
    on_step: Callable[[int, int], None] = lambda seed, step: None,
) -> LearningRateStudy:
    """Run a learning-rate range test on a recipe: its network, data, loss and optimiser.

    Seeds are the run's and those that follow: each has its own initial weights,
    batches and augmentation. The steps are calls of one compiled program and the seeds
    run one after the other, in the memory of one run.

    Args:
        run: a recipe and its settings; the rate and its schedule are not used.
        dataset: as for training.
        min_rate: in the unit of the optimiser's own.
        max_rate: of the last step.
        steps: of each seed.
        seeds: how many runs.
        on_step: called with seed and step after each step.

    Returns:
        The curve and the suggestions.

    Raises:
        ValueError: if the configuration or the range cannot be used.
    """
    plan = run.plan(dataset)
    job = plan.job(run.seed)
    per_epoch = steps_per_epoch(dataset.train.size, job.batch_size)

    def optimizer(rate: Array) -> optax.GradientTransformation:
        return plan.optimizer(lambda count: rate)

    def init_fn(seed: int) -> TrainState:
        own = plan.job(run.seed + seed)
        tx = optimizer(jnp.float32(min_rate))
        return create_state(own.params, own.batch_stats, tx, jax.random.key(own.seed))

    def step_fn(state: TrainState, batch: Batch, rate: Array) -> tuple[TrainState, Array]:
        state, metrics = job._replace(tx=optimizer(rate)).step(state, batch)
        return state, metrics["loss"]

    @functools.cache
    def order(seed: int, epoch: int) -> np.ndarray:
        key = jax.random.key(run.seed + seed)
        return np.asarray(epoch_order(key, epoch, dataset.train.size, job.batch_size))

    def batch_fn(seed: int, step: int) -> Batch:
        epoch, place = divmod(step, per_epoch)
        index = order(seed, epoch)[place]
        return Batch(
            jnp.asarray(dataset.train.inputs[index]),
            jnp.asarray(dataset.train.targets[index]),
            jnp.asarray(index),
        )

    test = scan_learning_rates(
        step_fn,
        init_fn,
        batch_fn=batch_fn,
        min_rate=min_rate,
        max_rate=max_rate,
        steps=steps,
        seeds=seeds,
        mode="loop",
        on_step=on_step,
    )
    return LearningRateStudy(test, suggest_learning_rates(test))


def advice(suggestions: RateSuggestions, own: float) -> str:
    """Say which of the three rates to take, and why.

    On the two networks where all three were trained to the end (docs/diagnostics), the
    steepest came nearest to the best of a grid.

    Args:
        suggestions: of `find_learning_rate`.
        own: the recipe's rate.
    """
    steepest = suggestions.steepest
    if steepest.reason:
        flags = steepest.reason.replace("_", "-").replace("raise ", "raise --")
        return f"Take none of them yet: {flags.replace('lower ', 'lower --')}."
    ratio = steepest.rate / own if own else math.inf
    beside = f"The recipe's own, {own:g}, is as good: the test tells no factor of 3."
    if not 1 / 3 < ratio < 3:
        beside = f"The recipe's own is {own:g}."
    return (
        f"Take {steepest.rate:.2g}, the steepest: there the loss falls fastest, and where"
        " all three were trained to the end it came nearest to the best rate. The minimum"
        " / 10 is the careful choice, and slower; the valley often begins where the loss"
        " is still flat, far too low. It is a peak, for a rate that warms up and falls;"
        f" held constant it has to be lower. {beside}"
    )


def write_learning_rate_study(
    study: LearningRateStudy, run: RunDirectory, *, title: str = "", said: str = ""
) -> None:
    """Write range_test.json, figures/range_test.png and report.html into a directory.

    Args:
        study: of `find_learning_rate`.
        run: gets the files.
        title: of the figure and the page.
        said: above the figure on the page.
    """
    curve = {name: finite_lists(x) for name, x in study.test._asdict().items()}
    suggestions = {
        rule: {
            "rate": finite_lists(suggestion.rate),
            "standard_error_decades": finite_lists(suggestion.standard_error),
            "seeds": finite_lists(suggestion.seeds),
            "reason": suggestion.reason,
        }
        for rule, suggestion in study.suggestions._asdict().items()
    }
    run.write_json("range_test.json", curve | {"suggestions": suggestions})
    figure = plot_range_test(*study, title=title)
    with explained(run.path):
        save_figure(figure, run.path / "figures" / "range_test.png", dpi=DPI)
        write_range_page(run.path, *study, title=title, said=said)

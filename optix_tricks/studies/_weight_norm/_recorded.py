"""A training whose weight norms are recorded at every step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optix_tricks.dynamics import (
    WeightNormRecord,
    observe_weight_norms,
    weight_norm_record,
)
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    TrainState,
    create_state,
    epoch_order,
    jit,
    steps_per_epoch,
)


class RecordedTraining(NamedTuple):
    """What a recorded training left behind."""

    record: WeightNormRecord
    loss: np.ndarray  # [steps], of each batch
    test_accuracy: float
    state: TrainState  # after the last step


def record_training(
    job: Job,
    dataset: Dataset,
    *,
    steps: int,
    learning_rate: Callable[[Any], Any] | float,
    weight_decay: float,
    momentum: float,
    on_step: Callable[[int], None] = lambda step: None,
) -> RecordedTraining:
    """Train with a job's optimiser for some steps and measure every one of them.

    Args:
        job: its `tx` is the whole optimiser, which has the three numbers below.
        dataset: to train and test on.
        steps: how many; they may end within an epoch.
        learning_rate: η, a number or a schedule.
        weight_decay: λ, coupled.
        momentum: ρ; the running sum of gradients has the same, or 0.9 without momentum.
        on_step: called after each step with its number.
    """
    decay = momentum or 0.9
    tx = observe_weight_norms(
        job.tx,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        momentum=momentum,
        decay=decay,
        every=1,
    )
    step = job._replace(tx=tx).step

    @functools.partial(jit, donate_argnums=0)
    def one_step(state: TrainState, data: Batch, index: Array) -> tuple[Any, ...]:
        state, metrics = step(state, data.take(index))
        return state, (metrics["loss"], state.opt_state.norms)

    data = Batch(jnp.asarray(dataset.train.inputs), jnp.asarray(dataset.train.targets))
    size = dataset.train.size
    per_epoch = steps_per_epoch(size, job.batch_size)
    key = jax.random.key(job.seed)
    state = create_state(job.params, job.batch_stats, tx, key)
    samples = []
    for number in range(steps):
        if number % per_epoch == 0:
            order = epoch_order(key, number // per_epoch, size, job.batch_size)
        state, sample = one_step(state, data, order[number % per_epoch])
        samples.append(jax.device_get(sample))
        on_step(number)
    losses, norms = zip(*samples, strict=True)
    count = np.arange(steps)
    rate = learning_rate(count) if callable(learning_rate) else learning_rate
    record = weight_norm_record(
        norms,
        steps=count,
        learning_rate=np.asarray(rate),
        weight_decay=weight_decay,
        momentum=momentum,
        decay=decay,
    )
    tests = jax.tree.map(jnp.asarray, dataset.test)
    tested = job.make_evaluate()(state, tests)
    return RecordedTraining(record, np.asarray(losses), tested.metrics["accuracy"], state)

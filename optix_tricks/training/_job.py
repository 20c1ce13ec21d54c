"""What a recipe or a setup makes: all that a run needs, as functions and weights."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from optix_tricks._packed import unpacked
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree
from optix_tricks.training._batch import Batch
from optix_tricks.training._early_stopping import EarlyStopping
from optix_tricks.training._epoch import Evaluation, Views, make_evaluate, predicted
from optix_tricks.training._host_crop import RandomResizedCrop
from optix_tricks.training._metrics import Metric, default_metrics
from optix_tricks.training._state import Apply, TrainState, create_state
from optix_tricks.training._step import (
    Alternate,
    Augment,
    Mix,
    Step,
    make_train_step,
)

TEST_BATCH = 500


class Phase(NamedTuple):
    """Epochs, counted from 0, in which the step is that of `change(job)`.

    `change` may put other functions into a job, and none that wants another state: a
    network that stops gradients, images of another size, another loss. It gets the job
    without its weights. Where phases overlap, their changes follow each other.
    """

    epoch: int  # the first
    change: Callable[["Job"], "Job"]
    until: float = math.inf  # the first that is none of them


# `begin(state, data, on_step) -> state`: other weights and statistics, with which the
# optimiser then starts; it calls `on_step(done, of)` now and then.
Begin = Callable[[TrainState, Batch, Callable[[int, int], None]], TrainState]


class Job(NamedTuple):
    """What a recipe makes of its numbers; everything that `train` needs."""

    apply: Apply
    params: Arrays
    batch_stats: PyTree
    loss: Callable[[Array, Array], Array]  # trained on
    tx: optax.GradientTransformation
    augment: Augment | None
    epochs: float  # the last may be a fraction
    batch_size: int
    seed: int  # of shuffling and augmentation
    test_loss: Callable[[Array, Array], Array]
    test_views: Views | None = None  # of the final test
    checkpoint_every: int | str = 1  # epochs; or as "500steps" or "10min"
    mix: Mix | None = None  # of images and labels, after `augment`
    penalty: Callable[[PyTree], Array] | None = None  # of the parameters, in the loss
    alternate: Alternate | None = None  # of images, before `augment`
    tested: Callable[[TrainState], TrainState] = lambda state: state  # with an average
    packed: bool = False  # parameters and optimiser state in a few buffers
    metrics: Mapping[str, Metric] | None = None  # None: the obvious ones
    phases: tuple[Phase, ...] = ()
    stop: EarlyStopping | None = None  # by the validation loss; the best epoch is kept
    # What the validation loss of an epoch changes, such as a plateau's scale.
    observe: Callable[[TrainState, Float[Array, ""]], TrainState] | None = None
    begin: Begin | None = None  # before the first epoch
    # How often a run goes back to its last good checkpoint once a number is not finite,
    # with half the rate each time; `tx` must hold `scale_rate()`.
    restores: int = 0
    # A metric of the validation rows, by which the best checkpoint is kept: a loss or an
    # error is best where it is least, others where greatest; or as "min:perplexity".
    keep_best: str | None = None
    # Of whole pictures, on the host, where they are streamed and have many sizes.
    crop: RandomResizedCrop | None = None

    @property
    def step(self) -> Step:
        """The training step outside all phases, not yet compiled.

        One and the same of the same functions.
        """
        return _step_of(_functions(self), ())

    def step_in(self, epoch: int) -> Step:
        """Return the training step of an epoch; one and the same throughout a phase."""
        now = [phase for phase in self.phases if phase.epoch <= epoch < phase.until]
        return _step_of(_functions(self), tuple(phase.change for phase in now))

    def begun(
        self, state: TrainState, data: Batch, on_step: Callable[[int, int], None]
    ) -> TrainState:
        """Return the state from which the first epoch starts."""
        if self.begin is None:
            return state
        new = self.begin(state, data, on_step)
        start = unpacked(new.params), new.batch_stats, self.tx, new.key
        return create_state(*start, packed=self.packed)

    def counted(self, outputs: PyTree, targets: PyTree) -> Mapping[str, Metric]:
        """Return the metrics of outputs and targets like these."""
        return default_metrics(outputs, targets) if self.metrics is None else self.metrics

    def predicted(self, state: TrainState, inputs: PyTree) -> PyTree:
        """Return the outputs that are tested: from an average, of all views."""
        shown = self.tested(state)
        of_network = self.apply, shown.params, shown.batch_stats
        return predicted(*of_network, inputs, views=self.test_views)

    def make_evaluate(
        self, *, views: bool = True, confusion: bool = False, mesh: Mesh | None = None
    ) -> Callable[[TrainState, Batch], Evaluation]:
        """Build the test of a state, of one view alone if `views` is False."""
        evaluate = _evaluation_of(
            self.apply,
            self.test_loss,
            self.test_views if views else None,
            _hashable(self.metrics),
            confusion,
            mesh,
        )

        def of_state(state: TrainState, data: Batch) -> Evaluation:
            shown = self.tested(state)
            return evaluate(shown.params, shown.batch_stats, data)

        return of_state


# Functions of functions, made once: what they build is compiled once, whatever the seed.


def _functions(job: Job) -> Job:
    """What can be hashed of a job, and all that its steps are made of."""
    metrics: Any = _hashable(job.metrics)
    between: dict[str, Any] = {"phases": (), "stop": None, "observe": None, "begin": None}
    between |= {"restores": 0, "keep_best": None, "crop": None}
    weights: dict[str, Any] = {"params": None, "batch_stats": None, "seed": 0}
    return job._replace(**weights, **between, metrics=metrics)


@functools.lru_cache(maxsize=32)
def _step_of(functions: Job, changes: tuple[Callable[[Job], Job], ...]) -> Step:
    metrics: Any = functions.metrics
    job = functions._replace(metrics=None if metrics is None else dict(metrics))
    for change in changes:
        job = change(job)
    return make_train_step(
        job.apply,
        job.loss,
        job.tx,
        alternate=job.alternate,
        augment=job.augment,
        mix=job.mix,
        penalty=job.penalty,
        metrics=job.metrics,
    )


@functools.lru_cache(maxsize=16)
def _evaluation_of(
    apply: Apply,
    loss: Any,
    views: Views | None,
    metrics: tuple[tuple[str, Metric], ...] | None,
    confusion: bool,
    mesh: Mesh | None,
) -> Callable[..., Evaluation]:
    return make_evaluate(
        apply,
        loss,
        batch_size=TEST_BATCH,
        views=views,
        metrics=None if metrics is None else dict(metrics),
        confusion=confusion,
        mesh=mesh,
    )


def _hashable(
    metrics: Mapping[str, Metric] | None,
) -> tuple[tuple[str, Metric], ...] | None:
    return None if metrics is None else tuple(metrics.items())

"""What a recipe or a setup makes: all that a run needs, as functions and weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._tree import PyTree
from optix_tricks.training._batch import Batch
from optix_tricks.training._epoch import Evaluation, Views, make_evaluate, predicted
from optix_tricks.training._metrics import Metric, default_metrics
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.training._step import (
    Alternate,
    Augment,
    Mix,
    Step,
    make_train_step,
)

TEST_BATCH = 500


class Settled(NamedTuple):
    """A cheaper network function, for epochs in which some weights stay as they are.

    It stops their gradients, and what only these needed is not computed.
    """

    epoch: int  # the first of them
    apply: Apply


class Job(NamedTuple):
    """What a recipe makes of its numbers; everything that `train` needs."""

    apply: Apply
    params: PyTree
    batch_stats: PyTree
    loss: Callable[[Array, Array], Array]  # trained on
    tx: optax.GradientTransformation
    augment: Augment | None
    epochs: float  # the last may be a fraction
    batch_size: int
    seed: int  # of shuffling and augmentation
    test_loss: Callable[[Array, Array], Array]
    test_views: Views | None = None  # of the final test
    checkpoint_every: int = 1  # epochs
    mix: Mix | None = None  # of images and labels, after `augment`
    penalty: Callable[[PyTree], Array] | None = None  # of the parameters, in the loss
    alternate: Alternate | None = None  # of images, before `augment`
    tested: Callable[[TrainState], TrainState] = lambda state: state  # with an average
    packed: bool = False  # parameters and optimiser state in a few buffers
    settled: Settled | None = None  # for speed alone: `step` is right in every epoch
    metrics: Mapping[str, Metric] | None = None  # None: the obvious ones

    @property
    def step(self) -> Step:
        """The training step, not yet compiled; one and the same of the same functions."""
        return _step_of(
            self.apply,
            self.loss,
            self.tx,
            self.alternate,
            self.augment,
            self.mix,
            self.penalty,
            _hashable(self.metrics),
        )

    @property
    def settled_step(self) -> Step:
        """The training step once the job has settled, not yet compiled."""
        return (self._replace(apply=self.settled.apply) if self.settled else self).step

    def is_settled(self, epoch: int) -> bool:
        """Whether `settled_step` may be taken in this epoch."""
        return self.settled is not None and epoch >= self.settled.epoch

    def counted(self, outputs: PyTree, targets: PyTree) -> Mapping[str, Metric]:
        """Return the metrics of outputs and targets like these."""
        return default_metrics(outputs, targets) if self.metrics is None else self.metrics

    def predicted(self, state: TrainState, inputs: PyTree) -> PyTree:
        """Return the outputs that are tested: from an average, of all views."""
        shown = self.tested(state)
        of_network = self.apply, shown.params, shown.batch_stats
        return predicted(*of_network, inputs, views=self.test_views)

    def make_evaluate(
        self, *, views: bool = True
    ) -> Callable[[TrainState, Batch], Evaluation]:
        """Build the test of a state, of one view alone if `views` is False."""
        evaluate = _evaluation_of(
            self.apply,
            self.test_loss,
            self.test_views if views else None,
            _hashable(self.metrics),
        )

        def of_state(state: TrainState, data: Batch) -> Evaluation:
            shown = self.tested(state)
            return evaluate(shown.params, shown.batch_stats, data)

        return of_state


# Functions of functions, made once: what they build is compiled once, whatever the seed.


@functools.lru_cache(maxsize=16)
def _step_of(
    apply: Apply,
    loss: Any,
    tx: optax.GradientTransformation,
    alternate: Alternate | None,
    augment: Augment | None,
    mix: Mix | None,
    penalty: Any,
    metrics: tuple[tuple[str, Metric], ...] | None,
) -> Step:
    return make_train_step(
        apply,
        loss,
        tx,
        alternate=alternate,
        augment=augment,
        mix=mix,
        penalty=penalty,
        metrics=None if metrics is None else dict(metrics),
    )


@functools.lru_cache(maxsize=16)
def _evaluation_of(
    apply: Apply,
    loss: Any,
    views: Views | None,
    metrics: tuple[tuple[str, Metric], ...] | None,
) -> Callable[..., Evaluation]:
    return make_evaluate(
        apply,
        loss,
        batch_size=TEST_BATCH,
        views=views,
        metrics=None if metrics is None else dict(metrics),
    )


def _hashable(
    metrics: Mapping[str, Metric] | None,
) -> tuple[tuple[str, Metric], ...] | None:
    return None if metrics is None else tuple(metrics.items())

"""A run under way: what stays and what changes, an epoch in pieces, and its tests."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from optix_tricks.training._batch import Batch
from optix_tricks.training._checkpoint import Checkpoints
from optix_tricks.training._confusion import has_matrix
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._epoch import Evaluation
from optix_tricks.training._events import EventFile
from optix_tricks.training._feeds import Feed
from optix_tricks.training._finite import check_steps, check_tests, check_weights
from optix_tricks.training._job import Job
from optix_tricks.training._out_of_memory import memory_explained
from optix_tricks.training._profile import Profile
from optix_tricks.training._progress import Progress
from optix_tricks.training._result import (
    Rows,
    record,
    test_row,
    training_rows,
    training_rows_after,
)
from optix_tricks.training._resuming import WITHIN
from optix_tricks.training._run_devices import Placement
from optix_tricks.training._run_directory import RunDirectory
from optix_tricks.training._saving import Saving
from optix_tricks.training._speed import Speed
from optix_tricks.training._state import TrainState
from optix_tricks.training._watch import Watch

Evaluate = Callable[[TrainState, Batch], Evaluation]


class Reached(NamedTuple):
    """How far a run is."""

    state: TrainState
    watch: Watch
    done: int = 0  # epochs
    step: int = 0
    seconds: float = 0.0  # of training
    rows: Rows = ()  # of the epoch under way, or all that were read


class Tests(NamedTuple):
    """What is tested after each epoch, and at the end."""

    test: Batch
    validation: Batch | None
    evaluate: Evaluate  # after an epoch, of one view
    final: Evaluate

    @classmethod
    def of(cls, job: Job, dataset: Dataset, placed: Placement) -> "Tests":
        """Put the data where they are tested."""
        validation = dataset.validation
        final = job.make_evaluate(confusion=has_matrix(dataset), mesh=placed.mesh)
        one_view = job.make_evaluate(views=False, mesh=placed.mesh)
        return cls(
            placed.tested(dataset.test),
            None if validation is None else placed.tested(validation),
            final if job.test_views is None else one_view,
            final,
        )


class Course(NamedTuple):
    """What stays the same from a run's first step to its last."""

    job: Job
    run: RunDirectory
    settings: dict[str, Any]  # in each checkpoint
    steps: int  # of an epoch
    tests: Tests
    saving: Saving
    checkpoints: Checkpoints
    profiled: Profile
    speed: Speed


class Told(NamedTuple):
    """To whom a run is told as it goes."""

    events: EventFile | None
    progress: Progress


def save(course: Course, at: Reached, to: Checkpoints, number: int) -> None:
    """Save the state, with the settings and the time that it took."""
    check_weights(at.state, at.step)
    course.checkpoints.wait()  # processes write one checkpoint at a time
    about = {"settings": course.settings, "seconds": at.seconds}
    to.save(number, at.state, about=about)
    course.saving.is_saved()


def train_epoch(
    course: Course, told: Told, feed: Feed, at: Reached, number: int
) -> Reached:
    """Take the steps of epoch `number` that are left, and save where that is due."""
    before, length, saving = number * course.steps, feed.steps_in(number), course.saving
    at = at._replace(rows=training_rows_after(at.rows, before))
    while (first := max(at.step - before, 0)) < length:
        at = _train_piece(course, told, feed, at, number, first)
        is_whole = at.step - before == length
        check_steps(at.rows, course.run.path, is_whole=is_whole)
        is_due = saving.is_due_at(at.step)
        if saving.signal or (not is_whole and is_due):
            with Checkpoints(course.run.path / WITHIN) as within:
                save(course, at, within, at.step)
        saving.end(at.step)
    return at


def test_epoch(course: Course, told: Told, at: Reached, number: int) -> Reached:
    """Test what an epoch came to, and save it where that is due."""
    job, tests, saving = course.job, course.tests, course.saving
    done = number + 1
    epoch = min(done, job.epochs)
    place = {"step": at.step, "epoch": epoch, "seconds": at.seconds}
    state, validated = at.state, None
    if tests.validation is not None:
        found = tests.evaluate(state, tests.validation)
        validated = test_row("validation", place, found)
        record(course.run, told.events, [validated])
        if job.observe is not None:
            state = job.observe(state, jnp.asarray(validated["loss"]))
    tested = test_row("test", place, tests.evaluate(state, tests.test))
    record(course.run, told.events, [tested])
    chosen_by = [] if validated is None else [validated]
    check_tests([*chosen_by, tested], state)
    told.progress.end_epoch(number, at.rows, tested, validated)
    watch = at.watch.after(chosen_by)
    at = at._replace(state=state, watch=watch, done=done, rows=())
    course.checkpoints.best = watch.best
    last = done >= job.epochs or watch.should_stop
    if last or watch.best == done or saving.is_due_after(done):
        save(course, at, course.checkpoints, done)
    saving.end(at.step)
    return at


def _train_piece(
    course: Course, told: Told, feed: Feed, at: Reached, number: int, first: int
) -> Reached:
    """Take steps of an epoch from the one numbered `first` on, in one go."""
    of, profiled = feed.steps_in(number), course.profiled
    length = course.saving.piece(at.step, of - first, of=of)
    length = profiled.piece(at.step, length)
    start = time.perf_counter()
    with memory_explained(course.job.batch_size), profiled.around(at.step):
        state, metrics = feed.train(
            course.job.step_in(number),
            at.state,
            number,
            first,
            length,
            on_step=told.progress.on_step(number, first),
            should_stop=course.saving.is_due,
        )
    took = time.perf_counter() - start
    rows = list(training_rows(metrics, number, course.steps, first))
    record(course.run, told.events, rows)
    if not profiled.covers(at.step):  # which takes time of its own
        waits = [row["input_wait"] for row in rows if "input_wait" in row]
        course.speed.add(len(rows), took, waited=sum(waits) if waits else None)
    return at._replace(
        state=state,
        step=number * course.steps + first + len(rows),
        seconds=at.seconds + took,
        rows=[*at.rows, *rows],
    )

"""The host's side of a run: epochs, evaluation, records, checkpoints, progress."""

import math
import shutil
import time
import warnings
from typing import Any

import jax
from rich.console import Console

from optix_tricks.training._checkpoint import Checkpoints
from optix_tricks.training._course import (
    Course,
    Reached,
    Tests,
    Told,
    save,
    test_epoch,
    train_epoch,
)
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._events import events_of
from optix_tricks.training._feeds import feed_of
from optix_tricks.training._finite import NotFiniteError
from optix_tricks.training._flops import step_flops
from optix_tricks.training._going_on import gone_on
from optix_tricks.training._hosts import lost_explained, together
from optix_tricks.training._job import Job
from optix_tricks.training._layer_norms import layer_norms
from optix_tricks.training._layouts import Layout
from optix_tricks.training._orders import steps_per_epoch, total_steps
from optix_tricks.training._profile import Profile
from optix_tricks.training._progress import Progress
from optix_tricks.training._recovery import (
    RestoredRun,
    eased,
    explained_error,
    go_back,
)
from optix_tricks.training._resnet import count_parameters
from optix_tricks.training._result import Result, write_result
from optix_tricks.training._resuming import WHOLE, WITHIN, has_checkpoint
from optix_tricks.training._run_devices import Placement, check_hosts, place_run
from optix_tricks.training._run_directory import RunDirectory, read_settings
from optix_tricks.training._saving import listening
from optix_tricks.training._speed import Speed
from optix_tricks.training._state import TrainState
from optix_tricks.training._watch import Watch


def train(
    job: Job,
    dataset: Dataset,
    run: RunDirectory,
    *,
    resume: bool = False,
    devices: int | None = None,
    layout: Layout = "replicated",
    profile: int | None = None,
    console: Console | None = None,
    workers: int = 0,
) -> tuple[TrainState, Result]:
    """Train from the start, or from the run's newest checkpoint.

    After each epoch the weights are tested and, where the data have a validation split,
    validated. A job that stops ends with the weights, statistics and optimiser's state of
    its best epoch: it is then the newest checkpoint. One that keeps its best ends with
    the last, and the best is a checkpoint beside it.

    A run that was stopped and resumed ends, on the same machine, in the same bits as one
    that was not: every draw follows from the seed, the epoch and the step alone, and what
    was best from the rows.

    Args:
      job: from a recipe.
      dataset: in memory, and copied to the device once; or of `Pictures` that are
        streamed.
      run: gets metrics.jsonl, tensorboard/, checkpoints/, result.json and others.
      resume: continue from the newest checkpoint, within an epoch too, or from the start
        if there is none yet; rows past it are written anew.
      devices: over how many, of all processes, each batch is split; None takes all
        accelerators, or a CPU device of each process. A run may go on with another number
        of them: its bits then differ, and its numbers by rounding.
      layout: of the state on them, "replicated", "zero1" or "fsdp"; see
        `state_shardings`.
      profile: trace this many steps, after as many that compile, into the run's
        profile/; of several processes those of the first.
      console: of rich, where the epochs are told; None is the terminal, and
        `Console(quiet=True)` nowhere.
      workers: processes that decode what is streamed; 0 leaves it to threads. Their
        number changes no bit.

    Returns:
      The last state, or that of the best epoch, and the result.

    Raises:
      ValueError: if the job stops or keeps its best and there is no validation split, an
        epoch has not twice the steps that are profiled, or the devices do not divide the
        batch.
      NotFiniteError: if the loss or a weight is not finite; names what.
      RunError: if the disk or the device's memory is full, or the settings are not those
        of the checkpoint; names what.
      Stopped: on SIGINT, SIGTERM or SIGHUP, once the step under way is done and saved.
      CheckpointError: if no checkpoint is sound, or it is of another model.

    Warns:
      DamagedCheckpoint: if the newest is passed over for an older one.
      LostRows: if metrics.jsonl lacks rows and no more follows from them.
      RestoredRun: if the run went back to its last good checkpoint, with half the rate.
    """
    placed = place_run(job.batch_size, devices=devices, layout=layout)
    check_hosts(job, dataset)
    console = console if run.writes else Console(quiet=True)
    while True:
        try:
            with lost_explained(run.path):
                given = job, dataset, run, placed
                return _train(*given, resume, profile, console, workers)
        except NotFiniteError as error:
            bad = error.with_traceback(None)  # which holds the state and the data
        if jax.process_count() > 1:
            raise bad
        bad = explained_error(bad, job, dataset, run)
        if (said := go_back(bad, job, dataset, run)) is None:
            raise bad
        warnings.warn(said, RestoredRun, stacklevel=2)
        resume, profile = True, None  # which the first attempt has traced


def _train(
    job: Job,
    dataset: Dataset,
    run: RunDirectory,
    placed: Placement,
    resume: bool,
    profile: int | None,
    console: Console | None,
    workers: int,
) -> tuple[TrainState, Result]:
    """Train until the end, or until a number is not finite."""
    watch = Watch.start(job, dataset)
    tests = Tests.of(job, dataset, placed)
    at = Reached(placed.state(job), watch)
    sizes = dataset.train.size, job.batch_size
    steps, total = steps_per_epoch(*sizes), total_steps(job.epochs, *sizes)
    _, settings = read_settings(run.path)
    speed = Speed(job.batch_size, devices=placed.size)
    with (
        listening(job.checkpoint_every) as saving,
        Checkpoints(run.path / WHOLE) as checkpoints,
    ):
        begins = not (resume and has_checkpoint(run.path))
        if resume:
            at = gone_on(at, job, run, checkpoints, settings=settings, steps=steps)
        whole = min(steps, total)
        profiled = Profile(profile, run.path, first=at.step, epoch_steps=whole)
        about_run = job, run, settings, steps, tests
        course = Course(*about_run, saving, checkpoints, profiled, speed)
        with (
            events_of(run, from_step=at.step + 1) as events,
            Progress(job.epochs, steps, job.batch_size, console) as progress,
        ):
            told = Told(events, progress)
            if job.begin is not None and begins:
                at = _begun(course, told, at, dataset, placed)
            at = at._replace(state=eased(at.state, at.rows, job))
            given = dataset, job, placed, at.state.key
            with feed_of(*given, workers=workers) as feed:
                for number in range(at.done, math.ceil(job.epochs)):
                    if at.watch.should_stop:
                        break
                    at = train_epoch(course, told, feed, at, number)
                    at = test_epoch(course, told, at, number)
        at, result = _ended(course, at, total)
    told_of = speed.as_json(lambda: step_flops(job, at.state, dataset.train))
    _write(course, at, result, dataset, told_of)
    return at.state, result


def _begun(
    course: Course, told: Told, at: Reached, dataset: Dataset, placed: Placement
) -> Reached:
    """Do what comes before the first step, and save the state from which that starts."""
    start = time.perf_counter()
    shown = course.saving.or_end(told.progress.on_begin)
    state = placed.begun(course.job, at.state, dataset.train, shown)
    at = at._replace(state=state, seconds=time.perf_counter() - start)
    save(course, at, course.checkpoints, 0)
    return at


def _ended(course: Course, at: Reached, total: int) -> tuple[Reached, Result]:
    """Return to the best epoch where the job ends with it, and test for the last time."""
    job, tests, watch = course.job, course.tests, at.watch
    best = watch.best or at.done
    if watch.ends_with_best and watch.best is not None:
        at = at._replace(state=course.checkpoints.restore(best, at.state))
        course.checkpoints.cut(best)
    state, validation = at.state, tests.validation
    return at, Result(
        test=tests.final(state, tests.test),
        epochs=min(at.done, job.epochs),
        steps=min(at.done * course.steps, total),
        parameters=count_parameters(job.params),
        seconds=at.seconds,
        validation=None if validation is None else tests.final(state, validation),
        best_epoch=min(best, job.epochs) if watch.ends_with_best else None,
        kept_epoch=min(best, job.epochs) if job.keep_best else None,
    )


def _write(
    course: Course, at: Reached, result: Result, dataset: Dataset, speed: dict[str, Any]
) -> None:
    """Write what a run came to, and delete what only a run under way needs."""
    run = course.run
    if jax.process_count() == 1:
        norms = layer_norms(course.job.params, at.state.params)
        run.write_json("layers.json", {"layers": norms})
    write_result(run, result, speed, dataset)
    if run.writes:
        shutil.rmtree(run.path / WITHIN, ignore_errors=True)
    together("the run is written")

"""The host's side of a run: epochs, evaluation, records, checkpoints, progress."""

import functools
import math
import shutil
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from optix_tricks.training._checkpoint import Checkpoints, numbers
from optix_tricks.training._checksums import noted
from optix_tricks.training._confusion import has_matrix
from optix_tricks.training._data import Dataset
from optix_tricks.training._epoch import make_epoch
from optix_tricks.training._events import events_of
from optix_tricks.training._finite import (
    NotFiniteError,
    check_steps,
    check_tests,
    check_weights,
)
from optix_tricks.training._flops import step_flops
from optix_tricks.training._hosts import lost_explained, together
from optix_tricks.training._job import Job
from optix_tricks.training._layer_norms import layer_norms
from optix_tricks.training._orders import epoch_orders, steps_per_epoch, total_steps
from optix_tricks.training._out_of_memory import memory_explained
from optix_tricks.training._profile import Profile
from optix_tricks.training._progress import Progress
from optix_tricks.training._recovery import (
    RestoredRun,
    eased,
    explained_error,
    go_back,
)
from optix_tricks.training._resnet import count_parameters
from optix_tricks.training._result import (
    Result,
    record,
    test_row,
    training_rows,
    training_rows_after,
    write_result,
)
from optix_tricks.training._resuming import (
    WHOLE,
    WITHIN,
    check_rows,
    check_settings,
    has_checkpoint,
    newest_place,
)
from optix_tricks.training._run_devices import Placement, check_hosts, place_run
from optix_tricks.training._run_directory import RunDirectory, read_settings
from optix_tricks.training._saving import listening
from optix_tricks.training._speed import Speed
from optix_tricks.training._state import TrainState
from optix_tricks.training._watch import Watch

_epoch_of = functools.lru_cache(maxsize=16)(make_epoch)  # of a step one epoch


def train(
    job: Job,
    dataset: Dataset,
    run: RunDirectory,
    *,
    resume: bool = False,
    devices: int | None = None,
    layout: str = "replicated",
    profile: int | None = None,
    console: Console | None = None,
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
      dataset: in memory; it is copied to the device once.
      run: gets metrics.jsonl, tensorboard/, checkpoints/, result.json and others.
      resume: continue from the newest checkpoint, within an epoch too, or from the start
        if there is none yet; rows past it are written anew.
      devices: over how many, of all processes, each batch is split; None takes all
        accelerators, or a CPU device of each process. A run may go on with another number
        of them: its bits then differ, and its numbers by rounding.
      layout: of the state on them, "replicated", "zero1" or "fsdp"; see
        `state_shardings`.
      profile: trace this many steps, after as many that compile, into the run's profile/.
      console: of rich, where the epochs are told; None is the terminal, and
        `Console(quiet=True)` nowhere.

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
                return _train(job, dataset, run, placed, resume, profile, console)
        except NotFiniteError as error:
            bad = error.with_traceback(None)  # which holds the state and the data
        if jax.process_count() > 1:
            raise bad
        bad = explained_error(bad, job, dataset, run, _epoch_of)
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
) -> tuple[TrainState, Result]:
    """Train until the end, or until a number is not finite."""
    watch = Watch.start(job, dataset)
    train_data = placed.data(dataset.train)
    test_data, validation = placed.tested(dataset.test), None
    if dataset.validation is not None:
        validation = placed.tested(dataset.validation)
    final = job.make_evaluate(confusion=has_matrix(dataset), mesh=placed.mesh)
    one_view = job.make_evaluate(views=False, mesh=placed.mesh)
    evaluate = final if job.test_views is None else one_view
    state = placed.state(job)
    of_data = job.epochs, dataset.train.size, job.batch_size
    steps = steps_per_epoch(*of_data[1:])

    _, settings = read_settings(run.path)
    with (
        listening(job.checkpoint_every) as saving,
        Checkpoints(run.path / WHOLE) as checkpoints,
    ):
        done, step, seconds, rows = 0, 0, 0.0, list[dict[str, Any]]()
        speed = Speed(job.batch_size, devices=placed.size)
        begins = not (resume and has_checkpoint(run.path))
        if resume and begins:
            rows = run.cut_metrics(0)
        elif resume:
            rows = run.read_metrics()
            ended = watch.after(rows)
            if ended.has_ended(rows, job.epochs) and checkpoints.is_sound(ended.best):
                done = math.ceil(rows[-1]["epoch"])
                step = done * steps
                seconds = rows[-1]["seconds"]
            else:
                found = newest_place(run.path, steps, watch, rows)
                check_settings(run.path, found, settings)
                with Checkpoints(found.directory, read_only=True) as there:
                    state = there.restore(found.number, state)
                decide = watch.rule is not None or job.restores > 0
                check_rows(run.path, int(state.step), rows, decide=decide)
                done, step = found.epoch(steps), found.step
                seconds = noted(found.path).get("seconds", 0.0)
                together("all have read what is there")
                for directory, last in ((WHOLE, done), (WITHIN, step)):
                    if numbers(run.path / directory):
                        Checkpoints(run.path / directory).cut(last)
                rows = run.cut_metrics(step, tested=found.is_whole)
                together("what is after it is deleted")
            watch = watch.among(rows, checkpoints)
            checkpoints.best = watch.best
        whole = min(steps, total_steps(*of_data))
        profiled = Profile(profile, run.path, first=step, epoch_steps=whole)

        def save(to: Checkpoints, number: int) -> None:
            check_weights(state, step)
            checkpoints.wait()  # processes write one checkpoint at a time
            to.save(number, state, about={"settings": settings, "seconds": seconds})
            saving.is_saved()

        with (
            events_of(run, from_step=step + 1) as events,
            Progress(job.epochs, steps, job.batch_size, console) as progress,
        ):
            if job.begin is not None and begins:
                start = time.perf_counter()
                shown = saving.or_end(progress.on_begin)
                state = placed.begun(job, state, dataset.train, shown)
                seconds = time.perf_counter() - start
                save(checkpoints, 0)
            state = eased(state, rows, job)
            orders = epoch_orders(placed.key(state.key), *of_data, first=done)
            for number, order in enumerate(map(placed.order, orders), start=done):
                if watch.should_stop:
                    break
                first = max(step - number * steps, 0)
                rows = training_rows_after(rows, number * steps)
                while first < len(order):
                    length = saving.piece(step, len(order) - first, of=len(order))
                    length = profiled.piece(step, length)
                    is_all = length == len(order)
                    part = order if is_all else order[first : first + length]
                    start = time.perf_counter()
                    epoch = _epoch_of(job.step_in(number), **placed.of_epoch)
                    with memory_explained(job.batch_size), profiled.around(step):
                        state, metrics = epoch(
                            state,
                            train_data,
                            part,
                            on_step=progress.on_step(number, first),
                            should_stop=saving.is_due,
                        )
                    took = time.perf_counter() - start
                    seconds += took
                    new = list(training_rows(metrics, number, steps, first))
                    record(run, events, new)
                    rows += new
                    if not profiled.covers(step):  # which takes time of its own
                        speed.add(len(new), took)
                    first += len(new)
                    step = number * steps + first
                    is_whole = first == len(order)
                    check_steps(rows, run.path, is_whole=is_whole)
                    is_due = saving.is_due_at(step)
                    if saving.signal or (not is_whole and is_due):
                        with Checkpoints(run.path / WITHIN) as within:
                            save(within, step)
                    saving.end(step)
                done = number + 1
                place = {
                    "step": step,
                    "epoch": min(done, job.epochs),
                    "seconds": seconds,
                }
                validated = None
                if validation is not None:
                    validated = test_row("validation", place, evaluate(state, validation))
                    record(run, events, [validated])
                    if job.observe is not None:
                        state = job.observe(state, jnp.asarray(validated["loss"]))
                tested = test_row("test", place, evaluate(state, test_data))
                record(run, events, [tested])
                check_tests([*([validated] if validated else []), tested], state)
                progress.end_epoch(number, rows, tested, validated)
                watch = watch.after([validated] if validated else [])
                checkpoints.best = watch.best
                last = done >= job.epochs or watch.should_stop
                if last or watch.best == done or saving.is_due_after(done):
                    save(checkpoints, done)
                saving.end(step)
                rows = []
        best = watch.best or done
        if watch.ends_with_best and watch.best is not None:
            state = checkpoints.restore(best, state)
            checkpoints.cut(best)
        result = Result(
            test=final(state, test_data),
            epochs=min(done, job.epochs),
            steps=min(done * steps, total_steps(*of_data)),
            parameters=count_parameters(job.params),
            seconds=seconds,
            validation=None if validation is None else final(state, validation),
            best_epoch=min(best, job.epochs) if watch.ends_with_best else None,
            kept_epoch=min(best, job.epochs) if job.keep_best else None,
        )
    told = speed.as_json(lambda: step_flops(job, state, train_data))
    if jax.process_count() == 1:
        norms = layer_norms(job.params, state.params)
        run.write_json("layers.json", {"layers": norms})
    write_result(run, result, told, dataset)
    if run.writes:
        shutil.rmtree(run.path / WITHIN, ignore_errors=True)
    together("the run is written")
    return state, result

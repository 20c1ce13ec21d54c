"""Signals, and checkpoints within an epoch: a run ends in the same bits."""

import json
import signal
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.training import (
    Checkpoints,
    DamagedCheckpoint,
    RunDirectory,
    RunError,
    Stopped,
    load_params,
    make_epoch,
    train,
)
from optix_tricks.training import _feeds as feeds
from optix_tricks.training._saving import DEFAULTS, Every, Saving, every, listening
from tests.training.toy_runs import linear_job, start, toy_dataset

STEPS = 15  # of three epochs
WITHIN = "checkpoints-within"


def rows_of(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(x) | {"seconds": 0} for x in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    with start(path) as run:
        train(linear_job(), toy_dataset(), run)
    return path


def same(path, whole):
    assert rows_of(path) == rows_of(whole)
    chex.assert_trees_all_equal(load_params(path), load_params(whole))
    assert not (path / WITHIN).exists()


def resume(path, job):
    with RunDirectory.reopen(path)[0] as run:
        return train(job, toy_dataset(), run, resume=True)


@pytest.fixture
def after_step(monkeypatch):
    """Have something done after a step of a run, in an epoch of a mode."""

    def at(step, act, mode="loop"):
        def epoch_of(one_step):
            one = make_epoch(one_step, mode=mode)

            def epoch(state, data, order, *, on_step, should_stop):
                done = int(state.step)

                def asked():
                    nonlocal done
                    done += 1
                    if done == step:
                        act()
                    return should_stop()

                def shown(i):
                    on_step(i)
                    if mode == "scan" and done < step <= done + i + 1:
                        act()

                return one(state, data, order, on_step=shown, should_stop=asked)

            return epoch

        monkeypatch.setattr(feeds, "epoch_of", epoch_of)

    return at


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """A shell has what it runs in the background ignore some of them."""
    before = {x: signal.signal(x, default) for x, default in DEFAULTS.items()}
    yield
    for x, handler in before.items():
        signal.signal(x, handler)


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([*DEFAULTS, *DEFAULTS][:5], id="all"),
        *(pytest.param([x] * 5, marks=[pytest.mark.slow], id=x.name) for x in DEFAULTS),
    ],
)
def test_a_signal_ends_the_step_saves_and_loses_nothing(
    tmp_path, whole, after_step, numbers
):
    """Among the steps are the first and last of an epoch, and of the run."""
    path = tmp_path / "run"
    with start(path) as run:
        stops = zip([1, 5, 6, 9, STEPS], numbers, strict=True)
        for i, (step, number) in enumerate(stops):
            before = signal.getsignal(number)
            after_step(step, lambda number=number: signal.raise_signal(number))
            with pytest.raises(Stopped, match=f"after step {step}, which is") as stopped:
                train(linear_job(), toy_dataset(), run, resume=i > 0)
            assert (stopped.value.signal, stopped.value.step) == (number, step)
            assert signal.getsignal(number) == before
        after_step(-1, None)
        train(linear_job(), toy_dataset(), run, resume=True)
    same(path, whole)


def test_a_scanned_epoch_is_cut_where_a_save_is_asked(tmp_path, after_step):
    """The signal comes in steps 7 and 8, scanned together; all else in one program."""
    job = linear_job(checkpoint_every="4steps")
    after_step(-1, None, "scan")
    with start(tmp_path / "whole") as run:
        train(job, toy_dataset(), run)
    after_step(7, lambda: signal.raise_signal(signal.SIGTERM), "scan")
    with (
        start(tmp_path / "run") as run,
        pytest.raises(Stopped, match="after step 8"),
    ):
        train(job, toy_dataset(), run)
    after_step(-1, None, "scan")
    resume(tmp_path / "run", job)
    same(tmp_path / "run", tmp_path / "whole")


class Killed(Exception):
    pass


def kill():
    raise Killed


def test_a_killed_run_goes_on_from_within_the_epoch(tmp_path, whole, after_step):
    path, job = tmp_path / "run", linear_job(checkpoint_every="4steps")
    after_step(7, kill)
    with start(path) as run, pytest.raises(Killed):
        train(job, toy_dataset(), run)
    assert [x.name for x in (path / WITHIN).iterdir()] == ["4"]
    seen = []
    after_step(6, lambda: seen.append(6))
    resume(path, job)
    assert seen == [6]
    same(path, whole)


class Clock:
    """Forty seconds pass from one step to the next."""

    now = 0.0

    def monotonic(self):
        return self.now

    def tick(self):
        self.now += 40


def test_a_clock_saves_once_so_many_seconds_are_over(tmp_path, whole, monkeypatch):
    """After steps 3 and 8: the end of an epoch, which saves, starts it again."""
    clock, saved = Clock(), []
    monkeypatch.setattr("optix_tricks.training._saving.time", clock)
    save = Checkpoints.save

    def noted(self, number, *rest, **more):
        saved.append((self.directory.name, number))
        save(self, number, *rest, **more)

    def epoch_of(one_step):
        one = make_epoch(one_step)

        def epoch(*arguments, should_stop, **options):
            def asked():
                clock.tick()
                return should_stop()

            return one(*arguments, should_stop=asked, **options)

        return epoch

    monkeypatch.setattr(Checkpoints, "save", noted)
    monkeypatch.setattr(feeds, "epoch_of", epoch_of)
    with start(tmp_path / "run") as run:
        train(linear_job(checkpoint_every="90s"), toy_dataset(), run)
    within = [number for name, number in saved if name == WITHIN]
    assert within == [3, 8, 13]
    assert [number for name, number in saved if name != WITHIN] == [1, 2, 3]
    same(tmp_path / "run", whole)


def test_a_signal_before_the_first_step_saves_nothing_and_it_begins_again(
    tmp_path, after_step
):
    asked = []

    def begin(state, data, on_step):
        for i in range(3):
            asked.append(i)
            if len(asked) == 2:
                signal.raise_signal(signal.SIGTERM)
            on_step(i + 1, 3)
        return state._replace(params=jax.tree.map(lambda w: 2 * w, state.params))

    job = linear_job(begin=begin)
    with (
        start(tmp_path / "run") as run,
        pytest.raises(Stopped, match="before the first step") as stopped,
    ):
        train(job, toy_dataset(), run)
    assert (stopped.value.signal, asked) == (signal.SIGTERM, [0, 1])
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    resume(tmp_path / "run", job)
    assert asked == [0, 1, 0, 1, 2]
    with start(tmp_path / "whole") as run:
        train(job, toy_dataset(), run)
    same(tmp_path / "run", tmp_path / "whole")


def test_a_run_killed_before_its_first_checkpoint_begins_again(
    tmp_path, whole, after_step
):
    path = tmp_path / "run"
    after_step(3, kill)
    with start(path) as run, pytest.raises(Killed):
        train(linear_job(), toy_dataset(), run)
    after_step(-1, None)
    resume(path, linear_job())
    same(path, whole)


def test_a_damaged_one_within_an_epoch_is_passed_over(tmp_path, whole, after_step):
    path, job = tmp_path / "run", linear_job(checkpoint_every="2steps")
    after_step(10, kill)
    with start(path) as run, pytest.raises(Killed):
        train(job, toy_dataset(), run)
    assert sorted(x.name for x in (path / WITHIN).iterdir()) == ["6", "8"]
    (path / WITHIN / "8" / "default" / "manifest.ocdbt").write_bytes(b"")
    after_step(-1, None)
    said = r"checkpoint of step 8 is damaged \(manifest.ocdbt\); going on from of step 6"
    with pytest.warns(DamagedCheckpoint, match=said):
        resume(path, job)
    same(path, whole)


def test_settings_that_were_edited_are_named_one_by_one(tmp_path):
    path = tmp_path / "run"
    with start(path) as run:
        train(linear_job(epochs=1), toy_dataset(), run)
    file = path / "config.json"
    said = json.loads(file.read_text())
    for free, value in (("epochs", 9), ("checkpoint_every", "2steps"), ("data_dir", "x")):
        said["config"][free] = value
    file.write_text(json.dumps(said))
    resume(path, linear_job(epochs=2))
    said["config"]["seed"] = 4
    dict(said["config"]["tricks"])["nesterov"]["momentum"] = 0.5
    file.write_text(json.dumps(said))
    wanted = r"seed was 0 and is 4; tricks.nesterov.momentum was 0\.\d+ and is 0\.5\. Put"
    with pytest.raises(RunError, match=wanted):
        resume(path, linear_job(epochs=3))


def test_weights_that_are_not_finite_are_in_no_checkpoint(tmp_path):
    """The last update breaks them, after a loss that is finite."""
    import optax

    def at_last(updates, state, params=None):
        del params
        broken = jnp.where(state >= 9, jnp.inf, 1.0)
        return {"kernel": updates["kernel"] * broken}, state + 1

    breaks = optax.GradientTransformation(lambda params: jnp.asarray(0), at_last)
    job = linear_job(tx=optax.chain(optax.sgd(0.01), breaks), epochs=2)
    path = tmp_path / "run"
    with (
        start(path) as run,
        pytest.raises(RunError, match="params/kernel is not finite after step 10"),
    ):
        train(job, toy_dataset(), run)
    assert [x.name for x in (path / "checkpoints").iterdir()] == ["1"]
    assert np.isfinite(load_params(path)["params"]["kernel"]).all()
    assert not (path / "result.json").exists()


def test_json_has_no_nan(tmp_path):
    with start(tmp_path / "run") as run:
        run.write_json("x.json", {"a": float("nan"), "b": [1.0, (float("inf"), "c")]})
    text = (tmp_path / "run" / "x.json").read_text()
    assert json.loads(text, parse_constant=kill) == {"a": None, "b": [1.0, [None, "c"]]}


def test_a_long_epoch_of_one_program_is_cut_in_pieces(monkeypatch):
    assert Saving(1).piece(0, 5004, of=5004) == 5004  # a CPU stops after any step
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert Saving(1).piece(0, 5004, of=5004) == 100
    assert Saving(1).piece(5000, 4, of=5004) == 4
    assert Saving("30steps").piece(10, 4994, of=5004) == 20
    assert Saving(1).piece(0, 391, of=391) == 391


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (5, Every(epochs=5)),
        ("2epochs", Every(epochs=2)),
        ("500steps", Every(steps=500)),
        ("90s", Every(seconds=90)),
        ("10min", Every(seconds=600)),
        ("2h", Every(seconds=7200)),
    ],
)
def test_how_often_is_read(said, wanted):
    assert every(said) == wanted


@pytest.mark.parametrize("said", [0, -1, "0steps", "5 steps", "1e3", "1.5", "steps", ""])
def test_what_says_not_how_often_is_refused(said):
    with pytest.raises(ValueError, match=r"checkpoint_every must be epochs, as 5, or"):
        every(said)


def test_signals_are_taken_in_the_main_thread_and_where_nobody_has_them():
    found = []

    def elsewhere():
        with listening(1):
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == [signal.SIG_DFL]
        with listening(1) as saving:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            assert saving.is_due()
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)

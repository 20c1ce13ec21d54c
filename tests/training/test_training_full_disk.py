"""A disk that is full or read-only: each kind of write ends a run in one sentence.

What was written before is kept, and with room again the run ends as it would have.
"""

import resource
import sys
from types import SimpleNamespace

import chex
import jax
import optax
import pytest

from optix_tricks.training import (
    Checkpoints,
    RunDirectory,
    RunError,
    create_state,
    train,
)
from optix_tricks.training._said_once import say_errors_once
from tests.full_disk import fill, lock
from tests.training.toy_runs import linear_job, start, toy_dataset

# Files of a run by the names under which they are opened.
WRITTEN = {
    "metrics": "metrics.jsonl",
    "events": "events.*",
    "result": ".result.json.*",
    "speed": ".speed.json.*",
    "confusion": ".confusion.json.*",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with start(tmp_path_factory.mktemp("whole") / "run") as run:
        return train(linear_job(epochs=2), toy_dataset(), run)[0]


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_full_disk_ends_a_run_that_goes_on_with_room(tmp_path, whole, kind):
    said = r"^no space left on the disk of .*/run: free some and continue with --resume"
    with pytest.MonkeyPatch.context() as patch, start(tmp_path / "run") as run:
        fill(patch, WRITTEN[kind])
        with pytest.raises(RunError, match=said):
            train(linear_job(epochs=2), toy_dataset(), run)
    with RunDirectory.reopen(tmp_path / "run")[0] as run:
        state, _ = train(linear_job(epochs=2), toy_dataset(), run, resume=True)
    chex.assert_trees_all_equal(state.params, whole.params)
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.parametrize("kind", WRITTEN)
def test_so_does_one_that_is_read_only(tmp_path, kind):
    with pytest.MonkeyPatch.context() as patch, start(tmp_path / "run") as run:
        lock(patch, WRITTEN[kind])
        said = r"^cannot write to .*/run: Read-only file system\.$"
        with pytest.raises(RunError, match=said):
            train(linear_job(epochs=1), toy_dataset(), run)


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
def test_a_new_run_says_that_it_has_to_start_again(tmp_path, monkeypatch, name):
    fill(monkeypatch, f".{name}.*")
    is_run = name == "environment.json"
    way_out = "continue with --resume" if is_run else "start again"
    with pytest.raises(RunError, match=f"no space left .* free some and {way_out}"):
        start(tmp_path / "run")


def state_of(seed, size):
    kernel = jax.random.normal(jax.random.key(seed), (size,))
    return create_state({"kernel": kernel}, {}, optax.sgd(0.1), jax.random.key(0))


def test_a_checkpoint_that_outgrows_its_quota_is_one_sentence(tmp_path, capfd):
    """The kernel refuses Orbax's writers, which log pages of it, and raise it too."""
    said = f"^cannot write to {tmp_path}: File too large.$"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    small, large = state_of(0, 1000), state_of(1, 10**6)
    with Checkpoints(tmp_path / "checkpoints") as kept:
        kept.save(1, small)
        kept.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
        try:
            kept.save(2, large)
            with pytest.raises(RunError, match=said):
                kept.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capfd.readouterr().err == ""
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as kept:
        assert kept.newest_sound() == 1
        chex.assert_trees_all_equal(kept.restore(1, small).params, small.params)


def test_writers_that_fail_after_the_first_are_not_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    for _ in range(2):
        say_errors_once()
    other = SimpleNamespace(object=None, exc_value=RuntimeError("another"))
    for error in (RuntimeError("Event loop is closed"), other.exc_value):
        sys.unraisablehook(SimpleNamespace(object=None, exc_value=error))
    assert shown == [other]


def test_a_disk_that_fills_up_under_a_checkpoint_is_one_too(tmp_path, monkeypatch):
    said = (
        'RESOURCE_EXHAUSTED: Error writing "params.kernel/0.0" in OCDBT database at local'
        ' file "/run/": Failed writing: "/run/d/1": Failed to write 2648506 bytes to file'
        " 11: No space left on device [os_error_code='28']"
    )

    def full():
        raise ValueError(said)

    with Checkpoints(tmp_path / "checkpoints") as kept:
        kept.save(1, state_of(0, 10))
        kept.wait()
        with monkeypatch.context() as patch:
            patch.setattr(kept._manager, "wait_until_finished", full)
            with pytest.raises(RunError, match=r"^no space left on the disk of .*: free"):
                kept.save(2, state_of(0, 10))

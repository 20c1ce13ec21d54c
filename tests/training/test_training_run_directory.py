"""A run's directory: whose it is, how it is written, and every way it is refused."""

import errno
import json
import multiprocessing
import subprocess
import sys

import pytest

from optix_tricks.training import RunDirectory, RunError
from optix_tricks.training import _run_directory as run_directory
from tests.training.toy_runs import start


def test_a_directory_that_holds_something_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"run is not empty: continue it with --resume"):
        start(tmp_path / "run")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def _hold(path, ready, go_on):
    with start(path):
        ready.set()
        go_on.wait(30)


def test_a_directory_in_use_by_another_process_is_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run", ready, go_on))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RunError, match="in use by another process"):
            RunDirectory.reopen(tmp_path / "run")
    finally:
        go_on.set()
        other.join()
    with RunDirectory.reopen(tmp_path / "run")[0]:
        pass


def test_no_run_directory_no_resume(tmp_path):
    with pytest.raises(RunError, match=r"is not a run directory: it has no config.json"):
        RunDirectory.reopen(tmp_path)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
    first, second = ({"kind": "train", "step": i, "loss": 0.5 / i} for i in (1, 2))

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with start(tmp_path / "run") as run:
        run.append_metrics([first])
        monkeypatch.setattr(run_directory.os, "fsync", full)
        with pytest.raises(RunError, match=r"no space left .* with --resume"):
            run.append_metrics([second])
        assert run.read_metrics()[0] == first
    with pytest.raises(RunError, match=r"free some and start again; what was written"):
        raise run_directory.no_space(tmp_path)  # which is no run's, to go on with


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write to .*: Not a directory"):
        start(tmp_path / "file" / "run")


def test_files_are_written_whole_for_people_to_read(tmp_path):
    with start(tmp_path / "run") as run:
        run.write_json("result.json", {"accuracy": 0.5})
        assert (run.path / "result.json").read_text() == '{\n  "accuracy": 0.5\n}\n'
        assert not list(run.path.glob(".*.tmp"))


def test_rows_are_kept_up_to_the_step_from_which_a_run_goes_on(tmp_path):
    rows = [{"kind": "train", "step": step, "loss": 1 / step} for step in range(1, 6)]
    with start(tmp_path / "run") as run:
        assert run.cut_metrics(3) == run.read_metrics() == []
        run.append_metrics(rows[:2])
        run.append_metrics([*rows[2:], {"kind": "test", "step": 3, "loss": float("inf")}])
        kept = [*rows[:3], {"kind": "test", "step": 3, "loss": None}]
        assert run.cut_metrics(3) == run.read_metrics() == kept
        text = run.metrics_path.read_text()
        assert [json.loads(line) for line in text.splitlines()] == kept
        assert text.endswith("\n")


def test_the_environment_tells_command_and_revision(tmp_path, monkeypatch):
    """The revision of a checkout of this project, not of what it is installed within."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/optix-tricks", "train", "digits"])
    repository = tmp_path / "checkout"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=b"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    subprocess.run(
        [*git, "commit", "-q", "--allow-empty", "--no-gpg-sign", "-m", "c"], check=True
    )
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    found = {}
    for place in (".", "env", "env/lib"):
        module = repository / place / "optix_tricks" / "training" / "_run_directory.py"
        module.parent.mkdir(parents=True)
        monkeypatch.setattr(run_directory, "__file__", str(module))
        found[place] = run_directory.environment()
    assert found["."]["command"] == "optix-tricks train digits"
    assert len(head.stdout.strip()) == 40
    commits = {place: said["commit"] for place, said in found.items()}
    assert commits == {".": head.stdout.strip(), "env": None, "env/lib": None}

"""What is written into a directory is written whole, and through no link."""

import errno
import os

import pytest

from optix_tricks._files import open_to_write, own_directory, replace_file
from optix_tricks.training import Checkpoints, RunDirectory
from optix_tricks.training._events import EventFile
from optix_tricks.training._run_directory import RunError


@pytest.fixture
def elsewhere(tmp_path):
    file = tmp_path / "elsewhere"
    file.write_text("precious")
    return file


def test_a_link_is_replaced_and_not_followed(tmp_path, elsewhere):
    link = tmp_path / "page"
    link.symlink_to(elsewhere)
    replace_file(link, b"new")
    assert elsewhere.read_text() == "precious"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()


def test_a_draft_that_is_a_link_is_not_followed(tmp_path, elsewhere):
    draft = tmp_path / f".page.{os.getpid()}.tmp"
    draft.symlink_to(elsewhere)
    replace_file(tmp_path / "page", b"new")
    assert elsewhere.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "page"]


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    page = tmp_path / "page"
    page.write_bytes(b"old")

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(page, b"new", durable=True)
    assert page.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["page"]


def test_appending_through_a_link_is_refused(tmp_path, elsewhere):
    (tmp_path / "rows").symlink_to(elsewhere)
    for mode in ("a", "w"):
        with pytest.raises(OSError, match=r"rows is a symbolic link.*: remove it"):
            open_to_write(tmp_path / "rows", mode)
    assert elsewhere.read_text() == "precious"


def test_a_directory_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "figures").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="figures is a symbolic link"):
        own_directory(tmp_path / "figures")
    with pytest.raises(OSError, match="figures is a symbolic link"):
        replace_file(tmp_path / "figures" / "curves.png", b"")


def test_links_in_a_run_directory_are_refused_or_replaced(tmp_path, elsewhere):
    run = RunDirectory.start(tmp_path / "run", recipe="digits", config={})
    for name in ("metrics.jsonl", "result.json"):
        (run.path / name).symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"run: metrics\.jsonl is a symbolic link"):
        run.append_metrics([{"kind": "train", "step": 1}])
    run.write_json("result.json", {})
    run.__exit__()
    (run.path / ".lock").unlink()
    (run.path / ".lock").symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"run: \.lock is a symbolic link"):
        RunDirectory(run.path)
    (tmp_path / "other").mkdir()
    for name in ("checkpoints", "tensorboard"):
        (run.path / name).symlink_to(tmp_path / "other")
    with pytest.raises(RunError, match="run: checkpoints is a symbolic link"):
        Checkpoints(run.path / "checkpoints").__enter__()
    with pytest.raises(RunError, match="run: tensorboard is a symbolic link"):
        EventFile(run.path / "tensorboard", from_step=0)
    assert elsewhere.read_text() == "precious"
    assert os.listdir(tmp_path / "other") == []

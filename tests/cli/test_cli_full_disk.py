"""Full and read-only disks, and what lies in the way: one sentence, exit code 1."""

import errno
import os
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from optix_tricks.cli._warnings import plain_warnings
from optix_tricks.ledger import _rows, _trainings
from optix_tricks.reports import _page
from tests.cli.command import run
from tests.full_disk import fill, lock

LANDED = Path(__file__).parents[1] / "runs" / "landed"


def full(file):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL = "No space left on device: free some and give the command again."
ONLY_READ = "Read-only file system."


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Pages without figures, which take seconds to draw."""
    monkeypatch.setattr(_page, "plot_curves", lambda run, *, dark: None)
    monkeypatch.setattr(_page, "png", lambda figure: b"a figure")


@pytest.fixture
def landed(here):
    shutil.copytree(LANDED, here / "run")
    return here / "run"


@pytest.mark.parametrize("name", ["report.html", "figures/curves.png"])
@pytest.mark.parametrize(("disk", "said"), [(fill, FULL), (lock, ONLY_READ)])
def test_a_page_that_cannot_be_written(landed, capsys, monkeypatch, name, disk, said):
    (landed / name).parent.mkdir(exist_ok=True)
    (landed / name).write_bytes(b"before")
    disk(monkeypatch, f".{Path(name).name}.*")
    code, out, err = run(capsys, "report", "run")
    assert (code, out, err) == (1, "", f"error: run/{name}: {said}\n")
    assert (landed / name).read_bytes() == b"before"


def test_a_training_whose_page_cannot_be_written_has_ended(capsys, monkeypatch, here):
    flags = ["--width", "2", "--epochs", "1", "--batch-size", "512", "--run-dir", "r"]
    fill(monkeypatch, ".report.html.*")
    code, _, err = run(capsys, "train", "digits", *flags)
    assert (code, err) == (
        1,
        "error: the run has ended well, but its page cannot be written (r/report.html: No"
        " space left on device): draw it by optix-tricks report r.\n",
    )
    assert (here / "r" / "result.json").is_file()
    monkeypatch.undo()
    os.chdir(here)
    assert run(capsys, "report", "r")[::2] == (0, "")


@pytest.mark.parametrize("name", ["arguments.txt", "ledger.jsonl"])
def test_a_ledger_that_cannot_be_written(capsys, monkeypatch, name):
    """That of the rows is opened once, and without room when a row is to be written."""
    of_a_run = {"test_loss": 1.0, "diverged": False, "epochs": 1, "validation_loss": 1.0}
    monkeypatch.setattr(_trainings, "train_once", lambda *args: of_a_run)
    if name == "arguments.txt":
        fill(monkeypatch, name)
    else:
        monkeypatch.setattr(_rows.os, "fsync", full)
    words = ["sweep", "digits", "--learning-rate", "0.1,0.2", "--run-dir", "s"]
    code, _, err = run(capsys, *words, "--width", "2")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: no space left on the disk of s")


@pytest.mark.parametrize("name", ["report.html", "figures", ".lock", "config.json"])
def test_what_lies_in_the_way_of_a_report_or_a_resume(landed, capsys, name):
    shutil.rmtree(landed / name, ignore_errors=True)
    (landed / name).unlink(missing_ok=True)
    if name == "figures":
        (landed / name).write_text("a file")
    else:
        (landed / name).mkdir()
    words = ["train", "--resume"] if name == ".lock" else ["report"]
    code, _, err = run(capsys, *words, "run")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: ")
    assert "run" in err
    assert "unforeseen" not in err


ODD = {
    "": "run directory . is not empty",
    "file": "cannot write to file: Not a directory",
    "file/below": "cannot write to file/below: Not a directory",
    "a" * 300: "File name too long",
    "nul\0byte": "null byte",
    "/proc/none": "cannot write to /proc/none: No such file or directory",
    "full": "run directory full is not empty",
}


@pytest.mark.parametrize("name", ODD)
def test_a_run_directory_that_cannot_be_is_refused_in_a_sentence(here, capsys, name):
    (here / "file").write_text("a file")
    (here / "full").mkdir()
    (here / "full" / "notes").write_text("mine")
    words = ["train", "digits", "--width", "2", "--run-dir", name]
    code, _, err = run(capsys, *words)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: ")
    assert ODD[name] in err
    assert sorted(os.listdir(here)) == ["file", "full"]


@pytest.fixture
def cache():
    """JAX's settings and its cache, as they were."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[1], 0)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiled(place):
    """Compile a program with the cache in a place; return what it computes."""
    jax.config.update("jax_compilation_cache_dir", str(place))
    compilation_cache.reset_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with plain_warnings():
            first = jax.jit(lambda x: jnp.cos(x) + 0.25)(0.0)
            return float(first), float(jax.jit(lambda x: jnp.sin(x) + 0.5)(0.0))


BREAK = {
    "emptied": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: b"\xff" * len(content),
}


@pytest.mark.parametrize("how", BREAK)
def test_broken_compiled_programs_are_compiled_again(tmp_path, capsys, cache, how):
    assert compiled(tmp_path / "c") == (1.25, 0.5)
    assert capsys.readouterr().err == ""
    entries = [*(tmp_path / "c").glob("*-cache")]
    assert entries
    for entry in entries:
        entry.write_bytes(BREAK[how](entry.read_bytes()))
    assert compiled(tmp_path / "c") == (1.25, 0.5)
    err = capsys.readouterr().err
    assert err.startswith("warning: reading kept compiled programs fails (")
    assert err.count("\n") == 1


@pytest.mark.parametrize("disk", [fill, lock])
def test_a_cache_without_room_is_said_once(tmp_path, capsys, cache, monkeypatch, disk):
    disk(monkeypatch, "*-cache")
    assert compiled(tmp_path / "c") == (1.25, 0.5)
    err = capsys.readouterr().err
    assert err.startswith("warning: writing kept compiled programs fails (")
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", ["file", "/proc/none"])
def test_a_cache_that_cannot_be_made_is_said_once(here, capsys, cache, place):
    (here / "file").write_text("")
    assert compiled(place) == (1.25, 0.5)
    err = capsys.readouterr().err
    assert err.startswith("warning: reading kept compiled programs fails (")
    assert place in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("disk", [fill, lock])
def test_the_facts_of_a_program_need_not_be_kept(tmp_path, monkeypatch, disk):
    from optix_tricks.cli import _kept_facts

    zeros = dict.fromkeys(_kept_facts.Facts._fields, 0)
    facts = _kept_facts.Facts(**zeros | {"collectives": ()})
    monkeypatch.setattr(_kept_facts, "compiled_facts", lambda compiled: facts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    disk(monkeypatch, f"*.{os.getpid()}")
    assert _kept_facts.kept_facts("program", "h100", lambda: None) == facts

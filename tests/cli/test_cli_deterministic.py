"""--deterministic: what XLA is told, and that it is told before JAX starts."""

import os
import subprocess
import sys

import pytest

from optix_tricks.cli._deterministic import FLAG
from optix_tricks.cli._settings import settings_of
from optix_tricks.recipes import reconfigure
from tests.cli.command import run as command


@pytest.fixture
def flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    return lambda: os.environ["XLA_FLAGS"].split()


def test_the_flag_is_added_once_and_the_run_remembers(flags):
    run, _ = settings_of("train", ["digits"])
    assert not run.deterministic
    assert flags() == ["--xla_gpu_autotune_level=0"]
    for _ in range(2):
        run, _ = settings_of("train", ["digits", "--deterministic"])
    assert flags() == ["--xla_gpu_autotune_level=0", FLAG]
    said = run.as_json()
    assert reconfigure("r", "digits", said).deterministic
    del said["deterministic"]  # of a version before
    assert not reconfigure("r", "digits", said).deterministic


def test_a_run_that_is_resumed_tells_it_again(flags, tmp_path, capsys, monkeypatch):
    from optix_tricks.training import RunDirectory

    run, _ = settings_of("train", ["digits", "--deterministic"])
    with RunDirectory.start(tmp_path / "r", recipe="digits", config=run.as_json()):
        pass
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("optix_tricks.cli._resume.run_settings", lambda *a, **k: None)
    assert command(capsys, "train", "--resume", str(tmp_path / "r"))[0] == 0
    assert flags() == [FLAG]


def test_nothing_before_it_has_started_jax_and_xla_knows_the_flag():
    code = (
        "from optix_tricks.cli._settings import settings_of\n"
        "settings_of('train', ['digits', '--deterministic'])\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())\n"
        "import jax; print(float(jax.jit(lambda x: x + 1)(1.0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "2.0"]

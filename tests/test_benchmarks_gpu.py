"""The accelerator set: what it runs, that it can be gone on with, and that it runs."""

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import airbench, optimizer_step, resnet50, sweep, timing
from benchmarks.summary import lines

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"


def run(tmp_path, python, **variables):
    settings = {"PYTHON": str(python), "MARKS": str(tmp_path / "marks"), "TOY": "1"}
    return subprocess.run(
        [SCRIPT],
        env=os.environ | settings | {"JAX_PLATFORMS": "cpu"} | variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def recorder(tmp_path):
    """A stand-in for Python that writes down its arguments and fails where it is told."""
    script = tmp_path / "python"
    script.write_text(
        f"""#!{sys.executable} -S
import os, shlex, sys
asked = shlex.join(sys.argv[1:])
with open("{tmp_path}/calls", "a") as calls:
    print(asked, file=calls)
sys.exit(3 if os.environ["FAILS"] in asked else 0)
"""
    )
    script.chmod(0o755)
    return script


def calls(tmp_path):
    made = (tmp_path / "calls").read_text().splitlines()
    (tmp_path / "calls").unlink()
    return made


def test_what_failed_is_run_again_and_what_is_done_is_not(tmp_path, recorder):
    first = run(tmp_path, recorder, FAILS="sweep")
    assert first.returncode == 1
    assert "sweep: rc 3" in first.stdout
    made = calls(tmp_path)
    assert len(made) == 7
    assert made[-1] == "-m benchmarks.summary"

    second = run(tmp_path, recorder, FAILS="nothing")
    assert second.returncode == 0
    assert calls(tmp_path) == ["-m benchmarks.sweep --smoke", "-m benchmarks.summary"]


def test_what_is_done_is_done_in_its_mode_and_on_its_device_alone(tmp_path, recorder):
    """A toy run leaves all of the full set to be done; another card everything."""
    toy = run(tmp_path, recorder, FAILS="nothing")
    assert toy.returncode == 0
    assert len(calls(tmp_path)) == 7
    run(tmp_path, recorder, FAILS="nothing", TOY="")
    full = calls(tmp_path)
    assert len(full) == 8
    assert not any("--smoke" in call for call in full)
    run(tmp_path, recorder, FAILS="nothing", TOY="")
    assert calls(tmp_path) == ["-m benchmarks.summary"]
    (tmp_path / "bin").mkdir()
    card = tmp_path / "bin" / "nvidia-smi"
    card.write_text("#!/bin/sh\necho NVIDIA H200\n")
    card.chmod(0o755)
    path = f"{card.parent}:{os.environ['PATH']}"
    run(tmp_path, recorder, FAILS="nothing", TOY="", PATH=path)
    assert len(calls(tmp_path)) == 8


def test_data_of_the_sweep_are_there_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    sweep.digits_data.cache_clear()
    found = sweep.digits_data()
    sweep.digits_data.cache_clear()
    assert found.name == "generated/8"
    assert found.image_shape == (8, 8, 1)


def test_what_there_is_no_time_for_waits(tmp_path, recorder):
    result = run(tmp_path, recorder, FAILS="nothing", BUDGET="10")
    assert result.returncode == 0
    assert result.stdout.count("waits for the next go") == 6
    assert calls(tmp_path) == ["-m benchmarks.summary"]


class Measured(list):
    """What was asked to be measured and written, in order, in place of doing it."""

    def note(self, returned, *asked):
        self.append(asked)
        return returned


def said(setup):
    """Optimiser, number of convolutions and width of an airbench."""
    numbers = dict(setup.filled()["network"][0].numbers)
    return setup.filled()["optimizer"][0].name, numbers["convs"], numbers["width"]


@pytest.fixture
def measured(monkeypatch):
    asked = Measured()

    class Candidate:  # of optimizer_step: a process in earnest
        def begin(self, build, *args):
            self.is_copy = build is timing.copy_bandwidth
            if not self.is_copy:
                asked.append(args)

        def made(self):
            return 8 if self.is_copy else {"trace_s": 0.0, "compile_s": 0.0}

    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    monkeypatch.setattr(jax.config, "update", lambda *setting: None)
    for module in (airbench, optimizer_step, resnet50, sweep):
        saved = lambda name, rows: asked.note(name, "write", name)  # noqa: E731
        monkeypatch.setattr(module, "save", saved)
    stand_ins = {
        (airbench.cifar10, "load"): lambda data: asked.note(
            SimpleNamespace(name=data), "data", data
        ),
        (airbench, "say"): lambda recipe, row: None,
        (airbench, "measure_runs"): lambda setup, data, mode, runs: asked.note(
            {}, *said(setup), mode, runs
        ),
        (airbench, "measure_steps"): lambda setup, data, rounds: asked.note(
            {}, "steps", *said(setup)
        ),
        (airbench, "measure_peer_runs"): lambda setup, data, runs: asked.note(
            {}, "peer", *said(setup), runs
        ),
        (optimizer_step, "Candidate"): Candidate,
        (optimizer_step, "arrays_of"): lambda name: np.zeros(2),
        (optimizer_step, "take_turns"): lambda candidates, rounds: {
            name: [1.0] * rounds for name in candidates
        },
        (resnet50, "available"): lambda names: names,
        (resnet50, "show"): lambda rows: None,
        (resnet50, "measure"): lambda given, names, batch_size: asked.note(
            [{}], batch_size, given.width, given.image_size, given.stages, names
        ),
        (sweep, "cases"): lambda smoke: asked.note([], "smoke", smoke),
    }
    for (module, name), stand_in in stand_ins.items():
        monkeypatch.setattr(module, name, stand_in)
    return asked


def asked_by(command, measured, monkeypatch):
    """Run a command of the set in this process."""
    _, module, *options = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [module, *options])
    measured.clear()
    importlib.import_module(module).main()
    return list(measured)


def test_the_options_of_the_full_set_are_what_is_measured(
    tmp_path, recorder, measured, monkeypatch
):
    run(tmp_path, recorder, FAILS="nothing", TOY="")
    *commands, last = calls(tmp_path)
    assert last == "-m benchmarks.summary"
    muon, optimizer, sgd, torch, of_resnet50, airbench96, of_sweep = (
        asked_by(command, measured, monkeypatch) for command in commands
    )
    data = ("data", "generated")
    with_muon, plain = ("airbench_muon", 2), ("airbench_sgd", 2)
    long = ("airbench_sgd", 3)
    assert muon == [
        data,
        (*with_muon, 64, "loop", 30),
        (*with_muon, 64, "scan", 30),
        ("write", "airbench94_muon"),
    ]
    assert sgd == [
        data,
        ("steps", *plain, 64),
        (*plain, 64, "loop", 20),
        ("write", "airbench94"),
    ]
    assert torch == [data, ("peer", *plain, 64, 5), ("write", "airbench94_runs")]
    assert airbench96 == [data, (*long, 128, "loop", 3), ("write", "airbench96")]
    assert {arrays for arrays, *_ in optimizer[:-1]} == {"resnet50", "161 tiny"}
    assert optimizer[-1] == ("write", "optimizer_step")
    sizes = [asked[0] for asked in of_resnet50 if asked[0] != "write"]
    assert sizes == [256, 512]
    assert of_resnet50[0][-1] == ["step", "scan", "torch"]
    assert of_sweep == [("smoke", False), ("write", "sweep")]


def test_at_toy_size_little_is_measured_and_nothing_written(
    tmp_path, recorder, measured, monkeypatch
):
    run(tmp_path, recorder, FAILS="nothing")
    for command in calls(tmp_path)[:-1]:
        asked = asked_by(command, measured, monkeypatch)
        assert asked
        assert "write" not in {first for first, *_ in asked if isinstance(first, str)}
        if "airbench" in command:
            widths = {part for row in asked[1:] for part in row if part in (4, 64, 128)}
            assert widths == {4}
        if "resnet50" in command:
            assert asked == [(4, 8, 32, (1, 1, 1, 1), asked[0][-1])]


def test_summary_says_what_a_run_came_to():
    row = {
        "kind": "run",
        "recipe": "r",
        "data": "cifar10",
        "mode": "scan",
        "mean_s": 1.5,
        "min_s": 1.25,
        "accuracy": 0.9401,
        "accuracy_error": 0.0003,
        "runs": 20,
        "warm_up_s": 40.4,
    }
    (line,) = lines({"benchmark": "airbench", "rows": [row]})
    assert line == (
        "r on cifar10, scan: 1.500 s (least 1.250), 94.01% +- 0.03%, n = 20; warm-up 40 s"
    )


@pytest.mark.slow
def test_the_whole_set_runs_at_toy_size(tmp_path):
    result = run(tmp_path, sys.executable, BUDGET="1500")
    assert result.returncode == 0, result.stdout
    assert result.stdout.count(": done at") == 6

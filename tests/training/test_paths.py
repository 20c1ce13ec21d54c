"""Whatever takes a path takes a str and anything else that is one."""

import dataclasses
import inspect
import os
import types
import typing
from importlib import import_module
from pathlib import Path

import numpy as np
import optax
import pytest

from optix_tricks.recipes import new_run, reconfigure
from optix_tricks.reports import read_run, write_report
from optix_tricks.studies import sweep_learning_rates
from optix_tricks.studies._weight_norm._trainings import load_record
from optix_tricks.training import (
    Checkpoints,
    RunDirectory,
    RunError,
    create_state,
    load_dataset,
    load_params,
)
from optix_tricks.training._events import EventFile
from optix_tricks.training._run_directory import check_new

ROOT = Path(inspect.getfile(import_module("optix_tricks"))).parent
ROOMS = ("training", "recipes", "reports", "studies")


class Somewhere(os.PathLike):
    """A path that is neither str nor Path."""

    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


def functions(room):
    """Every public function and method of a room; a dataclass's fields are JSON."""
    for file in sorted((ROOT / room).rglob("*.py")):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue  # what is public of it stands in an __init__
        module = import_module(".".join(parts).removesuffix(".__init__"))
        for name, kind in vars(module).items():
            own = getattr(kind, "__module__", "").startswith(f"optix_tricks.{room}")
            if name.startswith("_") or not own or dataclasses.is_dataclass(kind):
                continue
            members = vars(kind) if inspect.isclass(kind) else {name: kind}
            for member, value in members.items():
                function = inspect.unwrap(getattr(value, "__func__", value))
                public = not member.startswith("_") or member == "__init__"
                if public and inspect.isfunction(function):
                    yield function


@pytest.mark.parametrize("room", ROOMS)
def test_every_signature_with_a_path_takes_all_of_them(room):
    seen = 0
    for function in functions(room):
        for name, kind in typing.get_type_hints(function).items():
            union = typing.get_origin(kind) in (types.UnionType, typing.Union)
            kinds = typing.get_args(kind) if union else [kind]
            parts = {typing.get_origin(x) or x for x in kinds}
            named = name in ("path", "directory", "data_dir")
            if named or (name != "return" and Path in parts):
                assert {str, os.PathLike} <= parts, f"{function.__qualname__}: {name}"
                seen += 1
    assert seen


@pytest.mark.parametrize("as_path", [str, Path, Somewhere])
def test_a_run_is_made_opened_read_and_reported_by_any_path(tmp_path, as_path):
    path = tmp_path / "run"
    check_new(as_path(path))
    with RunDirectory.start(
        as_path(path),
        recipe="digits",
        config=new_run("digits").from_directory(as_path("a")).as_json(),
    ) as run:
        assert run.path == path
        run.append_metrics([{"kind": "train", "step": 1, "loss": 0.5}])
        with EventFile(as_path(path / "tensorboard"), from_step=1):
            pass
    run, recipe, fields = RunDirectory.reopen(as_path(path))
    with run:
        assert reconfigure(as_path(path), recipe, fields).data_dir == "a"
    with pytest.raises(RunError, match=r"cannot rebuild"):
        reconfigure(as_path(path), recipe, {"nonsense": 1})
    with pytest.raises(RunError, match="is not empty"):
        check_new(as_path(path))
    assert read_run(as_path(path)).recipe == "digits"
    assert write_report(as_path(path)) == path / "report.html"


def test_checkpoints_records_and_data_are_read_by_any_path(tmp_path):
    import jax

    params = {"kernel": np.ones(2, np.float32)}
    state = create_state(params, {}, optax.sgd(0.1), jax.random.key(0))
    directory = tmp_path / "checkpoints"
    with Checkpoints(Somewhere(directory)) as checkpoints:
        checkpoints.save(1, state)
    labels = np.arange(2)
    images = np.zeros((2, 4, 4, 1), np.uint8)
    np.savez(
        tmp_path / "mine.npz",
        **{f"{split}_images": images for split in ("train", "test")},
        **{f"{split}_labels": labels for split in ("train", "test")},
    )
    for as_path in (str, Path, Somewhere):
        loaded = load_params(as_path(tmp_path))
        np.testing.assert_array_equal(loaded["params"]["kernel"], params["kernel"])
        dataset = load_dataset(as_path(tmp_path / "mine.npz"))
        assert dataset.num_classes == 2
        swept = sweep_learning_rates(
            lambda rate, seed: None,
            dataset,
            rates=[],
            seeds=[],
            path=as_path(tmp_path / "a"),
        )
        assert swept.rates.shape == (0,)
        with pytest.raises(FileNotFoundError, match="nothing"):
            load_record(as_path(tmp_path / "nothing.npz"))

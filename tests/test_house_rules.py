"""Rules of the house, checked by reading the code."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import optix_tricks

ROOT = Path(optix_tricks.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A room may import the rooms of lower levels; siblings only themselves.
LEVELS = {
    "_extras": 0,
    "_files": 0,
    "_nearest": 0,
    "_rows": 0,
    "_hyperparams": 0,
    "_paths": 0,
    "_predicates": 0,
    "_checks": 1,
    "_kinds": 1,
    "_tree": 1,
    "_arguments": 2,
    "_storage": 2,
    "_layout": 2,
    "_masks": 3,
    "_packed": 4,
    "_slots": 5,
    "_leafwise": 6,
    "schedules": 7,
    "transforms": 7,
    "losses": 7,
    "augment": 7,
    "_public": 8,
    "compat": 8,
    "layers": 8,
    "dynamics": 9,
    "initializers": 10,
    "training": 11,
    "tricks": 12,
    "ahead": 12,
    "recipes": 13,
    "reports": 13,
    "runs": 14,
    "ledger": 15,
    "studies": 15,
    "cli": 16,
    "testing": 16,
    "__main__": 17,
}
ALLOWED = {
    "flax": {
        "layers",
        "dynamics",
        "initializers",
        "training",
        "tricks",
        "recipes",
        "studies",
        "testing",
    },
    "equinox": {"testing"},
    "hypothesis": {"testing"},
    "pytest": {"testing"},
    "chex": set(),
    "matfree": {"dynamics"},
    "tensorflow_datasets": {"training"},
    "grain": {"training"},
    "sklearn": {"training"},
    "orbax": {"training", "testing"},
    "tensorboardX": set(),
    "rich": {"training", "cli"},
    "matplotlib": {"reports"},
    "tyro": {"cli"},
    "safetensors": {"runs"},
    "torch": set(),
    "tensorflow": set(),
}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "needed":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_to_lower_rooms(path):
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "optix_tricks" and len(parts) > 1 and parts[1] in LEVELS:
            there = parts[1]
            assert there == here or LEVELS[there] < LEVELS[here], f"{here} -> {there}"
        elif parts[0] in ALLOWED:
            assert here in ALLOWED[parts[0]], f"{here} imports {parts[0]}"
        if parts[0] == "optax":
            assert "_src" not in parts, "Optax's private modules change without notice"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_and_no_grab_bags(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in ("utils", "common", "misc", "helpers")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_private_and_its_room_exports_the_names(path):
    """A recipe alone is a module that one names; of all else one names what it holds."""
    assert path.stem.startswith("_") or room(path) == "recipes"
    here = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        package, _, imported = name.rpartition(".")
        room_of_it, _, module = package.rpartition("._")
        if module and "." in room_of_it and room_of_it.split(".")[1] != here:
            exported = importlib.import_module(room_of_it).__dict__
            assert imported not in exported.get("__all__", ()), f"{name}: skip _{module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_below_the_loop_prints_or_configures_jax(path):
    if room(path) in ("cli", "reports"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print"
            assert called != "jax.config.update"


def test_importing_the_package_is_light():
    heavy = ["flax", "tensorflow_datasets", "tensorflow", "grain", "matplotlib"]
    heavy += ["sklearn", "tensorboardX", "orbax", "torch", "pytest", "hypothesis"]
    code = (
        "import sys, optix_tricks, optix_tricks.schedules, optix_tricks.losses\n"
        "import optix_tricks.augment, optix_tricks.compat.torch\n"
        "import optix_tricks.compat.tf1, optix_tricks.testing, optix_tricks.cli\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_training_from_arrays_needs_neither_tfds_nor_scikit_learn():
    code = (
        "import sys\n"
        "for name in ('tensorflow_datasets', 'grain', 'sklearn', 'array_record'):\n"
        "    sys.modules[name] = None\n"
        "import optix_tricks.training, optix_tricks.recipes\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_starts_no_backend():
    code = (
        "import optix_tricks, optix_tricks.augment, optix_tricks.schedules\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_every_public_name_is_documented_with_an_example():
    for name in optix_tricks.__all__:
        doc = getattr(optix_tricks, name).__doc__
        assert doc, name


def test_the_package_imports_jax_only_for_its_first_name():
    code = (
        "import sys, optix_tricks, optix_tricks._nearest\n"
        "before = 'jax' in sys.modules\n"
        "optix_tricks.sgd\n"
        "whole = {*optix_tricks.__all__} <= {*dir(optix_tricks)}\n"
        "print(before, 'jax' in sys.modules, whole)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False True True"


def test_what_is_called_dear_is_there():
    for line in (ROOT.parent / "tests" / "dear.txt").read_text().splitlines():
        path, _, name = line.split()[1].partition("::")
        last = re.split(r"::|\.", name)[-1]  # of a doctest what it documents
        assert re.search(rf"(def|class) {last}\b", (ROOT.parent / path).read_text())

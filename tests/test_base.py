"""What the base alone serves, and what it says where an extra is wanted."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from base_rooms import ROOMS

from optix_tricks import _extras

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "base_rooms.py"
USED = f"used {' '.join(ROOMS)}"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_room_of_the_base_works_where_the_extras_are_refused():
    assert run(sys.executable, PROGRAM, "blocked") == USED


@pytest.mark.slow
def test_each_room_of_the_base_works_where_the_base_alone_is_installed(tmp_path):
    builder, built = tmp_path / "builder", tmp_path / "built"
    run(sys.executable, "-m", "pip", "install", "--target", builder, "hatchling")
    by_it = {"PATH": os.environ["PATH"], "PYTHONPATH": str(builder)}
    build = (sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", built)
    run(*build, cwd=ROOT, env=by_it)
    venv.create(tmp_path / "fresh", with_pip=True)
    fresh, (source,) = tmp_path / "fresh" / "bin", built.glob("*.tar.gz")
    run(fresh / "python", "-m", "pip", "wheel", "--no-deps", "-w", built, source)
    run(fresh / "python", "-m", "pip", "install", *built.glob("*.whl"))
    inherited = {"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"}
    assert run(fresh / "python", PROGRAM, cwd=tmp_path, env=inherited) == USED
    command = subprocess.run(
        [fresh / "optix-tricks", "train", "digits"], capture_output=True, env=inherited
    )
    assert command.returncode == 1
    said = b"error: tyro is not installed: pip install 'optix_tricks[train]'.\n"
    assert command.stderr == said


def test_the_rooms_of_the_base_are_those_of_the_readme():
    install = (ROOT / "README.md").read_text().partition("## As a library")[2]
    assert [name for name in ROOMS if f"`{name}`" not in install.partition("##")[0]] == []


def test_every_module_of_an_extra_is_brought_by_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {
        "PIL": "pillow",
        "array_record": "array-record",
        "importlib_resources": "importlib-resources",
        "jax_cuda13_plugin": "jax-cuda13-plugin",
        "libtpu": "jax[tpu]",
        "sklearn": "scikit-learn",
        "tensorflow_datasets": "tensorflow-datasets",
    }
    for extra, modules in _extras.MODULES.items():
        wanted = project["optional-dependencies"][extra]
        for module in modules:
            package = packages.get(module, module)
            assert any(line.startswith(package) for line in wanted), (extra, module)
    assert "optix_tricks[train]" in project["optional-dependencies"]["test"]

"""An exported run gives its predictions where there is JAX and no optix_tricks."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors import safe_open

from optix_tricks import __version__
from optix_tricks._paths import named_leaves
from optix_tricks.runs import load_run
from optix_tricks.training import RunError
from tests.runs.trained import checkpoint, numbers
from tests.tricks.toys import images

ELSEWHERE = """\
import sys
for name in ("optix_tricks", "flax", "optax", "orbax"):
    sys.modules[name] = None
import jax, numpy as np
from pathlib import Path
from safetensors.numpy import load_file
here = Path(sys.argv[1])
predict = jax.export.deserialize((here / "predict.jax_export").read_bytes())
given = dict(np.load(here / "inputs.npz"))
for count in (1, 3, 7):
    some = {name: x[:count] for name, x in given.items()}
    np.save(here / f"{count}.npy", predict.call(some.get("images", some)))
np.savez(here / "weights.npz", **load_file(here / "weights.safetensors"))
"""


@pytest.mark.parametrize("name", ["averaged", "numbers"])
def test_the_function_and_the_weights_serve_without_us(name, runs, tmp_path):
    run = load_run(getattr(runs, name))
    here = run.export(tmp_path / "made" / "here")
    assert {file.name for file in here.iterdir()} == {
        "predict.jax_export",
        "weights.safetensors",
        "export.json",
    }
    inputs = {"images": images(7, seed=5).inputs}
    if name == "numbers":
        inputs = {name: x[:7] for name, x in numbers(5).test.inputs.items()}
    np.savez(here / "inputs.npz", **inputs)
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(here)], check=True)
    for count in (1, 3, 7):
        some = {name: x[:count] for name, x in inputs.items()}
        want = run.predict(some.get("images", some))
        np.testing.assert_allclose(
            np.load(here / f"{count}.npy"), want, rtol=1e-6, atol=1e-6
        )
    tested = {"params": run.tested.params, "batch_stats": run.tested.batch_stats}
    wanted = {leaf.name: leaf.value for leaf in named_leaves(tested)}
    found = np.load(here / "weights.npz")
    assert {*found} == wanted.keys()
    for path, want in wanted.items():
        np.testing.assert_array_equal(found[path], want)


def test_weights_are_those_of_the_checkpoint_and_say_whose(runs, tmp_path):
    load_run(runs.plain).export(tmp_path)
    arrays = checkpoint(runs.plain, 2)
    wanted = {
        f"{tree}/{leaf.name}": leaf.value
        for tree in ("params", "batch_stats")
        for leaf in named_leaves(arrays[tree])
    }
    with safe_open(tmp_path / "weights.safetensors", "numpy") as file:
        metadata, found = file.metadata(), file.get_tensors()
    assert found.keys() == wanted.keys()
    assert "batch_stats/stem/norm/mean" in found
    for name, want in wanted.items():
        np.testing.assert_array_equal(found[name], want)
        assert found[name].dtype == want.dtype
    assert metadata == {
        "recipe": str(runs.plain.with_suffix(".py")),
        "class_names": '["a", "b", "c"]',
        "optix_tricks": __version__,
    }


def test_a_file_says_what_is_what(runs, tmp_path):
    load_run(runs.numbers).export(tmp_path)
    told = json.loads((tmp_path / "export.json").read_text())
    assert told["inputs"] == {"kind": "int32[n]", "x": "float32[n, 3]"}
    assert told["outputs"] == "float32[n]"
    assert told["platforms"] == ["cpu", "cuda", "tpu"]
    assert told["files"].keys() == {"predict.jax_export", "weights.safetensors"}
    assert told["result"] == json.loads((runs.numbers / "result.json").read_text())
    content = (tmp_path / "predict.jax_export").read_bytes()
    assert jax.export.deserialize(content).platforms == ("cpu", "cuda", "tpu")


def test_views_that_count_the_examples_are_exported_for_one_number(runs, tmp_path):
    run = load_run(runs.plain)
    restored = run.restored
    job = restored.job._replace(
        test_views=lambda predict, x: predict(x[: len(x)]),
    )
    run = type(run)(restored._replace(job=job))
    with pytest.raises(ValueError, match=r"any number of examples, .* give one by batch"):
        run.export(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    run.export(tmp_path / "a", batch_size=4)
    content = (tmp_path / "a" / "predict.jax_export").read_bytes()
    some = images(4, seed=5).inputs
    found = jax.export.deserialize(content).call(some)
    np.testing.assert_allclose(found, run.predict(some), rtol=1e-6, atol=1e-6)
    with pytest.raises(RunError, match="a is not empty: name another directory"):
        run.export(tmp_path / "a")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        run.export(tmp_path / "b", batch_size=0)


@pytest.mark.parametrize("name", ["safetensors", "flatbuffers"])
def test_what_is_not_installed_is_said_with_the_command_that_does_it(
    name, runs, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"needs {name}, .*: pip install 'optix_tricks\[export\]'\."
    with pytest.raises(RunError, match=message):
        load_run(runs.plain).export(tmp_path / "a")
    assert not (tmp_path / "a").exists()

"""A function of inputs as JAX's own file, and weights as safetensors."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from optix_tricks._checks import check_count
from optix_tricks._extras import pip_line
from optix_tricks._files import replace_file
from optix_tricks._packed import unpacked
from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training import RunError
from optix_tricks.training._run_directory import explained

PLATFORMS = ("cpu", "cuda", "tpu")
FUNCTION, WEIGHTS, FACTS = "predict.jax_export", "weights.safetensors", "export.json"


def write_export(
    path: Path,
    *,
    predict: Callable[[PyTree], PyTree],
    inputs: PyTree,
    weights: dict[str, PyTree],
    batch_size: int | None,
    facts: dict[str, Any],
) -> Path:
    """Write a function of inputs like these and its weights; see `TrainedRun.export`."""
    from optix_tricks import __version__

    save = _safetensors()
    _check_empty(path)
    exported = _exported(predict, inputs, batch_size)
    trees = {name: unpacked(tree) for name, tree in weights.items()}
    arrays = {
        leaf.name: np.asarray(leaf.value, order="C") for leaf in named_leaves(trees)
    }
    metadata = {
        "recipe": facts["recipe"],
        "class_names": json.dumps(facts["class_names"]),
        "optix_tricks": __version__,
    }
    told = {
        "files": {
            FUNCTION: "jax.export.deserialize(content).call(inputs) gives the outputs;"
            " preprocessing, weights and views are inside",
            WEIGHTS: "the same weights and batch statistics, by their paths",
        },
        **facts,
        "optix_tricks": __version__,
        "jax": jax.__version__,
        "platforms": exported.platforms,
        "inputs": _shapes(exported.in_tree, exported.in_avals)[0][0],
        "outputs": _shapes(exported.out_tree, exported.out_avals),
    }
    content = {
        FUNCTION: bytes(exported.serialize()),
        WEIGHTS: save(arrays, metadata),
        FACTS: (json.dumps(told, indent=2) + "\n").encode(),
    }
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        for name, written in content.items():
            replace_file(path / name, written)
    return path


def _exported(
    predict: Callable[[PyTree], PyTree], inputs: PyTree, batch_size: int | None
) -> export.Exported:
    if batch_size is not None:
        check_count("batch_size", batch_size, minimum=1)
    (size,) = (batch_size,) if batch_size else export.symbolic_shape("n")
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype), inputs
    )
    try:
        return export.export(jax.jit(predict), platforms=PLATFORMS)(like)
    except Exception as error:
        if batch_size:
            raise
        first_line = str(error).strip().partition("\n")[0].rstrip(".")
        reason = f"{type(error).__name__}: {first_line}"
        raise ValueError(
            "the run cannot be exported for any number of examples, as its network or"
            f" its views compute with it in Python ({reason}); give one by batch_size."
        ) from error


def _safetensors() -> Callable[..., bytes]:
    for name in ("flatbuffers", "safetensors"):  # the first is what `jax.export` needs
        if importlib.util.find_spec(name) is None:
            raise RunError(
                f"an export needs {name}, which is not installed: {pip_line(name)}."
            )
    import safetensors.numpy

    return safetensors.numpy.save


def _check_empty(path: Path) -> None:
    with explained(path):
        if path.exists() and any(path.iterdir()):
            raise RunError(f"{path} is not empty: name another directory.")


def _shapes(structure: Any, avals: Any) -> Any:
    """The same tree in JSON: dtype and shape as text."""
    named = [f"{x.dtype}[{', '.join(map(str, x.shape))}]" for x in avals]
    return jax.tree.unflatten(structure, named)

"""`optix-tricks predict`."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from optix_tricks._tree import PyTree
from optix_tricks.cli._files import read_examples
from optix_tricks.cli._options import UsageError

TOP = 3


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What predicts, and of what."""

    run: tyro.conf.Positional[Path]
    """a run's directory, with a checkpoint"""
    files: tyro.conf.Positional[tuple[Path, ...]]
    """pictures, or .npy and .npz files of examples"""
    json: bool = False
    """print a line of JSON for each file"""
    data_dir: str | None = None
    """where the run's data are, if not where they were"""
    checkpoint: str = "newest"
    """newest; best, of a run with --keep-best; or the number of an epoch"""
    debug: bool = False
    """show the traceback of an error"""


def predict(arguments: list[str]) -> None:
    """Say of each example the three likeliest classes, or the numbers.

    Of a picture the largest part in the middle of the shape of the run's images is taken,
    and scaled to their size by a bilinear filter that averages.
    """
    options = tyro.cli(
        PredictOptions,
        prog="optix-tricks predict",
        description=predict.__doc__,
        args=arguments,
    )
    if not options.files:
        raise UsageError("predict needs files: pictures, .npy or .npz.")
    for file in options.files:
        if not file.is_file():
            raise UsageError(f"there is no file {file}.")
    from optix_tricks.runs import load_run

    run = load_run(options.run, data_dir=options.data_dir, checkpoint=options.checkpoint)
    answer = _answering(run)
    for file, outputs, is_many in _predicted(run, options.files):
        count = len(jax.tree.leaves(outputs)[0])
        answers = [answer(_part(outputs, i)) for i in range(count)]
        if options.json:
            print(json.dumps({"file": str(file), "examples": answers}))
            continue
        for place, each in enumerate(answers):
            print(f"{file}[{place}]" if is_many else file, _text(each), sep="  ")


def _predicted(run: Any, files: tuple[Path, ...]) -> Iterator[tuple[Path, PyTree, bool]]:
    """Yield each file, the outputs of its examples, and whether it may hold many.

    As many files as a batch of the test has examples are read and predicted at once.
    """
    from optix_tricks.runs._fitting import fitting
    from optix_tricks.training._job import TEST_BATCH

    like = run.dataset.train.inputs
    for start in range(0, len(files), TEST_BATCH):
        read = []
        for file in files[start : start + TEST_BATCH]:
            tree, is_many = read_examples(file, like)
            read.append((file, fitting(str(file), tree, like), is_many))
        together = jax.tree.map(lambda *xs: np.concatenate(xs), *(x for _, x, _ in read))
        outputs, at = run.predict(together), 0
        for file, tree, is_many in read:
            own = slice(at, at + len(jax.tree.leaves(tree)[0]))
            yield file, _part(outputs, own), is_many
            at = own.stop


def _part(tree: PyTree, index: int | slice) -> PyTree:
    return jax.tree.map(lambda x: x[index], tree)


def _answering(run: Any) -> Callable[[PyTree], dict[str, Any]]:
    """Return what is made of the outputs of one example."""
    from optix_tricks.tricks import Context
    from optix_tricks.tricks._targets import kind_of

    kind = kind_of(Context(run.dataset, run.job.epochs, run.job.batch_size))
    names = run.class_names
    share = {"classes": _softmax, "dense": _softmax, "labels": _sigmoid}.get(kind)

    def answer(outputs: PyTree) -> dict[str, Any]:
        if share is None or getattr(outputs, "shape", None) != (len(names),):
            return {"output": jax.tree.map(lambda y: y.tolist(), outputs)}
        p = share(outputs.astype(np.float64))
        top = np.argsort(-p, kind="stable")[:TOP]
        return {"classes": [{"name": names[i], "probability": p[i]} for i in top]}

    return answer


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - np.max(logits))
    return powers / np.sum(powers)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _text(answer: dict[str, Any]) -> str:
    if "classes" in answer:
        shares = [f"{x['name']} {x['probability']:.1%}" for x in answer["classes"]]
        return "  ".join(shares)
    return json.dumps(answer["output"])

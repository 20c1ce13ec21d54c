"""What a run's network says of files of examples, and how that is said."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optix_tricks._tree import PyTree
from optix_tricks.cli._files import read_examples

TOP = 3


def predicted(run: Any, files: tuple[Path, ...]) -> Iterator[tuple[Path, PyTree, bool]]:
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
            yield file, part_of(outputs, own), is_many
            at = own.stop


def part_of(tree: PyTree, index: int | slice) -> PyTree:
    return jax.tree.map(lambda x: x[index], tree)


def answering(run: Any) -> Callable[[PyTree], dict[str, Any]]:
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


def text_of(answer: dict[str, Any]) -> str:
    if "classes" in answer:
        shares = [f"{x['name']} {x['probability']:.1%}" for x in answer["classes"]]
        return "  ".join(shares)
    return json.dumps(answer["output"])

"""Arrays of anybody's, held against the data that a run was trained on."""

from typing import Any

import jax
import numpy as np

from optix_tricks._tree import PyTree
from optix_tricks.training import Batch, Dataset


def fitting(name: str, tree: PyTree, like: PyTree) -> PyTree:
    """Return arrays [n, ...] as NumPy has them, in the dtypes of `like`.

    Raises:
      ValueError: if structure, shapes or dtypes are not those of `like`, but for the
        first axis and what NumPy casts without a change of kind; or n is 0.
    """
    structure: Any
    given, structure = jax.tree.flatten(tree)
    wanted, own = jax.tree.flatten(like)
    arrays = [np.asarray(x) for x in given]
    fits = structure == own and all(
        x.ndim and x.shape[1:] == w.shape[1:] and _is_castable(x.dtype, w.dtype)
        for x, w in zip(arrays, wanted, strict=True)
    )
    if not fits or len({len(x) for x in arrays}) > 1:
        raise ValueError(
            f"{name} must be {described(like, 'n')}, as in the run's data, got"
            f" {described(jax.tree.unflatten(structure, arrays))}."
        )
    if not len(arrays[0]):
        raise ValueError(f"{name} must hold at least one example, got none.")
    cast = [x.astype(w.dtype, copy=False) for x, w in zip(arrays, wanted, strict=True)]
    return jax.tree.unflatten(structure, cast)


def described(tree: PyTree, first: str | None = None) -> str:
    """Return shapes and dtypes as text, with a word for the first axis if there is one.

    >>> described({"x": np.zeros((2, 3), np.uint8)}, "n")
    "{'x': 'uint8[n, 3]'}"
    """

    def one(x: np.ndarray) -> str:
        sizes = [first, *x.shape[1:]] if first else x.shape
        return f"{x.dtype}[{', '.join(map(str, sizes))}]"

    return str(jax.tree.map(one, tree))


def tested_on(data: Dataset | Batch, own: Dataset) -> Batch:
    """Return the examples to test on, in the form of the run's own.

    Raises:
      ValueError: if they are of another form, or of classes that the run does not have.
    """
    if isinstance(data, Dataset):
        _check_names(data, own)
        data = data.test
    inputs = fitting("inputs", data.inputs, own.test.inputs)
    targets = fitting("targets", data.targets, own.test.targets)
    if len(jax.tree.leaves(targets)[0]) != len(jax.tree.leaves(inputs)[0]):
        raise ValueError(
            f"targets must be as many as the inputs, got {described(targets)} for"
            f" {described(inputs)}."
        )
    if own.class_names and data.weights is None:
        _check_classes(targets, own.num_classes)
    return Batch(inputs, targets, weights=data.weights)


def _is_castable(given: Any, wanted: Any) -> bool:
    return given == wanted or np.can_cast(given, wanted, "same_kind")


def _check_names(data: Dataset, own: Dataset) -> None:
    """Classes without names are numbers, and may be any."""
    unnamed = tuple(map(str, range(data.num_classes)))
    for place, name in enumerate(data.class_names):
        known = own.class_names[place] if place < own.num_classes else None
        if name != known and (known is None or data.class_names != unnamed):
            raise ValueError(
                f"data set {data.name!r} has {name!r} for class {place}, where the run,"
                f" of {own.name!r}, has {known or 'none'}: test on data of its classes."
            )


def _check_classes(targets: PyTree, classes: int) -> None:
    is_one_each = hasattr(targets, "ndim") and targets.ndim == 1
    if not is_one_each or not np.issubdtype(targets.dtype, np.integer):
        return
    unknown = targets[(targets < 0) | (targets >= classes)]
    if len(unknown):
        raise ValueError(
            f"targets must be classes of the run, 0 to {classes - 1}, got {unknown[0]}."
        )

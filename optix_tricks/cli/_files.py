"""Files of examples: pictures, and NumPy's arrays."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree

CHANNELS = {1: "L", 3: "RGB"}


def read_examples(path: Path, like: PyTree) -> tuple[PyTree, bool]:
    """Return the examples of a file in the tree of `like`, and whether it may hold many.

    A .npy or .npz file has arrays [n, ...] or one example's; any other is a picture of
    the size of the images.

    Raises:
      DataError: if it cannot be read as what is wanted.
    """
    from optix_tricks.training._dataset import explained

    way_out = "give a PNG, a JPEG, a .npy or a .npz file"
    with explained(f"{path} cannot be read", way_out):
        if path.suffix not in (".npy", ".npz"):
            return _picture(path, like)[None], False
        tree = _arrays(path, like)
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True)
    if all(x.ndim == w.ndim - 1 for x, w in pairs):
        return jax.tree.map(lambda x: x[None], tree), False
    return tree, True


def _picture(path: Path, like: Any) -> np.ndarray:
    from optix_tricks.training import read_picture

    shape: Any = getattr(like, "shape", ())
    if len(shape) != 4 or like.dtype != np.uint8 or shape[-1] not in CHANNELS:
        raise ValueError("the run was not trained on pictures of one or three channels")
    _, height, width, channels = shape
    return read_picture(path.read_bytes(), CHANNELS[channels], size=(height, width))


def _arrays(path: Path, like: PyTree) -> PyTree:
    from optix_tricks.training._npz import read_arrays

    arrays = read_arrays(path)
    names = [leaf.name for leaf in named_leaves(like)]
    if names == [""] and len(arrays) == 1:
        return next(iter(arrays.values()))
    if names == [""] or arrays.keys() != {*names}:
        wanted = "one array" if names == [""] else f"arrays {', '.join(names)}"
        raise ValueError(f"{wanted} wanted, {', '.join(arrays) or 'none'} found")
    structure = jax.tree.structure(like)
    return jax.tree.unflatten(structure, [arrays[name] for name in names])

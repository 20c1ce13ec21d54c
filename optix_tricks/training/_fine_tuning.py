"""Starting from what another run has learnt: its arrays, and those of them that fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from optix_tricks._paths import Arrays, named_leaves
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._checkpoint import CheckpointError, first_sound, numbers
from optix_tricks.training._checksums import damaged
from optix_tricks.training._dataset import PathLike


class RestoreReport(NamedTuple):
    """What `restore_partially` did with each array; paths are those of the model."""

    loaded: tuple[str, ...]
    cast: dict[str, str]  # of the loaded ones: "float32 to bfloat16"
    missing: tuple[str, ...]  # in the model, not among the loaded arrays
    skipped: tuple[str, ...]  # in the model, left out on request
    mismatched: dict[str, str]  # in both, in two shapes: "(8, 10) to (8, 3)"
    unexpected: tuple[str, ...]  # among the loaded arrays, not in the model

    def __str__(self) -> str:
        """Write a table, one line an array."""
        rows = [(path, "loaded", self.cast.get(path, "")) for path in self.loaded]
        rows += [(path, "kept: not there", "") for path in self.missing]
        rows += [(path, "kept: skipped", "") for path in self.skipped]
        rows += [(path, "kept: shapes", what) for path, what in self.mismatched.items()]
        rows += [(path, "not in the model", "") for path in self.unexpected]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def restore_partially(
    params: Arrays,
    loaded: Arrays,
    *,
    rename: Mapping[str, str] | None = None,
    skip: str | None = None,
    strict: bool = False,
) -> tuple[PyTree, RestoreReport]:
    """Replace the arrays of a model by loaded ones of the same path and shape.

        w_p = cast(loaded_p)    if p is there, of the shape of w_p, and not skipped
            = w_p               otherwise

    What happened to each array is returned and never guessed: print the report before a
    run. Batch statistics are restored likewise, by a second call.

    Helps whenever the new task is like the old one, most where its labels are few. Does
    little where the new data are many. Hurts where nothing carries over, and where the
    batch statistics are left behind. Cost: a copy of what is loaded.

    Beside others: `layerwise_learning_rate_decay` or `scale_by_group` gives the kept
    layers a low rate and the new head the full one; `refresh_batch_statistics` adapts the
    statistics to the new images. Averages of `ema_of_params` are not in the parameters.

    Args:
        params: of the model, initialised: what is not loaded stays as it is. Shapes
            without values, of `nnx.eval_shape`, serve where all of it is loaded.
        loaded: any tree of arrays, such as `load_params(run)["params"]`.
        rename: regular expressions and their replacements, applied in turn to the paths
            of `loaded`, such as `{"^backbone/": ""}`.
        skip: a regular expression: the model's paths in which it is found stay as they
            are, such as "^head/".
        strict: raise unless every array but the skipped ones is loaded, and none is
            left over.

    Returns:
        A tree like `params`, in its dtypes, and the report.

    Raises:
        ValueError: if nothing was loaded, two paths are renamed to the same one, or
            `strict` is not met.

    Examples:
        >>> pretrained = {"conv": jnp.ones(2), "head": jnp.ones((2, 10))}
        >>> params = {"conv": jnp.zeros(2, jnp.bfloat16), "head": jnp.zeros((2, 3))}
        >>> params, report = restore_partially(params, pretrained)
        >>> print(report)
        conv  loaded        float32 to bfloat16
        head  kept: shapes  (2, 10) to (2, 3)
        >>> print(params["conv"])
        [1 1]

    Source: "How Transferable Are Features in Deep Neural Networks?", Yosinski, Clune,
    Bengio and Lipson, 2014.
    """
    there = _renamed(loaded, rename or {})
    leaves = named_leaves(params)
    new: list[Any] = []
    done: list[str] = []
    missing: list[str] = []
    skipped: list[str] = []
    cast: dict[str, str] = {}
    mismatched: dict[str, str] = {}
    for path, w, _ in leaves:
        x = there.pop(path, None)
        new.append(w)
        if skip is not None and re.search(skip, path):
            skipped.append(path)
        elif x is None:
            missing.append(path)
        elif x.shape != w.shape:
            mismatched[path] = f"{x.shape} to {w.shape}"
        else:
            done.append(path)
            if x.dtype != w.dtype:
                cast[path] = f"{x.dtype} to {w.dtype}"
            _check_range(path, x, w.dtype)
            committed = getattr(w, "committed", False)
            new[-1] = jnp.array(x, w.dtype, device=w.sharding if committed else None)
    report = RestoreReport(
        tuple(done), cast, tuple(missing), tuple(skipped), mismatched, tuple(there)
    )
    if leaves and not done:
        raise ValueError(
            "loaded must share a path and its shape with params, got none; bring its"
            f" paths to those of the model with rename:\n{report}"
        )
    if strict and (missing or mismatched or there):
        raise ValueError(f"loaded must fit params where strict is True, got:\n{report}")
    restored = jax.tree.unflatten(jax.tree.structure(params), new)
    check_arrays("params", restored)
    return restored, report


def _check_range(path: str, x: Any, dtype: Any) -> None:
    """Raise if a finite value would become infinite."""
    if not jnp.issubdtype(dtype, jnp.floating):
        return
    wide = np.abs(np.asarray(x, np.float64))
    largest = np.max(wide, initial=0, where=np.isfinite(wide))
    if largest > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"loaded {path!r} must fit into {dtype}, got values up to {largest:g}; keep"
            " the model's parameters in float32."
        )


def _renamed(loaded: PyTree, rename: Mapping[str, str]) -> dict[str, Any]:
    """Arrays by their path in the model."""
    renamed: dict[str, Any] = {}
    for name, x, _ in named_leaves(loaded):
        path = name
        for pattern, replacement in rename.items():
            path = re.sub(pattern, replacement, path)
        if path in renamed:
            raise ValueError(
                "rename must leave each path a name of its own, got two called"
                f" {path!r}, the second from {name!r}."
            )
        renamed[path] = x
    return renamed


def load_params(path: PathLike) -> dict[str, PyTree]:
    """Read parameters and batch statistics of a run, without its model.

        {"batch_stats": tree, "params": tree}    nested dicts of NumPy arrays

    Helps to start a run from another one; see `restore_partially`. Does little where the
    run itself is to go on: that is `--resume`, with the optimiser's state. Averages of
    the parameters are in that state too, and are not read. Cost: reading the two; the
    rest stays on the disk.

    Args:
        path: a run's directory, whose newest complete checkpoint is read, its
            `checkpoints`, or the directory of one epoch in it.

    Returns:
        Both trees, as dicts by name, in the dtypes in which they were saved. Positions
        in a list are names as well, "0" and so on.

    Raises:
        CheckpointError: if there is no complete checkpoint that is sound.

    Warns:
        DamagedCheckpoint: if a damaged one is passed over for an older one.

    Examples:
        >>> import tempfile
        >>> import optax
        >>> from optix_tricks.training import Checkpoints
        >>> from optix_tricks.training import create_state
        >>> params = {"kernel": jnp.ones(2)}
        >>> state = create_state(params, {}, optax.adam(0.1), jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as run:
        ...     with Checkpoints(Path(run) / "checkpoints") as checkpoints:
        ...         checkpoints.save(1, state)
        ...     load_params(run)
        {'batch_stats': {}, 'params': {'kernel': array([1., 1.], dtype=float32)}}

    Source: the checkpoints of `training.checkpoint`, written by Orbax.
    """
    directory = _newest_checkpoint(Path(path).absolute()) / "default"
    reader = ocp.PyTreeCheckpointer()
    metadata: Any = reader.metadata(directory)
    arrays = metadata.item_metadata.tree
    wanted = {name: arrays.get(name, {}) for name in ("batch_stats", "params")}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    return reader.restore(
        directory,
        args=ocp.args.PyTreeRestore(wanted, restore_args=as_numpy, partial_restore=True),
    )


def _newest_checkpoint(path: Path) -> Path:
    if path.name.isdigit() and (path / "default").is_dir():
        if (name := damaged(path)) is not None:
            raise CheckpointError(f"checkpoint {path} is damaged ({name}): give another.")
        return path
    for directory in (path / "checkpoints", path):
        if epochs := numbers(directory):
            named = [(str(epoch), directory / str(epoch)) for epoch in reversed(epochs)]
            return named[first_sound(named)][1]
    raise CheckpointError(
        f"no complete checkpoint in {path}: give the directory of a run, its checkpoints,"
        " or one of these."
    )

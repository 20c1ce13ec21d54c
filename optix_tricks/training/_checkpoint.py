"""Saving and restoring a training state with Orbax."""

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._run_directory import explained, no_space
from optix_tricks.training._state import TrainState


class CheckpointError(RuntimeError):
    """A checkpoint that is absent or of another model; the message says which."""


class Checkpoints:
    """The checkpoints of a run, one directory an epoch, written in the background.

    A checkpoint counts only once it is complete: a run that dies while one is written
    continues from the one before.

    Args:
      directory: made if absent.
      keep: how many of the newest to keep.
      read_only: leave what another process may be writing alone.
    """

    def __init__(self, directory: PathLike, *, keep: int = 2, read_only: bool = False):
        self.directory = Path(directory).absolute()
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=not read_only,
                create=not read_only,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is being written."""
        with explained(self.directory.parent):
            self._manager.close()

    def save(self, epoch: int, state: TrainState) -> None:
        """Begin to write the state after `epoch` epochs; copies it first.

        Raises:
          RunError: if the disk has no room for it.
        """
        check_arrays("state", state)
        arrays = _arrays(state)
        run = self.directory.parent
        # Asked before, as Orbax's writers each report a full disk at length.
        needed = 2 * sum(x.nbytes for x in jax.tree.leaves(arrays)) + 2**20
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            sizes = f"{needed / 2**20:.1f} MiB and {free / 2**20:.1f} are free"
            raise no_space(run, f" a checkpoint needs {sizes};")
        args = ocp.args.StandardSave(arrays)
        with explained(run):
            self._manager.save(epoch, args=args, force=True)

    def latest_epoch(self) -> int:
        """The number of epochs of the newest complete checkpoint.

        Raises:
          CheckpointError: if there is none.
        """
        return self.epochs()[-1]

    def epochs(self) -> list[int]:
        """The numbers of epochs of all complete checkpoints, rising.

        Raises:
          CheckpointError: if there is none.
        """
        epochs = sorted(self._manager.all_steps())
        if not epochs:
            raise CheckpointError(f"no complete checkpoint in {self.directory}.")
        return epochs

    def restore(self, epoch: int, like: TrainState) -> TrainState:
        """Read the state after `epoch` epochs, onto the devices of `like`.

        Raises:
          CheckpointError: if it has other arrays than `like`; names the first.
        """
        self._check_same_model(epoch, like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
        args = ocp.args.StandardRestore(abstract)
        arrays = self._manager.restore(epoch, args=args)
        return arrays._replace(key=jax.random.wrap_key_data(arrays.key))

    def _check_same_model(self, epoch: int, like: TrainState) -> None:
        metadata: Any = self._manager.item_metadata(epoch)
        there = _shapes(metadata.tree)
        here = _shapes(_arrays(like))
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise CheckpointError(
                    f"checkpoint {self.directory / str(epoch)} is of another model: "
                    f"{name} is {there.get(name, 'absent')} there and "
                    f"{here.get(name, 'absent')} here."
                )


def _arrays(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))


def _shapes(tree: PyTree) -> dict[str, str]:
    return {name: f"{x.dtype}{tuple(x.shape)}" for name, x, _ in named_leaves(tree)}

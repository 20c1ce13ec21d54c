"""Saving and restoring a training state with Orbax."""

import math
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from optix_tricks._files import refuse_link
from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._checksums import (
    MARK,
    METADATA,
    damaged,
    noted,
    write_checksums,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._hosts import is_first
from optix_tricks.training._run_directory import explained, no_space
from optix_tricks.training._said_once import say_errors_once
from optix_tricks.training._state import TrainState


class CheckpointError(RuntimeError):
    """A checkpoint that is absent or of another model; the message says which."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint that is not what was written, and was passed over for an older one."""


class Checkpoints:
    """The checkpoints of a run, one directory an epoch, written in the background.

    A checkpoint counts only once it is complete: a run that dies while one is written
    continues from the one before. The size and checksum of each of its files are written
    last and compared before it is read.

    Args:
      directory: made if absent.
      keep: how many of the newest to keep.
      read_only: leave what another process may be writing alone.

    Attributes:
      best: the number of epochs of one that is kept besides; none at first.
    """

    def __init__(self, directory: PathLike, *, keep: int = 2, read_only: bool = False):
        self.directory = Path(directory).absolute()
        self.best: int | None = None
        self._keep = keep
        self._read_only = read_only
        self._manager: ocp.CheckpointManager | None = None
        self._writing: int | None = None

    def __enter__(self) -> "Checkpoints":
        """Return self."""
        if not self._read_only:
            with explained(self.directory.parent):
                refuse_link(self.directory)
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is being written, unless those who write it too are gone."""
        is_lost = isinstance(error[1], jax.errors.JaxRuntimeError)
        if is_lost and jax.process_count() > 1:
            return
        if self._manager is not None:
            with explained(self.directory.parent):
                self._manager.close()

    def save(
        self, epoch: int, state: TrainState, *, about: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to write the state after `epoch` epochs; copies it first.

        Args:
          epoch: its number.
          state: of the training.
          about: what to note beside it, as JSON.

        Raises:
          RunError: if the disk has no room for it.
        """
        check_arrays("state", state)
        arrays = _arrays(state)
        run = self.directory.parent
        # Asked before, as Orbax's writers each report a full disk at length.
        needed = 2 * sum(x.nbytes for x in jax.tree.leaves(arrays)) + 2**20
        with explained(run):
            run.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(run).free
        if free < needed:
            sizes = f"{needed / 2**20:.1f} MiB and {free / 2**20:.1f} are free"
            raise no_space(run, f" a checkpoint needs {sizes};")
        args = ocp.args.StandardSave(arrays)
        manager = self._manager = self._manager or self._opened()
        with explained(run):
            manager.wait_until_finished()
            self._writing = epoch
            said = MARK | dict(about or {})
            manager.save(epoch, args=args, custom_metadata=said, force=True)

    def cut(self, last_epoch: int) -> None:
        """Delete those after an epoch, damaged ones too."""
        for epoch in self.epochs():
            if epoch > last_epoch and is_first():
                shutil.rmtree(self.directory / str(epoch))
        if self._manager is not None:
            self._manager.reload()

    def epochs(self) -> list[int]:
        """The numbers of epochs of all complete checkpoints, rising.

        Raises:
          CheckpointError: if there is none.
        """
        self.wait()
        epochs = numbers(self.directory)
        if not epochs:
            raise CheckpointError(f"no complete checkpoint in {self.directory}.")
        return epochs

    def newest_sound(self, before: int | float = math.inf) -> int:
        """The number of the newest checkpoint that is what was written.

        Warns:
          DamagedCheckpoint: for each newer one.

        Raises:
          CheckpointError: if there is none, or none is sound.
        """
        epochs = [epoch for epoch in reversed(self.epochs()) if epoch < before]
        named = [(str(epoch), self.directory / str(epoch)) for epoch in epochs]
        return epochs[first_sound(named)]

    def is_sound(self, epoch: int | None) -> bool:
        """Whether a checkpoint is there and is what was written."""
        self.wait()
        there = self.directory / str(epoch)
        return there.is_dir() and damaged(there) is None

    def restore(self, epoch: int, like: TrainState) -> TrainState:
        """Read the state after `epoch` epochs, onto the devices of `like`.

        Raises:
          CheckpointError: if it is not there, is damaged, or has other arrays than
            `like`; names the first.
        """
        if epoch not in (there := self.epochs()):
            raise CheckpointError(
                f"no complete checkpoint of epoch {epoch} in {self.directory}: there are"
                f" {', '.join(map(str, there))}."
            )
        if (name := damaged(self.directory / str(epoch))) is not None:
            raise CheckpointError(
                f"checkpoint {epoch} is damaged ({name}): restore another of"
                f" {self.directory}."
            )
        self._check_same_model(epoch, like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
        arguments: Any = ocp.args.StandardRestore(abstract)
        arrays = _reader().restore(self._items(epoch), args=arguments)
        return arrays._replace(key=jax.random.wrap_key_data(arrays.key))

    def about(self, epoch: int) -> dict[str, Any]:
        """What was noted beside a checkpoint."""
        return noted(self.directory / str(epoch))

    def _opened(self) -> ocp.CheckpointManager:
        """Begin to write; Orbax cannot begin beside one whose metadata it cannot read."""
        if self._read_only:
            raise ValueError("checkpoints opened to be read only are not written.")
        for epoch in numbers(self.directory):
            if is_first() and damaged(self.directory / str(epoch)) == METADATA:
                shutil.rmtree(self.directory / str(epoch))
        say_errors_once()
        policy: Any = SimpleNamespace(should_preserve=self._kept)
        with explained(self.directory.parent):
            return _Manager(
                self.directory,
                item_handlers=ocp.StandardCheckpointHandler(),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policy,
                    cleanup_tmp_directories=True,
                    async_options=ocp.AsyncOptions(
                        post_finalization_callback=self._written
                    ),
                ),
            )

    def _items(self, epoch: int) -> Any:
        return epath.Path(self.directory / str(epoch) / "default")

    def wait(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            with explained(self.directory.parent):
                self._manager.wait_until_finished()

    def _written(self) -> None:
        """Called by Orbax once all is written, before the checkpoint gets its name."""
        if is_first():
            (directory,) = self.directory.glob(f"{self._writing}.*")
            write_checksums(directory)

    def _kept(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which are kept, the oldest first; Orbax deletes once a new one is complete."""
        del context
        newest = len(checkpoints) - self._keep
        return [i >= newest or x.step == self.best for i, x in enumerate(checkpoints)]

    def _check_same_model(self, epoch: int, like: TrainState) -> None:
        there = _shapes(_reader().metadata(self._items(epoch)).tree)
        here = _shapes(_arrays(like))
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise CheckpointError(
                    f"checkpoint {self.directory / str(epoch)} is of another model: "
                    f"{name} is {there.get(name, 'absent')} there and "
                    f"{here.get(name, 'absent')} here."
                )


class _Manager(ocp.CheckpointManager):
    """Orbax's, which leaves the question whether to end to the loop.

    JAX takes the number in the last question for how far a process is: Orbax's are the
    checkpoints', of epochs, and the loop's are its steps'.
    """

    def reached_preemption(self, step: int) -> bool:
        del step
        return False


def _reader() -> Any:
    """Orbax's handler itself: its checkpointers log of metadata that they do not find."""
    return ocp.StandardCheckpointHandler()


def numbers(directory: Path) -> list[int]:
    """Those of the checkpoints in a directory, rising, damaged ones included.

    Orbax gives a checkpoint its number for a name once it is complete.
    """
    names = [path.name for path in directory.glob("*") if path.is_dir()]
    return sorted(int(name) for name in names if name.isdigit())


def first_sound(candidates: Sequence[tuple[str, Path]]) -> int:
    """Which of some checkpoints is the first that is what was written.

    Args:
      candidates: names to say and directories, the newest first.

    Warns:
      DamagedCheckpoint: for each that is passed over, with what is gone on from.

    Raises:
      CheckpointError: if none is.
    """
    bad: list[str] = []
    for i, (name, directory) in enumerate(candidates):
        if (file := damaged(directory)) is None:
            for said in bad:
                text = f"checkpoint {said}; going on from {name}"
                warnings.warn(text, DamagedCheckpoint, stacklevel=3)
            return i
        bad.append(f"{name} is damaged ({file})")
    raise CheckpointError(
        f"no checkpoint can be gone on from: {'; '.join(bad)}. Put back a copy, or start"
        " a new run."
    )


def _arrays(state: TrainState) -> TrainState:
    return state._replace(key=jax.random.key_data(state.key))


def _shapes(tree: PyTree) -> dict[str, str]:
    return {name: f"{x.dtype}{tuple(x.shape)}" for name, x, _ in named_leaves(tree)}

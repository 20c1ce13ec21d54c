"""A run that was trained: what it predicts, how well, and as files for others."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optix_tricks._tree import PyTree
from optix_tricks.recipes import Run
from optix_tricks.runs._export import write_export
from optix_tricks.runs._fitting import fitting, tested_on
from optix_tricks.runs._restored import Restored, restore_run
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    TrainState,
    jit,
    predicted,
    r_squared,
)
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._epoch import Evaluation
from optix_tricks.training._job import TEST_BATCH
from optix_tricks.training._run_devices import Placement


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run at a checkpoint, the newest if no other is named; made by `load_run`.

    That is with its preprocessing inside, the weights that were tested (an average's,
    where the run kept one) and the views of each example.

    Attributes:
      restored: what the directory holds: `.run`, `.settings`, `.job`, `.state`, `.epoch`.
    """

    restored: Restored

    @property
    def path(self) -> Path:
        """The directory."""
        return self.restored.run.path

    @property
    def recipe(self) -> str:
        """The name of the recipe: one of the package, a file or a module."""
        return self.restored.run.recipe

    @property
    def settings(self) -> Run:
        """The numbers of the run; `settings.setup` has its tricks."""
        return self.restored.settings

    @property
    def epoch(self) -> int:
        """How many epochs the checkpoint comes after."""
        return self.restored.epoch

    @property
    def result(self) -> dict[str, Any] | None:
        """What is in result.json; None while the run is not at its end."""
        return self.restored.run.result

    @property
    def dataset(self) -> Dataset:
        """The data of the run, `dataset.name` among them."""
        return self.restored.dataset

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the outputs, in their order; empty where there are no classes."""
        return self.dataset.class_names

    @property
    def job(self) -> Job:
        """What was trained, as functions."""
        return self.restored.job

    @functools.cached_property
    def tested(self) -> TrainState:
        """The state with the weights that are tested."""
        return self.job.tested(self.restored.state)

    @property
    def _weights(self) -> tuple[PyTree, PyTree]:
        return self.tested.params, self.tested.batch_stats

    @property
    def _function(self) -> Callable[..., PyTree]:
        """From weights and inputs to outputs."""
        return functools.partial(predicted, self.job.apply, views=self.job.test_views)

    @functools.cached_property
    def _compiled(self) -> Callable[..., PyTree]:
        return jit(self._function)

    def predict(self, inputs: PyTree) -> PyTree:
        """Return the outputs for inputs like those of the run's data.

        Batches have the size of the test, 500, and the last is filled up with copies of
        the first example; fewer examples make one batch of the next power of two. So the
        memory is bounded, and any number of examples compiles ten programs at most.

        Args:
          inputs: arrays [n, ...] in the tree, the shapes and the dtypes of the run's
            data: uint8 images as they are in a file, no normalised ones.

        Returns:
          NumPy arrays [n, ...] in the tree that the network returns: the logits of
          `class_names`, say, or numbers.

        Raises:
          ValueError: if `inputs` are of another form.
        """
        inputs = fitting("inputs", inputs, self.dataset.train.inputs)
        count = len(jax.tree.leaves(inputs)[0])
        size = min(TEST_BATCH, 1 << (count - 1).bit_length())
        parts = []
        for start in range(0, count, size):
            index = np.arange(start, start + size)
            index = np.where(index < count, index, 0)
            batch = jax.tree.map(lambda x, i=index: x[i], inputs)
            outputs = jax.device_get(self._compiled(*self._weights, batch))
            parts.append(jax.tree.map(lambda y, n=count - start: y[:n], outputs))
        return jax.tree.map(lambda *ys: np.concatenate(ys), *parts)

    def evaluate(self, data: Dataset | Batch | None = None) -> Evaluation:
        """Return loss and metrics, as the run's last test did.

        Args:
          data: a batch, or a data set, whose test split is taken; None takes the run's
            own, and gives the numbers of result.json.

        Raises:
          ValueError: if the data are of another form, or of other classes.
        """
        batch = self.dataset.test if data is None else tested_on(data, self.dataset)
        job, metrics = self.job, self.job.metrics or {}
        if data is not None and "r_squared" in metrics:
            # It is of the variance of the targets that are counted.
            of_these = r_squared(float(np.var(batch.targets, dtype=np.float64)))
            job = job._replace(metrics={**metrics, "r_squared": of_these})
        tested = Placement().tested(batch)
        return job.make_evaluate()(self.restored.state, tested)

    def export(self, path: PathLike, *, batch_size: int | None = None) -> Path:
        """Write the run as files that need no `optix_tricks`; return their directory.

            predict.jax_export     inputs to outputs, as `predict` does, by `jax.export`
            weights.safetensors    the weights and the batch statistics that are tested
            export.json            what is what

        `jax.export.deserialize(content).call(inputs)` runs the first on a CPU, a CUDA
        GPU or a TPU; its weights, preprocessing and views are inside. JAX reads what it
        has exported for at least six months.

        Args:
          path: of a new directory, or an empty one.
          batch_size: the only one that the function takes; None lets it take any, which
            a network or views that compute with it in Python cannot.

        Raises:
          RunError: if `path` holds something, or safetensors is not installed.
          ValueError: if the network cannot be traced for any number of examples.
        """
        return write_export(
            Path(path),
            predict=functools.partial(self._function, *self._weights),
            inputs=self.dataset.train.inputs,
            weights=dict(zip(("params", "batch_stats"), self._weights, strict=True)),
            batch_size=batch_size,
            facts={
                "recipe": self.recipe,
                "dataset": self.dataset.name,
                "class_names": list(self.class_names),
                "result": self.result,
            },
        )


def load_run(
    path: PathLike,
    *,
    data_dir: PathLike | None = None,
    checkpoint: str | int = "newest",
) -> TrainedRun:
    """Load a run that was trained, from a checkpoint of its directory.

    Its data are read again, as its preprocessing and its average's batch statistics are
    of them; where they are no more, an export made before serves. A recipe of one's own
    is read from the run's copy of the file.

    Args:
      path: the run's directory.
      data_dir: where the data are, if not where they were.
      checkpoint: "newest"; "best", if the run kept one, by its metric of the validation
        split; or how many epochs it comes after.

    Raises:
      ReportError: if `path` is not a run's directory.
      RunError: if the run is of another format of settings or an unknown recipe.
      CheckpointError: if it has no checkpoint, or one of another model, or the one that
        is asked for is not there or damaged.
      DataError: if the data are not there.

    Examples:
      >>> load_run("no/such/run")
      Traceback (most recent call last):
      optix_tricks.reports._read.ReportError: no/such/run is not a run's directory (it has
      no config.json): give the directory that the recipe wrote its run into.
    """
    return TrainedRun(restore_run(path, data_dir=data_dir, checkpoint=checkpoint))

"""A run of a packaged recipe: its module and the numbers of its dataclass."""

import dataclasses
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import optax

from optix_tricks.training import Dataset, Job, load_dataset, policy, total_steps
from optix_tricks.training._dataset import PathLike


class PackagedRun(NamedTuple):
    """A recipe's module, and its `Config`."""

    recipe: ModuleType
    config: Any

    @property
    def seed(self) -> int:
        """Of network, shuffling and augmentation."""
        return self.config.seed

    def at_seed(self, seed: int) -> "PackagedRun":
        """Return the same run of another seed."""
        return self._changed(seed=seed)

    def from_directory(self, data_dir: PathLike) -> "PackagedRun":
        """Return the same run with its data elsewhere."""
        return self._changed(data_dir=os.fspath(data_dir))

    def in_float32(self) -> "PackagedRun":
        """Return the same run with activations in float32, to measure with."""
        exact = getattr(self.config, "compute_dtype", "float32") == "float32"
        return self if exact else self._changed(compute_dtype="float32")

    def _changed(self, **fields: Any) -> "PackagedRun":
        return self._replace(config=dataclasses.replace(self.config, **fields))

    def load(self) -> Dataset:
        """Return the data set that the settings name."""
        return load_dataset(self.config.dataset, data_dir=self.config.data_dir)

    def job(self, dataset: Dataset) -> Job:
        """Build the job."""
        return self.recipe.build(self.config, dataset)

    def optimizers(
        self, dataset: Dataset
    ) -> Callable[[optax.Schedule], optax.GradientTransformation]:
        """Return the optimiser as a function of the rate, in the unit of its own."""
        steps = total_steps(
            self.config.epochs, dataset.train.size, self.config.batch_size
        )
        precision = policy(getattr(self.config, "compute_dtype", "float32"))

        def at(rate: optax.Schedule) -> optax.GradientTransformation:
            tx = self.recipe.make_optimizer(self.config, steps, learning_rate=rate)
            return precision.optimizer(tx)

        return at

    def as_json(self) -> dict[str, Any]:
        """Return the settings."""
        return dataclasses.asdict(self.config)

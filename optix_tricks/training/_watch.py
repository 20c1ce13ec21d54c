"""The best epoch of a run, from its validation rows: which to end with, or to keep."""

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from optix_tricks.training._checkpoint import Checkpoints, DamagedCheckpoint
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._early_stopping import (
    EarlyStopping,
    EarlyStoppingState,
    early_stopping,
)
from optix_tricks.training._job import Job

Row = dict[str, Any]
EVER = 2**31 - 1  # a patience that never ends


class Choice(NamedTuple):
    """What makes an epoch the best one."""

    metric: str  # of the validation rows
    mode: Literal["min", "max"]

    @classmethod
    def of(cls, said: str) -> "Choice":
        """Read a metric: a loss or an error is best where it is least, others greatest.

        >>> Choice.of("accuracy"), Choice.of("min:perplexity")
        (Choice(metric='accuracy', mode='max'), Choice(metric='perplexity', mode='min'))
        """
        mode, colon, metric = said.partition(":")
        if colon and mode in ("min", "max"):
            return cls(metric, "min" if mode == "min" else "max")
        is_least = "loss" in said or "error" in said
        return cls(said, "min" if is_least else "max")


class Watch(NamedTuple):
    """What a run makes of its validation rows: nothing, its end, or what it keeps.

    It follows from the rows alone: a run that is resumed reads them again.
    """

    rule: EarlyStopping | None = None
    state: EarlyStoppingState | None = None
    metric: str = "loss"
    ends_with_best: bool = False  # or else it ends with its last epoch
    best: int | None = None  # epochs done at the best row; None before there is one

    @classmethod
    def start(cls, job: Job, dataset: Dataset) -> "Watch":
        """Return what is known before the first row.

        Raises:
          ValueError: if the job chooses, and there are no data to choose by; or it both
            stops and keeps its best.
        """
        if job.stop is None and job.keep_best is None:
            return cls()
        does = "stops" if job.keep_best is None else f"keeps its best {job.keep_best}"
        if dataset.validation is None:
            raise ValueError(
                f"a job that {does} needs a validation split: give --validation 0.1, or"
                " train a dataset that split_validation returns."
            )
        if job.stop is not None and job.keep_best is not None:
            raise ValueError(
                "a job that stops ends with its best epoch: leave keep_best out, got"
                f" {job.keep_best!r}."
            )
        if job.keep_best is None:
            assert job.stop is not None
            return cls(job.stop, job.stop.init(), ends_with_best=True)
        metric, mode = Choice.of(job.keep_best)
        rule = early_stopping(patience=EVER, mode=mode)
        return cls(rule, rule.init(), metric)

    @property
    def should_stop(self) -> bool:
        """Whether there was no better row for long enough."""
        return self.state is not None and bool(self.state.should_stop)

    def after(self, rows: Iterable[Row]) -> "Watch":
        """Return what is known after further rows; those of other kinds say nothing."""
        watch = self
        for row in rows:
            if row["kind"] == "validation":
                watch = watch._after(row)
        return watch

    def among(self, rows: Sequence[Row], checkpoints: Checkpoints) -> "Watch":
        """Return what is known after rows, the best being one whose checkpoint is there.

        Warns:
          DamagedCheckpoint: if that of the best of all is not.
        """
        watch = self.after(rows)
        if self.ends_with_best or checkpoints.is_sound(watch.best) or not watch.best:
            return watch
        kept = self.after(r for r in rows if checkpoints.is_sound(math.ceil(r["epoch"])))
        warnings.warn(
            f"checkpoint {watch.best}, the best by {self.metric}, is damaged or gone: the"
            f" best that is left is {kept.best or 'none'}",
            DamagedCheckpoint,
            stacklevel=3,
        )
        return kept

    def has_ended(self, rows: Sequence[Row], epochs: int | float) -> bool:
        """Whether a run of these rows, all it has, lacks nothing but its best state."""
        if not self.ends_with_best or self.best is None or rows[-1]["kind"] != "test":
            return False
        return self.should_stop or rows[-1]["epoch"] >= epochs

    def _after(self, row: Row) -> "Watch":
        if self.rule is None or self.state is None:
            return self
        value = row.get(self.metric)
        state = self.rule.update(self.state, math.nan if value is None else value)
        is_better = state.best_evaluation != self.state.best_evaluation
        best = math.ceil(row["epoch"]) if is_better else self.best
        return self._replace(state=state, best=best)

"""Numbers that are not finite: they end a run, and are in no checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks._paths import named_leaves
from optix_tricks.training._run_directory import RunError
from optix_tricks.training._state import TrainState

NUMBERS = ("loss", "gradient_norm")  # of a step, without which there is no run
LOWER = "start a new run with a lower --learning-rate or a longer warm-up"


class NotFiniteError(RunError):
    """A run that cannot go on, as its loss, a gradient or a weight is not finite.

    Attributes:
      what: is not finite, and after which step.
      step: the first after which it is not, counted from 1.
      of_step: whether a number of that step itself is not, or else what it led to.
      way_out: what to do.
      rate_helps: whether a lower rate may.
    """

    def __init__(
        self,
        what: str,
        step: int,
        *,
        of_step: bool = False,
        way_out: str = LOWER,
        rate_helps: bool = True,
    ):
        super().__init__(f"{what}: {way_out}.")
        self.what, self.step, self.of_step = what, step, of_step
        self.way_out, self.rate_helps = way_out, rate_helps


def check_steps(
    rows: Sequence[dict[str, Any]], path: Path, *, is_whole: bool = True
) -> None:
    """Raise NotFiniteError where training cannot recover from bad numbers.

    Under a loss scale, and where bad steps are skipped, one does no harm; a whole epoch
    of them does, once the scale is at its least. `is_whole` says that the rows are those
    of a whole epoch.
    """
    bad = [
        (row, name)
        for row in rows
        for name in NUMBERS
        if row[name] is None or not np.isfinite(row[name])
    ]
    if not bad:
        return
    last = rows[-1]
    guarded = any(name.endswith("last_finite") for name in last)
    all_bad = len({row["step"] for row, _ in bad}) == len(rows)
    may_fall = "loss_scale" in last and last["loss_scale"] > last["min_scale"]
    if guarded and (may_fall or not all_bad or not is_whole):
        return
    row, name = bad[0]
    what = f"{name} became {row[name]} at step {row['step']}"
    if guarded:
        what += f", and all steps to {last['step']} were left out"
    elif last["step"] > row["step"]:
        what += f", seen after step {last['step']}, to which they ran together"
    raise NotFiniteError(
        what,
        row["step"],
        of_step=True,
        way_out=f"{LOWER}. The steps before are in {path / 'metrics.jsonl'}",
    )


def check_weights(state: TrainState, step: int) -> None:
    """Raise NotFiniteError if a weight or statistic is not finite."""
    bad = not_finite({"params": state.params, "batch_stats": state.batch_stats})
    if bad:
        what = f"{bad[0]} is not finite after step {step}, and the state is not saved"
        raise NotFiniteError(what, step)


def check_tests(rows: list[dict[str, Any]], state: TrainState) -> None:
    """Raise NotFiniteError if the loss of a test or validation is not finite."""
    for row in rows:
        if row["loss"] is None or not np.isfinite(row["loss"]):
            check_weights(state, row["step"])
            kind, step = row["kind"], row["step"]
            raise NotFiniteError(
                f"the {kind} loss became {row['loss']} after step {step}, though all"
                " weights are finite, and the state is not saved",
                step,
                way_out=f"look at the {kind} examples and their labels, or {LOWER}",
            )


def not_finite(tree: Any) -> list[str]:
    """The names of the arrays of a tree that hold a number that is not finite."""
    return [name for name, good, _ in named_leaves(are_finite(tree)) if not good]


@jax.jit
def are_finite(tree: Any) -> Any:
    """Tell of each array whether all of its numbers are finite."""

    def is_finite(x: Any) -> Any:
        inexact = jnp.issubdtype(x.dtype, jnp.inexact)
        return jnp.isfinite(x).all() if inexact else jnp.asarray(True)

    return jax.tree.map(is_finite, tree)

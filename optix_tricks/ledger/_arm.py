"""The two sides of a comparison: a run, and the same run with or without one trick."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from optix_tricks.recipes import Run
from optix_tricks.recipes._recipe import is_own
from optix_tricks.tricks import Setup, Trick

NOT_IN_THE_TRAINING = ("seed", "data_dir", "checkpoint_every")
NEEDED = ("network", "optimizer")  # slots without which nothing trains


class Arm(NamedTuple):
    """One side of a comparison with the base; the other is the base itself.

    Attributes:
      trick: that makes the difference, with its numbers.
      is_added: to the base; otherwise it is taken away from it.
      run: the base so changed.
      tuned: the name of a number of which each side has its own; see `tuned`.
    """

    trick: Trick
    is_added: bool
    run: Run
    tuned: str | None = None

    @property
    def name(self) -> str:
        """The trick behind a sign: `+mixup`, `-flip`."""
        return f"{'+' if self.is_added else '-'}{self.trick.name}"


def added(base: Run, tricks: Iterable[Trick]) -> list[Arm]:
    """Return an arm for each trick: the base with it.

    It takes the place of what is in its exclusive slots, as `Setup.take` says.
    """
    return [Arm(each, True, _with(base, base.setup.take(each))) for each in tricks]


def removed(base: Run, names: Iterable[str] | None = None) -> list[Arm]:
    """Return an arm for each trick of the base: the base without it.

    Args:
      base: of which setup.
      names: of its tricks; None takes all that it can do without: not the network, nor
        the optimiser.

    Raises:
      ValueError: if one is not there, or nothing trains without it.
    """
    there = {each.name: each for each in base.setup.tricks}
    needed = {n for n, each in there.items() if {*each.slots} & {*NEEDED}}
    names = [n for n in there if n not in needed] if names is None else [*names]
    for name in names:
        if name not in there:
            raise ValueError(f"names must be tricks of the setup, got {name!r}.")
        if name in needed:
            raise ValueError(
                f"there is no training without {name}: compare it with another by adding"
                " that one, which takes its place."
            )
    return [Arm(there[n], False, _with(base, base.setup.without(n))) for n in names]


def digest_of(run: Run) -> str:
    """Return a name for what a run trains, whatever its seed and where its data are.

    A file of one's own counts with all that it says.
    """
    said = {k: x for k, x in run.as_json().items() if k not in NOT_IN_THE_TRAINING}
    if not run.validation:
        del said["validation"]
    own = is_own(run.recipe.name)
    said["recipe"] = run.recipe.path.read_text() if own else run.recipe.name
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _with(base: Run, setup: Setup) -> Run:
    return dataclasses.replace(base, setup=setup)

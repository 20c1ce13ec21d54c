"""Which tricks are compared with a run: those that are named, or all that can be."""

from collections.abc import Sequence
from typing import NamedTuple

from optix_tricks.ledger._arm import Arm, added, removed
from optix_tricks.recipes import Run
from optix_tricks.recipes._run import parsed
from optix_tricks.training import Dataset
from optix_tricks.tricks import TRICKS


class Choice(NamedTuple):
    """The arms, and what was left out, with the reason."""

    arms: list[Arm]
    refused: dict[str, str]


def choose(
    base: Run,
    dataset: Dataset,
    names: Sequence[str] | None = None,
    *,
    add: bool = False,
    remove: bool = False,
) -> Choice:
    """Return the arms of a comparison.

    Args:
      base: with which is compared.
      dataset: for which each arm must make sense.
      names: of tricks, or `name=number`. One that the base has is taken away, unless a
        number makes it another; others are added. None takes all of the base, and with
        `add` all others of the package that need no further word.
      add: only what is added; with `remove`, both, as is the default of `names`.
      remove: only what is taken away, as is the default without `names`.

    Raises:
      ValueError: if a trick that was named is unknown or cannot be.
    """
    there = [each.name for each in base.setup.tricks]
    if names is not None:
        both = add == remove
        new = [name for name in names if "=" in name or name not in there]
        old = [name for name in names if name not in new]
        arms = added(base, [parsed(base.recipe, n) for n in new]) if add or both else []
        arms += removed(base, old) if remove or both else []
        for arm in arms:
            arm.run.plan(dataset)
        return Choice(arms, {})
    arms = removed(base) if remove or not add else []
    if add:
        new = [n for n, t in TRICKS.items() if "network" not in t.slots]
        arms += added(base, [TRICKS[n] for n in new if n not in there])
    refused = {arm.name: why for arm in arms if (why := _refusal(arm, dataset))}
    return Choice([arm for arm in arms if arm.name not in refused], refused)


def _refusal(arm: Arm, dataset: Dataset) -> str | None:
    try:
        arm.run.plan(dataset)
    except (ValueError, RuntimeError) as error:  # of the data, of a run that is not there
        return str(error)
    return None

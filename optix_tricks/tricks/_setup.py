"""A setup: the parts of a training as one value, before anything is built."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from optix_tricks._checks import like
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Trick

# A setup has one trick in each of these ...
EXCLUSIVE = {
    "network": "the network itself",
    "norm": "its normalisations",
    "kernel": "how its kernels are parametrised",
    "kernel_init": "how its kernels start",
    "loss": "what is minimised",
    "mix": "what mixes the examples of a batch",
    "shape": "the learning rate over the run, of its peak",
    "warm_up": "its rise at the start",
    "optimizer": "the optimiser",
    "decay_mask": "which parameters decay",
    "precision": "the dtypes of network and optimiser",
    "tested": "whose weights are tested",
    "views": "the views of each example in the final test",
}
# ... and any number in these, which stand in the order of their places.
PLACES: dict[str, tuple[str, ...]] = {
    "inserted": ("dropped",),
    "made": ("loaded", "variance", "gamma", "whitening"),
    "alternate": ("flip",),
    "augment": ("size", "crop", "flip", "warp", "colour", "policy", "erase"),
    "before": ("delay", "clip", "noise", "decay", "center"),
    "applied": ("frozen", "memory"),
    "after": ("decay", "groups", "frozen", "average"),
    "around": ("slow", "twice", "skip", "accumulate"),
}
# ... or in these, whose order changes nothing.
UNORDERED = {
    "options": "what the function that makes the network is given",
    "penalties": "of the parameters, in the loss",
    "metrics": "what is counted",
}
SLOTS = (*EXCLUSIVE, *PLACES, *UNORDERED)


@dataclasses.dataclass(frozen=True)
class Setup:
    """Network, tricks and numbers of a training; `setup.job(dataset)` builds it.

    A setup knows no data and no seed. `take` and `without` return others.

    Attributes:
      network: what is trained, in one of three forms. A function `network(context, *,
        rngs, ...)` that makes a flax.nnx module: it is given those parts that it takes,
        among `norm`, `dtype`, `param_dtype` and what tricks add, as `drop_path`. A
        finished flax.nnx module. Or a tuple `(apply, params, batch_stats)` as of
        `training.functional`. None leaves it to a trick.
      epochs: of the run; the last may be a fraction.
      batch_size: examples of a step.
      loss: `loss(outputs, targets)`, one number for each example or position, where no
        trick puts another; None takes cross-entropy for classes and the squared error
        for numbers.
      tricks: in the order in which they were taken, one of a name.
    """

    network: Any = None
    epochs: int | float = 10
    batch_size: int = 64
    loss: Callable[[Any, Any], Any] | None = None
    tricks: tuple[Trick, ...] = ()

    def take(self, *tricks: Trick) -> "Setup":
        """Return the setup with these tricks on top.

        Each replaces the trick that was in one of its exclusive slots before, and the one
        of its own name.

        Raises:
          ValueError: if two of these fill the same exclusive slot, or a slot is unknown.
        """
        holders: dict[str, Trick] = {}
        for each in tricks:
            _check_slots(each)
            for slot in each.slots:
                if slot in EXCLUSIVE and slot in holders:
                    raise ValueError(_conflict(holders[slot], each, slot))
                holders[slot] = each
        names = {each.name for each in tricks}
        kept = [each for each in self.tricks if each.name not in names]
        taken = {slot for slot in holders if slot in EXCLUSIVE}
        kept = [each for each in kept if not taken & {*each.slots}]
        return dataclasses.replace(self, tricks=(*kept, *tricks))

    def without(self, *names: str) -> "Setup":
        """Return the setup without the tricks of these names.

        Raises:
          ValueError: if one is not there; lists those that are.
        """
        there = [each.name for each in self.tricks]
        for name in names:
            if name not in there:
                raise ValueError(
                    f"there is no trick {name!r} to leave out: the setup has"
                    f" {', '.join(there) or 'none'}.{like(name, there)}"
                )
        kept = tuple(each for each in self.tricks if each.name not in names)
        return dataclasses.replace(self, tricks=kept)

    def filled(self) -> dict[str, tuple[Trick, ...]]:
        """Return the tricks of each slot, in the order in which they act."""
        found: dict[str, tuple[Trick, ...]] = {}
        for slot in SLOTS:
            those = [each for each in self.tricks if slot in each.slots]
            if slot in EXCLUSIVE:
                those = those[-1:]
            else:
                places = PLACES.get(slot, (None,))
                order = {place: i for i, place in enumerate(places)}
                those.sort(key=lambda each: (order.get(each.place, 0), each.name))
            found[slot] = tuple(those)
        return found

    def parts(
        self, context: Context, slots: Iterable[str] = SLOTS
    ) -> dict[str, dict[str, Any]]:
        """Make the parts of these slots, by the names of their tricks."""
        filled = {slot: tricks for slot, tricks in self.filled().items() if slot in slots}
        wanted = {each.name: each for tricks in filled.values() for each in tricks}
        made = {name: each.parts(context) for name, each in wanted.items()}
        return {
            slot: {each.name: made[each.name][slot] for each in tricks}
            for slot, tricks in filled.items()
        }

    def table(self) -> list[tuple[str, str, str]]:
        """Return what is in each slot: slot, trick, numbers."""
        rows = []
        for slot, tricks in self.filled().items():
            for each in tricks:
                numbers = ", ".join(f"{name} {x}" for name, x in each.numbers)
                rows.append((slot, each.name, numbers))
        return rows

    def describe(self) -> str:
        """Return the table as text."""
        size = f"{self.epochs} epochs in batches of {self.batch_size}"
        rows = [("run", size, ""), *self.table()]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(
            f"{slot:{widths[0]}}  {name:{widths[1]}}  {numbers}".rstrip()
            for slot, name, numbers in rows
        )

    def plan(self, dataset: Any) -> Any:
        """Return the functions of the training on these data, which know no seed."""
        from optix_tricks.tricks._plan import make_plan

        return make_plan(self, dataset)

    def job(self, dataset: Any, *, seed: int = 0) -> Any:
        """Return what `training.train` takes; see `plan` for several seeds."""
        return self.plan(dataset).job(seed)


def _check_slots(each: Trick) -> None:
    for slot in each.slots:
        if slot not in SLOTS:
            raise ValueError(
                f"trick {each.name} fills slot {slot!r}, which no setup has: it has"
                f" {', '.join(SLOTS)}.{like(slot, SLOTS)}"
            )
        if slot in PLACES and each.place not in PLACES[slot]:
            raise ValueError(
                f"trick {each.name} must say its place in slot {slot!r}, one of"
                f" {', '.join(PLACES[slot])}, got {each.place!r}."
            )


def _conflict(one: Trick, other: Trick, slot: str) -> str:
    return (
        f"{other.name} cannot stand beside {one.name}: both are {EXCLUSIVE[slot]}; take"
        " one of them."
    )

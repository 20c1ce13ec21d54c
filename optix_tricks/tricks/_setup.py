"""A setup: the parts of a training as one value, before anything is built."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from optix_tricks._checks import check_count
from optix_tricks._nearest import like
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
    "unit": "what its peak is a multiple of",
    "optimizer": "the optimiser",
    "decay_mask": "which parameters decay",
    "precision": "the dtypes of network and optimiser",
    "tested": "whose weights are tested",
    "views": "the views of each example in the final test",
    "stop": "what ends the run before its time",
    "begin": "what comes before the first epoch",
}
# ... and any number in these, which stand in the order of their places.
PLACES: dict[str, tuple[str, ...]] = {
    "inserted": ("dropped", "head"),
    "made": ("loaded", "variance", "gamma", "whitening"),
    "alternate": ("flip",),
    "augment": ("size", "crop", "flip", "warp", "colour", "policy", "erase"),
    "before": ("delay", "clip", "noise", "decay", "center"),
    "applied": ("frozen", "memory", "head", "slow", "filter"),
    "after": ("decay", "groups", "frozen", "average"),
    "around": ("slow", "twice", "skip", "accumulate"),
}
# ... or in these, whose order changes nothing.
UNORDERED = {
    "options": "what the function that makes the network is given",
    "penalties": "of the parameters, in the loss",
    "added": "what examples add to the loss, by its weight",
    "chosen": "whether a network trains on a part of the batch that it is given",
    "metrics": "what is counted",
    "phases": "epochs in which the step is another",
    "observe": "what the validation loss of an epoch changes",
}
SLOTS = (*EXCLUSIVE, *PLACES, *UNORDERED)
OF_RUN = (
    "epochs",
    "batch_size",
    "checkpoint_every",
    "on_bad_number",
    "restores",
    "keep_best",
)
ON_BAD_NUMBER = ("stop", "skip", "restore")


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
      checkpoint_every: epochs, or a text such as "500steps", "90s", "10min" or "2h".
      on_bad_number: what a loss or gradient that is not finite does: "stop" the run;
        "skip" the step, as `skip_nonfinite` does around whatever the optimiser is; or
        "restore" the last good checkpoint and go on with half the rate.
      restores: how often at most.
      keep_best: the metric of the validation split by which the best checkpoint is kept
        beside the newest, such as "loss", "accuracy" or "min:perplexity".
      tricks: in the order in which they were taken, one of a name.
    """

    network: Any = None
    epochs: int | float = 10
    batch_size: int = 64
    loss: Callable[[Any, Any], Any] | None = None
    checkpoint_every: int | str = 1
    on_bad_number: str = "stop"
    restores: int = 3
    keep_best: str | None = None
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

    def change(self, **numbers: Any) -> "Setup":
        """Return the setup with other numbers; the rest stays as it is.

            setup.change(epochs=3, width=16, cutout=4, sam={"rho": 0.1})

        Args:
          **numbers: by the name of a field (epochs, batch_size, checkpoint_every), of a
            number that one trick alone has, or of a trick: its main number, or a dict of
            its numbers.

        Raises:
          ValueError: if there is no such number, or several tricks have it.
        """
        setup = self
        for name, x in numbers.items():
            if name in OF_RUN:
                setup = dataclasses.replace(setup, **{name: x})
                continue
            of, number = (name, None) if isinstance(x, dict) else self.owner(name)
            if of not in [each.name for each in self.tricks]:
                raise ValueError(self._no_number(of))
            own = x if number is None else {number: x}
            changed = [t(**own) if t.name == of else t for t in setup.tricks]
            setup = dataclasses.replace(setup, tricks=tuple(changed))
        return setup

    def owner(self, name: str) -> tuple[str, str]:
        """Return trick and number that a name alone stands for.

        Raises:
          ValueError: see `change`.
        """
        owners = [each.name for each in self.tricks if name in dict(each.numbers)]
        if len(owners) > 1:
            raise ValueError(
                f"{name} is a number of {' and '.join(owners)}: say {owners[0]}.{name}."
            )
        if owners:
            return owners[0], name
        for each in self.tricks:
            if each.name == name and each.main is not None:
                return name, each.main
        raise ValueError(self._no_number(name))

    def _no_number(self, name: str) -> str:
        own = [n for each in self.tricks for n, _ in each.numbers]
        known = [*OF_RUN, *own, *(each.name for each in self.tricks)]
        return f"there is no number {name!r} in this setup.{like(name, known)}"

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
        if self.network is not None and not self.filled()["network"]:
            rows.insert(1, ("network", _called(self.network), "of your own"))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(
            f"{slot:{widths[0]}}  {name:{widths[1]}}  {numbers}".rstrip()
            for slot, name, numbers in rows
        )

    def plan(self, dataset: Any, **options: Any) -> Any:
        """Return the functions of the training on these data, which know no seed.

        `restore(run)`, if given, returns the network of an earlier run, for tricks that
        learn from one; see `optix_tricks.tricks.Earlier`. `at_once` is the context's.
        """
        from optix_tricks.training._saving import every
        from optix_tricks.tricks._plan import make_plan

        every(self.checkpoint_every)
        if self.on_bad_number not in ON_BAD_NUMBER:
            said = f"got {self.on_bad_number!r}"
            raise ValueError(f"on_bad_number must be stop, skip or restore, {said}.")
        check_count("restores", self.restores, minimum=1)
        return make_plan(self, dataset, **options)

    def job(self, dataset: Any, *, seed: int = 0) -> Any:
        """Return what `training.train` takes; see `plan` for several seeds."""
        return self.plan(dataset).job(seed)


def _called(network: Any) -> str:
    """The name of a network's class or function; of one without, what it is."""
    kind = network if inspect.isfunction(network) else type(network)
    return "a function" if kind.__name__ in ("<lambda>", "tuple") else kind.__name__


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

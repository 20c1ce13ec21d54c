"""A trick: a named function that puts parts into a setup, with its numbers and needs."""

import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from optix_tricks._nearest import like
from optix_tricks.tricks._context import Context

Make = Callable[[Context, Callable[..., Any]], Any]
NUMBERS = (bool, int, float, str, tuple, type(None))
OF_OTHERS = {  # arguments with a plain default that are no numbers
    "mask",
    "weight_decay_mask",
    "trust_ratio_mask",
    "mu_dtype",
    "accumulator_dtype",
    "state_dtype",
    "dtype",
    "phi",
    "per_step",
    "schedule",
    "in_axis",
    "out_axis",
    "batch_axis",
    "column_axis",
    "accumulation_size",
}


class Level(enum.IntEnum):
    """What a trick must be given of the network, the least first."""

    APPLY = 0  # a function of parameters and inputs
    MODULE = 1  # a flax.nnx module, whose layers can be exchanged
    FACTORY = 2  # a function that makes the module from parts

    @property
    def wanted(self) -> str:
        """What a network must be, as a clause."""
        return {
            Level.APPLY: "a function `apply`",
            Level.MODULE: "a flax.nnx module, or a function that makes one",
            Level.FACTORY: "a function that makes a flax.nnx module from parts",
        }[self]


@dataclasses.dataclass(frozen=True)
class Trick:
    """A value: which slots of a setup it fills, by which function, with which numbers.

    Made by `trick`. A call changes numbers: `mixup(alpha=0.4)`, `mixup(0.4)`.

    Attributes:
      name: in the field's terms; a setup has one trick of a name.
      slots: that it fills.
      make: from context and `calls` with its numbers to the part of each slot.
      calls: the proven function behind it, or one of ours that calls it.
      about: the function whose docstring is its card.
      numbers: of that function, by name.
      main: the name of the number that `name=number` sets.
      peak: the name of the number that the learning rate is a multiple of.
      place: among the tricks of its additive slots; see `optix_tricks.tricks.PLACES`.
      level: the lowest of networks at which it works.
      needs: of the data: "images", "vectors", "tokens", "classes", "distribution",
        "validation".
    """

    name: str
    slots: tuple[str, ...]
    make: Make
    calls: Callable[..., Any]
    about: Callable[..., Any]
    numbers: tuple[tuple[str, Any], ...]
    main: str | None = None
    peak: str | None = None
    place: str | None = None
    level: Level = Level.APPLY
    needs: tuple[str, ...] = ()

    def __call__(self, *main: Any, **numbers: Any) -> "Trick":
        """Return the same trick with other numbers.

        Raises:
          ValueError: if it has no number of a name, or no main one.
        """
        if main:
            if self.main is None or len(main) > 1:
                raise ValueError(f"{self.name} takes its numbers by name, got {main}.")
            numbers = {self.main: main[0], **numbers}
        own = dict(self.numbers)
        for name in numbers:
            if name not in own:
                raise ValueError(
                    f"{self.name} has no number {name!r}: it has"
                    f" {', '.join(own) or 'none'}.{like(name, own)}"
                )
        return dataclasses.replace(self, numbers=tuple((own | numbers).items()))

    def __str__(self) -> str:
        """Name and numbers, as `--with` takes the name and the flags the numbers."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.numbers)
        return f"{self.name}({said})"

    def parts(self, context: Context) -> dict[str, Any]:
        """Make the part of each slot."""
        numbers = {name: x for name, x in self.numbers if name != self.peak}
        made = self.make(context, functools.partial(self.calls, **numbers))
        parts = (made,) if len(self.slots) == 1 else made
        return dict(zip(self.slots, parts, strict=True))


def trick(
    *slots: str,
    calls: Callable[..., Any],
    about: Callable[..., Any] | None = None,
    name: str | None = None,
    fields: Iterable[str] | None = None,
    main: str | None = None,
    peak: str | None = None,
    place: str | None = None,
    level: Level = Level.APPLY,
    needs: Iterable[str] = (),
    **defaults: Any,
) -> Callable[[Make], Trick]:
    """Define a trick by the function that makes its part, or a tuple of a part a slot.

    Args:
      *slots: of the setup; see `optix_tricks.tricks.SLOTS`.
      calls: the proven function: its signature has the numbers and their defaults.
      about: the function whose docstring is its card; None takes `calls`.
      name: None takes that of the function that makes the part.
      fields: which of its arguments are numbers of the trick; None takes all that have a
        plain number, string or None for a default.
      main: see `Trick`, as for the next.
      peak: none but an optimiser has one.
      place: needed in an additive slot.
      level: APPLY by default.
      needs: nothing by default.
      **defaults: where the function has none, or the trick another one.

    Examples:
      >>> from optix_tricks.augment import random_flip
      >>> @trick("augment", calls=random_flip, place="flip", needs=["images"])
      ... def mirror(context, call):
      ...     return call
      >>> print(mirror, mirror.slots)
      mirror() ('augment',)
    """

    def define(make: Make) -> Trick:
        parameters = parameters_of(calls)
        found = {
            field: p.default
            for field, p in parameters.items()
            if p.default is not p.empty
            and isinstance(p.default, NUMBERS)
            and field not in OF_OTHERS
        } | defaults
        names = found if fields is None else [*fields, *defaults]
        unknown = [n for n in names if n not in parameters]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if unknown and not takes_any:
            raise ValueError(f"{make.__name__}: {calls} has no argument {unknown[0]!r}.")
        if main is not None and main not in names:
            raise ValueError(f"main of {make.__name__} must be a number, got {main!r}.")
        return Trick(
            name=name or make.__name__,
            slots=slots,
            make=make,
            calls=calls,
            about=about or calls,
            numbers=tuple((field, found[field]) for field in dict.fromkeys(names)),
            main=main,
            peak=peak,
            place=place,
            level=level,
            needs=tuple(needs),
        )

    return define


def as_it_is(context: Context, call: Any) -> Any:
    """Take the function itself for the part."""
    del context
    return call


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the free arguments of a function, a class or a partial of either.

    Of a class those of its `__init__`: a metaclass hides them.
    """
    if isinstance(function, functools.partial):
        free = parameters_of(function.func)
        names = [*free][len(function.args) :]
        return {name: free[name] for name in names if name not in function.keywords}
    if isinstance(function, type):
        of_init = inspect.signature(vars(function)["__init__"]).parameters
        return dict([*of_init.items()][1:])
    return dict(inspect.signature(function).parameters)

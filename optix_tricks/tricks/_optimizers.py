"""Optimisers. Each brings its own peak of the learning rate."""

import functools
import importlib
from typing import Any

import optax

import optix_tricks as ot
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Make, Trick, as_it_is, trick


def of_decayed(context: Context, call: Any) -> Any:
    """Let it decay what the setup decays."""
    return functools.partial(call, mask=context.decay_mask)


def optimizer(
    calls: Any, name: str, *, learning_rate: float, make: Make = as_it_is, **numbers: Any
) -> Trick:
    """Return the trick of an optimiser, ours, Optax's or your own.

    Args:
      calls: `calls(learning_rate, ...)`.
      name: of the trick.
      learning_rate: its peak, if nobody says another.
      make: from context and `calls` with its numbers to the same with a mask.
      **numbers: defaults other than those of `calls`.

    Examples:
      >>> belief = optimizer(optax.adabelief, "adabelief", learning_rate=1e-3)
      >>> print(belief(b2=0.99).numbers[:2])
      (('b1', 0.9), ('b2', 0.99))
    """
    define = trick(
        "optimizer",
        calls=calls,
        name=name,
        main="learning_rate",
        peak="learning_rate",
        learning_rate=learning_rate,
        **numbers,
    )
    return define(make)


sgd = optimizer(ot.sgd, "sgd", learning_rate=0.1)
momentum = optimizer(ot.sgd, "momentum", learning_rate=0.1, momentum=0.9)
nesterov = optimizer(ot.sgd, "nesterov", learning_rate=0.1, momentum=0.9, nesterov=True)
adagrad = optimizer(ot.adagrad, "adagrad", learning_rate=0.01)
adadelta = optimizer(ot.adadelta, "adadelta", learning_rate=1.0)
rmsprop = optimizer(ot.rmsprop, "rmsprop", learning_rate=1e-3)
adam = optimizer(ot.adam, "adam", learning_rate=1e-3)
adamax = optimizer(ot.adamax, "adamax", learning_rate=2e-3)
nadam = optimizer(ot.nadam, "nadam", learning_rate=2e-3)
amsgrad = optimizer(ot.amsgrad, "amsgrad", learning_rate=1e-3)
radam = optimizer(ot.radam, "radam", learning_rate=1e-3)
adabound = optimizer(ot.adabound, "adabound", learning_rate=1e-3)
adamw = optimizer(
    ot.adamw, "adamw", learning_rate=1e-3, make=of_decayed, weight_decay=0.01
)
nadamw = optimizer(
    ot.nadamw, "nadamw", learning_rate=2e-3, make=of_decayed, weight_decay=0.01
)
lars = optimizer(ot.lars, "lars", learning_rate=1.0)
lamb = optimizer(ot.lamb, "lamb", learning_rate=2e-3, make=of_decayed, weight_decay=0.01)
muon = optimizer(ot.muon, "muon", learning_rate=0.02)
lion = optimizer(optax.lion, "lion", learning_rate=1e-4, make=of_decayed)


def by_dotted_name(learning_rate: Any, *, of: str = "optax.adam") -> Any:
    """Return the optimiser of a dotted name at a rate.

    Raises:
      ValueError: if there is none.

    Examples:
      >>> tx = by_dotted_name(0.1, of="optax.contrib.prodigy")
    """
    module, _, name = of.rpartition(".")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"of must be the dotted name of an optimiser, such as optax.lion, got {of!r}."
        ) from error
    return factory(learning_rate)


named = optimizer(by_dotted_name, "named", learning_rate=1e-3)

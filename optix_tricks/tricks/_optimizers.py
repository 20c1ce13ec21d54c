"""Optimisers. Each brings its own peak of the learning rate."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import optax

import optix_tricks as ot
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Make, Trick, as_it_is, trick


def of_decayed(context: Context, call: Any) -> Any:
    """Let it decay what the setup decays."""
    return functools.partial(call, mask=context.decay_mask)


def optimizer(
    calls: Callable[..., Any],
    name: str,
    *,
    learning_rate: float,
    make: Make = as_it_is,
    **numbers: Any,
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


def _lion(
    learning_rate: Any,
    *,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1e-3,
    mask: Any = None,
) -> optax.GradientTransformation:
    r"""Step by the sign of a momentum: Optax's Lion.

    .. math::
        w \leftarrow w - \eta \, (\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w),
        \qquad m \leftarrow \beta_2 m + (1 - \beta_2) g

    Helps large batches and transformers, with one slot where AdamW has two. Hurts small
    batches, where the sign is that of the noise. Every step has the same size: the rate
    wants to be 3 to 10 times smaller than AdamW's, and the decay as many times larger.
    Cost: one slot.

    Beside others: clipping and the scale of the loss change nothing but the momentum's
    memory; decay is decoupled already, so no `decoupled_decay` beside it.

    Args:
      learning_rate: :math:`\eta`.
      b1: :math:`\beta_1`, of the step.
      b2: :math:`\beta_2`, of the memory.
      weight_decay: :math:`\lambda`, decoupled.
      mask: which leaves decay.

    Source: "Symbolic Discovery of Optimization Algorithms", Chen et al., 2023.
    """
    return optax.lion(learning_rate, b1, b2, weight_decay=weight_decay, mask=mask)


lion = optimizer(_lion, "lion", learning_rate=1e-4, make=of_decayed)


def by_dotted_name(learning_rate: Any, *, of: str = "optax.adam") -> Any:
    r"""Return the optimiser of a dotted name at a rate.

    .. math:: w \leftarrow w + u_t, \qquad u_t = \mathrm{of}(\eta)(g_t)

    Helps to try an optimiser that is no trick, of Optax or of any module. Hurts nothing
    but the numbers: all but the rate stay at its defaults. Cost: its own.

    Beside others: it decays what it decays by itself, whatever the setup's mask says;
    `optimizer` makes a trick of it, with its numbers and its mask.

    Args:
      learning_rate: :math:`\eta`, its first argument.
      of: the dotted name.

    Source: `optax.contrib` and whoever wrote the module.

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

"""From a setup and data to functions that know no seed, and to a job."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array, Key

from optix_tricks._tree import PyTree
from optix_tricks.training import Dataset, Job, Mix
from optix_tricks.tricks._chain import (
    Parts,
    make_optimizer,
    only,
    peak_times,
    shape_of_run,
)
from optix_tricks.tricks._context import Context, in_turn, named_key
from optix_tricks.tricks._network import check_levels, make_network
from optix_tricks.tricks._setup import Setup
from optix_tricks.tricks._targets import default_loss, kind_of, obvious_metrics

NEEDS: Mapping[str, tuple[Callable[[Context], bool], str]] = {
    "images": (
        lambda context: context.has_images,
        "inputs that are images, uint8 [height, width, channel]",
    ),
    "classes": (lambda context: context.has_classes, "one class for each example"),
    "distribution": (
        lambda context: kind_of(context) in ("classes", "dense"),
        "targets that are classes",
    ),
}
EARLY = ("shape", "warm_up", "decay_mask")  # other parts are made from these, ...
OF_NETWORK = (
    "network",
    "norm",
    "kernel",
    "kernel_init",
    "precision",
    "options",
    "inserted",
    "made",
    "applied",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The functions of a training on given data. Another seed compiles nothing."""

    setup: Setup
    context: Context
    parts: Parts
    functions: Job  # without weights

    def job(self, seed: int = 0) -> Job:
        """Return what `training.train` takes."""
        params, batch_stats = self.context.network.init(seed)
        return self.functions._replace(params=params, batch_stats=batch_stats, seed=seed)

    def optimizer(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        """Return the optimiser at another rate, in the optimiser's own unit."""
        return make_optimizer(
            self.setup, self.parts, self.context, learning_rate=learning_rate
        )


def make_plan(setup: Setup, dataset: Dataset) -> Plan:
    """Make all parts of a setup for these data.

    Raises:
      ValueError: if a trick cannot apply to the network or the data, or there is no
        optimiser or no network.
    """
    filled = setup.filled()
    if not filled["optimizer"]:
        raise ValueError("a setup needs an optimiser: take one, such as sgd(0.1).")
    if setup.network is None and not filled["network"]:
        raise ValueError(
            "a setup needs a network: give network=, or take a trick of one."
        )
    check_levels(setup)
    context = Context(dataset, setup.epochs, setup.batch_size)
    _check_needs(setup, context)
    context = _with_rate(setup, context)
    network = make_network(setup, setup.parts(context, OF_NETWORK), context)
    context = dataclasses.replace(context, network=network)
    parts = setup.parts(context)
    loss, test_loss = _losses(setup, parts, context)
    functions = Job(
        apply=network.apply,
        params={},
        batch_stats={},
        loss=loss,
        tx=make_optimizer(setup, parts, context),
        alternate=in_turn(parts["alternate"]),
        augment=in_turn(parts["augment"]),
        mix=_named(parts["mix"]),
        penalty=_sum_of(parts["penalties"]),
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        seed=0,
        test_loss=test_loss,
        test_views=only(parts["views"]),
        tested=only(parts["tested"], _as_it_is),
        metrics=obvious_metrics(context) | parts["metrics"],
    )
    return Plan(setup, context, parts, functions)


def _losses(setup: Setup, parts: Parts, context: Context) -> tuple[Any, Any]:
    """What is minimised, and what is tested: without what a trick adds for training."""
    trained = only(parts["loss"])
    if setup.loss is None and trained is not None and kind_of(context) == "other":
        return trained, trained
    plain = setup.loss or default_loss(context)
    return trained or plain, plain


def _with_rate(setup: Setup, context: Context) -> Context:
    """Add what other parts are made from."""
    for each in setup.filled()["around"]:
        steps = dict(each.numbers).get("every_steps", 1)
        context = dataclasses.replace(context, accumulated=context.accumulated * steps)
    early = setup.parts(context, EARLY)
    context = dataclasses.replace(context, decay_mask=only(early["decay_mask"]))
    rate = peak_times(setup, shape_of_run(early, context))
    return dataclasses.replace(context, rate=rate)


def _check_needs(setup: Setup, context: Context) -> None:
    for each in setup.tricks:
        for need in each.needs:
            holds, wanted = NEEDS[need]
            if not holds(context):
                example = context.example
                raise ValueError(
                    f"{each.name} needs {wanted}: the data set {context.dataset.name!r}"
                    f" has inputs {_shape(example.inputs)} and targets"
                    f" {_shape(example.targets)}."
                )


def _shape(tree: PyTree) -> str:
    shapes = [f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(tree)]
    return ", ".join(shapes)


def _as_it_is(state: Any) -> Any:
    return state


def _named(mixes: Mapping[str, Mix]) -> Mix | None:
    """Let a mix draw from the key of its own name."""
    if not mixes:
        return None
    ((name, part),) = mixes.items()

    def mix(key: Key[Array, ""], inputs: Any, targets: Any) -> tuple[Any, Any]:
        return part(named_key(key, name), inputs, targets)

    return mix


def _sum_of(penalties: Mapping[str, Any]) -> Callable[[PyTree], Array] | None:
    if not penalties:
        return None
    return lambda params: sum(penalty(params) for penalty in penalties.values())

"""From a setup and data to functions that know no seed, and to a job."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from optix_tricks._checks import check_nonnegative, check_positive
from optix_tricks._tree import PyTree
from optix_tricks.training import Dataset, Job, Mix
from optix_tricks.training._watch import Choice
from optix_tricks.tricks._augmentation import cropped_on_host
from optix_tricks.tricks._chain import (
    Parts,
    in_unit,
    make_optimizer,
    only,
    peak_of,
    shape_of_run,
)
from optix_tricks.tricks._context import Context, Earlier, in_turn, named_key
from optix_tricks.tricks._gradients import skip_nonfinite
from optix_tricks.tricks._metric import of_outputs
from optix_tricks.tricks._network import check_levels, make_network
from optix_tricks.tricks._setup import Setup
from optix_tricks.tricks._targets import default_loss, kind_of, obvious_metrics


def _data_set(context: Context) -> str:
    inputs, targets = map(_shape, context.example[:2])
    return (
        f"the data set {context.dataset.name!r} has inputs {inputs} and targets {targets}"
    )


# What a trick may need of the data: whether it is there, its name, what there is instead.
NEEDS: Mapping[str, tuple[Callable[[Context], bool], str, Callable[[Context], str]]] = {
    "images": (
        lambda context: context.has_images,
        "inputs that are images, uint8 [height, width, channel]",
        _data_set,
    ),
    "classes": (
        lambda context: context.has_classes,
        "one class for each example",
        _data_set,
    ),
    "vectors": (
        lambda context: context.has_vectors,
        "inputs that are one array of numbers, floats or uint8",
        _data_set,
    ),
    "tokens": (
        lambda context: context.has_tokens,
        "inputs that are tokens, integers [length], and a class at each of them",
        _data_set,
    ),
    "distribution": (
        lambda context: kind_of(context) in ("classes", "dense"),
        "targets that are classes",
        _data_set,
    ),
    "validation": (
        lambda context: context.dataset.validation is not None,
        "a validation split",
        lambda context: (
            "give --validation 0.1, or the data that split_validation returns"
        ),
    ),
}
EARLY = ("shape", "warm_up", "unit", "decay_mask")  # other parts are made from these, ...
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
        """Return the optimiser at another rate, in the unit of the setup's own peak."""
        return make_optimizer(
            self.setup, self.parts, self.context, learning_rate=learning_rate
        )


def make_plan(
    setup: Setup,
    dataset: Dataset,
    *,
    restore: Callable[[str], Earlier] | None = None,
    at_once: bool = False,
) -> Plan:
    """Make all parts of a setup for these data.

    Raises:
      ValueError: if a trick cannot apply to the network or the data, or there is no
        optimiser or no network.
    """
    names = [each.name for each in setup.tricks]
    if setup.on_bad_number == "skip" and skip_nonfinite.name not in names:
        setup = setup.take(skip_nonfinite)
    filled = setup.filled()
    if not filled["optimizer"]:
        raise ValueError("a setup needs an optimiser: take one, such as sgd(0.1).")
    if setup.network is None and not filled["network"]:
        raise ValueError(
            "a setup needs a network: give network=, or take a trick of one."
        )
    check_levels(setup)
    check_positive("epochs", setup.epochs)
    check_nonnegative("learning_rate", peak_of(setup))
    context = Context(dataset, setup.epochs, setup.batch_size, at_once=at_once)
    if restore is not None:
        context = dataclasses.replace(context, restore=restore)
    _check_needs(setup, context)
    context = _with_rate(setup, context)
    network = make_network(setup, setup.parts(context, OF_NETWORK), context)
    context = dataclasses.replace(context, network=network)
    parts = setup.parts(context)
    loss, test_loss = _losses(setup, parts, context)
    metrics = obvious_metrics(context) | parts["metrics"]
    if parts["added"] or parts["chosen"]:
        loss = of_outputs(loss, weight=sum(parts["added"].values()))
        metrics = {name: of_outputs(metric) for name, metric in metrics.items()}
    _check_keeps(setup, {"loss": None, **metrics})
    augment, crop = parts["augment"], None
    if dataset.streamed and dataset.train.inputs.is_cropped:
        augment, crop = cropped_on_host(augment)
    functions = Job(
        apply=network.apply,
        params={},
        batch_stats={},
        loss=loss,
        tx=make_optimizer(setup, parts, context),
        alternate=in_turn(parts["alternate"]),
        augment=in_turn(augment),
        mix=_named(parts["mix"]),
        penalty=_sum_of(parts["penalties"]),
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        checkpoint_every=setup.checkpoint_every,
        seed=0,
        test_loss=test_loss,
        test_views=only(parts["views"]),
        tested=only(parts["tested"], _as_it_is),
        metrics=metrics,
        phases=tuple(phase for some in parts["phases"].values() for phase in some),
        stop=only(parts["stop"]),
        observe=_one_by_one(parts["observe"]),
        begin=only(parts["begin"]),
        keep_best=setup.keep_best,
        restores=setup.restores if setup.on_bad_number == "restore" else 0,
        crop=crop,
    )
    _check_on_examples(setup, functions, context)
    return Plan(setup, context, parts, functions)


def rate_after(setup: Setup, dataset: Dataset, epochs: int) -> float:
    """Return the learning rate of the first step after some epochs."""
    context = _with_rate(setup, Context(dataset, setup.epochs, setup.batch_size))
    done = epochs * context.steps_per_epoch // context.accumulated
    assert context.rate is not None
    return float(context.rate(jnp.asarray(done)))


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
    peak, shape = peak_of(setup), shape_of_run(early, context)
    rate = in_unit(lambda count: peak * shape(count), early)
    return dataclasses.replace(context, peak=peak, rate=rate)


def _check_needs(setup: Setup, context: Context) -> None:
    for each in setup.tricks:
        for need in each.needs:
            holds, wanted, instead = NEEDS[need]
            if not holds(context):
                raise ValueError(f"{each.name} needs {wanted}: {instead(context)}.")


def _check_keeps(setup: Setup, metrics: Mapping[str, Any]) -> None:
    if setup.keep_best is None or Choice.of(setup.keep_best).metric in metrics:
        return
    raise ValueError(
        f"keep_best must be a metric of the run, {' or '.join(metrics)}, got"
        f" {setup.keep_best!r}."
    )


def _check_on_examples(setup: Setup, functions: Job, context: Context) -> None:
    """Let what cannot be done to two examples say so before anything is compiled."""
    key = jax.random.key(0)
    inputs, targets = context.first(2)[:2]
    if functions.augment is not None:
        inputs = jax.eval_shape(functions.augment, key, inputs)
    if functions.mix is not None:
        inputs, targets = jax.eval_shape(functions.mix, key, inputs, targets)
    loss = setup.filled()["loss"]
    if loss and "distribution" in loss[0].needs:
        shape = context.example.targets.shape if kind_of(context) == "classes" else ()
        outputs = jax.ShapeDtypeStruct((2, *shape, context.classes), jnp.float32)
        jax.eval_shape(functions.loss, outputs, targets)


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


def _one_by_one(parts: Mapping[str, Any]) -> Callable[[Any, Array], Any] | None:
    observers = [part for part in parts.values() if part is not None]
    if not observers:
        return None

    def observe(state: Any, loss: Array) -> Any:
        for part in observers:
            state = part(state, loss)
        return state

    return observe


def _sum_of(penalties: Mapping[str, Any]) -> Callable[[PyTree], Array] | None:
    if not penalties:
        return None
    return lambda params: sum(penalty(params) for penalty in penalties.values())

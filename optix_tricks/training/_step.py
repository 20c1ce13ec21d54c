"""The training step: one pure function, compiled for one device or for many."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Integer, Key

from optix_tricks._checks import check_nonnegative
from optix_tricks._packed import packed_like, unpacked
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, global_norm, safe_divide
from optix_tricks.training._batch import Batch, weighted
from optix_tricks.training._metrics import Metric, default_metrics
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.transforms import loss_scale, report, skips_steps

Metrics = dict[str, Float[Array, ""]]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
Augment = Callable[[Key[Array, ""], Any], Any]
Alternate = Callable[[Key[Array, ""], Any, Array, Array], Any]
Mix = Callable[[Key[Array, ""], Any, Any], tuple[Any, Any]]


class StepKeys(NamedTuple):
    """What one step draws from."""

    augment: Key[Array, ""]
    mix: Key[Array, ""]
    network: Key[Array, ""]  # dropout and the like


def step_keys(key: Key[Array, ""], step: Integer[Array, ""] | int) -> StepKeys:
    """Return the keys of a step, which follow from the state's key and its number."""
    check_nonnegative("step", step)
    return StepKeys(*jax.random.split(jax.random.fold_in(key, step), 3))


def prepared(
    batch: Batch,
    keys: StepKeys,
    state: TrainState,
    *,
    alternate: Alternate | None,
    augment: Augment | None,
    mix: Mix | None,
) -> tuple[PyTree, PyTree]:
    """Return inputs and targets of a step as the network and the loss get them."""
    inputs, targets = batch.inputs, batch.targets
    if alternate is not None:
        if batch.indices is None:
            raise ValueError(
                "batch must have indices for alternate, got None: give "
                "Batch(inputs, targets, indices)."
            )
        of_run, _ = jax.random.split(state.key)  # no key of a step or an epoch
        inputs = alternate(of_run, inputs, batch.indices, state.step)
    if augment is not None:
        inputs = augment(keys.augment, inputs)
    if mix is not None:
        inputs, targets = mix(keys.mix, inputs, targets)
    return inputs, targets


def make_train_step(
    apply: Apply,
    loss: Callable[[Any, Any], Array],
    tx: optax.GradientTransformation,
    *,
    alternate: Alternate | None = None,
    augment: Augment | None = None,
    mix: Mix | None = None,
    penalty: Callable[[PyTree], Array] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    axis_name: str | None = None,
) -> Step:
    """Build the step `(state, batch) -> (state, metrics)`, pure and not yet compiled.

    Under `dynamic_loss_scale` the loss is multiplied by the scale before it is derived,
    and nothing else needs to know: metrics are those of the loss as it is. Where the
    optimiser leaves out steps whose gradients are not finite, as under it, they leave the
    batch statistics as they were too.

    Args:
      apply: the network; see `training.functional`.
      loss: `loss(outputs, targets)` -> one number per example or position; their mean, by
        the batch's weights if it has some, is minimised.
      tx: any Optax transformation. Its update is given, as extra arguments for those that
        take them, `value` and `grad`, the loss and its gradient on this batch, and the
        functions `value_fn(params)` and `grad_fn(params)` that return them elsewhere:
        same images, same augmentation, same dropout, averaged over `axis_name`, and the
        batch statistics dropped. So SAM, L-BFGS, Newton's method and `reduce_on_plateau`
        work in the step; what is not taken costs nothing.
      alternate: `alternate(key, inputs, indices, step) -> inputs`, first of all: what
        follows from an example's number in the data set and the step, as
        `alternating_flip` does. Its key is the same in every step; the batch must say its
        `indices`.
      augment: `augment(key, inputs) -> inputs`, drawn anew each step from the state's
        key and step number: the same step draws the same, also after a resume.
      mix: `mix(key, inputs, targets) -> (inputs, targets)`, after `augment`: classes may
        become dense, as those of `mixup` are, or a tuple that begins with them; the loss
        gets what comes.
      penalty: `penalty(params)`, added to the mean loss, such as `l2_penalty`.
      metrics: `metric(outputs, targets)` by name, as of `training.accuracy`: means of
        them are reported beside the loss. None takes the accuracy where the batch's
        targets are classes of its examples or positions.
      axis_name: the axis over which `pmap` splits the batch. Gradients, statistics and
        metrics are averaged over it. None under `jit`, on one device or a mesh.

    Returns:
      The step. Its metrics are float32 scalars: `loss` (with the penalty) and `metrics`
      of the batch before the update, `gradient_norm`, `update_norm`, `parameter_norm`
      (before the update), and what `optix_tricks.report` reads from the optimiser, such
      as `learning_rate` and `clip_factor`. The accuracy counts a mixed label's largest
      class.

    Raises:
      ValueError: when traced, if the batch's weights do not fit the losses.
    """
    tx = optax.with_extra_args_support(tx)

    def average(tree: PyTree) -> PyTree:
        return tree if axis_name is None else lax.pmean(tree, axis_name)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = state.key
        if axis_name is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis_name))
        keys = step_keys(key, state.step)
        inputs, targets = prepared(
            batch, keys, state, alternate=alternate, augment=augment, mix=mix
        )
        scale = loss_scale(state.opt_state, default=1.0).astype(jnp.float32)

        def mean(values: Array) -> Array:
            """By the weights of all devices' batches: `average` makes it the whole's."""
            if batch.weights is None:
                return jnp.mean(values)
            total, weight = weighted(values, batch.weights)
            return safe_divide(total, average(weight))

        def objective(params: Arrays) -> tuple[Array, tuple[PyTree, PyTree]]:
            """Of a plain tree: the derivative of an unpacking would be a sum of pads."""
            outputs, stats = apply(
                params, state.batch_stats, inputs, train=True, key=keys.network
            )
            value = mean(loss(outputs, targets))
            if penalty is not None:
                value = value + penalty(params)
            return scale * value, (outputs, stats)

        def value_fn(params: Arrays, *, grad_fn: Any = None) -> Array:
            del grad_fn  # Optax's line searches want each extra argument to be taken.
            # The inner average, of equal trees, is there for the derivative: its
            # transpose averages the gradients over the devices.
            return average(objective(average(unpacked(params)))[0])

        def grad_fn(params: Arrays) -> PyTree:
            grads, _ = jax.grad(objective, has_aux=True)(unpacked(params))
            return packed_like(average(grads), params)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (value, (outputs, batch_stats)), grads = gradient(unpacked(state.params))
        counted = default_metrics(outputs, batch.targets) if metrics is None else metrics
        found = {
            name: mean(metric(outputs, targets).astype(jnp.float32))
            for name, metric in counted.items()
        }
        # Under pmap each device's gradient is that of the sum of all devices' losses,
        # through synchronised batch statistics too: the average is the mean's gradient.
        grads, value, found, batch_stats = average((grads, value, found, batch_stats))
        grads = packed_like(grads, state.params)
        updates, opt_state = tx.update(
            grads,
            state.opt_state,
            state.params,
            value=value,
            grad=grads,
            value_fn=value_fn,
            grad_fn=grad_fn,
        )
        gradient_norm = global_norm(grads)
        if skips_steps(state.opt_state):
            kept = functools.partial(jnp.where, jnp.isfinite(gradient_norm))
            batch_stats = jax.tree.map(kept, batch_stats, state.batch_stats)
        said = {
            "loss": value / scale,
            **found,
            "gradient_norm": gradient_norm / scale,
            "update_norm": global_norm(updates),
            "parameter_norm": global_norm(state.params),
        } | report(opt_state, per_layer=False)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            key=state.key,
        )
        return new_state, said

    return step

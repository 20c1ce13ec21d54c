"""The training step: one pure function, compiled for one device or for many."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Integer, Key, Num

from optix_tricks._packed import packed_like, unpacked
from optix_tricks._tree import PyTree, check_arrays, global_norm
from optix_tricks.training._compiling import explained, jit
from optix_tricks.training._state import Apply, TrainState
from optix_tricks.transforms import loss_scale, report

Metrics = dict[str, Float[Array, ""]]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
Augment = Callable[[Key[Array, ""], Array], Array]
Alternate = Callable[[Key[Array, ""], Array, Array, Array], Array]
Mix = Callable[[Key[Array, ""], Array, Array], tuple[Array, Any]]


class Batch(NamedTuple):
    """Images and their classes."""

    images: Num[Array, "batch height width channel"]
    labels: Integer[Array, " batch"]
    indices: Integer[Array, " batch"] | None = None  # in the data set

    def take(self, index: Integer[Array, " batch"]) -> "Batch":
        """Return the examples at these places of a whole data set."""
        return Batch(self.images[index], self.labels[index], index)


class StepKeys(NamedTuple):
    """What one step draws from."""

    augment: Key[Array, ""]
    mix: Key[Array, ""]
    network: Key[Array, ""]  # dropout and the like


def step_keys(key: Key[Array, ""], step: Integer[Array, ""] | int) -> StepKeys:
    """Return the keys of a step, which follow from the state's key and its number."""
    return StepKeys(*jax.random.split(jax.random.fold_in(key, step), 3))


def prepared(
    batch: Batch,
    keys: StepKeys,
    state: TrainState,
    *,
    alternate: Alternate | None,
    augment: Augment | None,
    mix: Mix | None,
) -> tuple[Array, Any]:
    """Return images and labels of a step as the network and the loss get them."""
    images, labels, indices = batch
    if alternate is not None:
        if indices is None:
            raise ValueError(
                "batch must have indices for alternate, got None: give "
                "Batch(images, labels, indices)."
            )
        of_run, _ = jax.random.split(state.key)  # no key of a step or an epoch
        images = alternate(of_run, images, indices, state.step)
    if augment is not None:
        images = augment(keys.augment, images)
    if mix is not None:
        images, labels = mix(keys.mix, images, labels)
    return images, labels


def make_train_step(
    apply: Apply,
    loss: Callable[[Array, Any], Array],
    tx: optax.GradientTransformation,
    *,
    alternate: Alternate | None = None,
    augment: Augment | None = None,
    mix: Mix | None = None,
    penalty: Callable[[PyTree], Array] | None = None,
    axis_name: str | None = None,
) -> Step:
    """Build the step `(state, batch) -> (state, metrics)`, pure and not yet compiled.

    Under `dynamic_loss_scale` the loss is multiplied by the scale before it is derived,
    and nothing else needs to know: metrics are those of the loss as it is. A step whose
    gradients are not finite leaves the batch statistics as they were.

    Args:
      apply: the network; see `training.functional`.
      loss: `loss(logits, labels)` -> one number per example; their mean is minimised.
      tx: any Optax transformation. Its update is given, as extra arguments for those that
        take them, `value` and `grad`, the loss and its gradient on this batch, and the
        functions `value_fn(params)` and `grad_fn(params)` that return them elsewhere:
        same images, same augmentation, same dropout, averaged over `axis_name`, and the
        batch statistics dropped. So SAM, L-BFGS, Newton's method and `reduce_on_plateau`
        work in the step; what is not taken costs nothing.
      alternate: `alternate(key, images, indices, step) -> images`, first of all: what
        follows from an image's number in the data set and the step, as
        `alternating_flip` does. Its key is the same in every step; the batch must say its
        `indices`.
      augment: `augment(key, images) -> images`, drawn anew each step from the state's
        key and step number: the same step draws the same, also after a resume.
      mix: `mix(key, images, labels) -> (images, labels)`, after `augment`: labels may
        become dense, as those of `mixup` are, or a tuple that begins with them; the loss
        gets what comes.
      penalty: `penalty(params)`, added to the mean loss, such as `l2_penalty`.
      axis_name: the axis over which `pmap` splits the batch. Gradients, statistics and
        metrics are averaged over it. None under `jit`, on one device or a mesh.

    Returns:
      The step. Its metrics are float32 scalars: `loss` (with the penalty) and `accuracy`
      of the batch before the update, `gradient_norm`, `update_norm`, `parameter_norm`
      (before the update), and what `optix_tricks.report` reads from the optimiser, such
      as `learning_rate` and `clip_factor`. The accuracy counts a mixed label's largest
      class.
    """
    tx = optax.with_extra_args_support(tx)

    def average(tree: PyTree) -> PyTree:
        return tree if axis_name is None else lax.pmean(tree, axis_name)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = state.key
        if axis_name is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis_name))
        keys = step_keys(key, state.step)
        images, labels = prepared(
            batch, keys, state, alternate=alternate, augment=augment, mix=mix
        )
        scale = loss_scale(state.opt_state, default=1.0).astype(jnp.float32)

        def objective(params: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
            """Of a plain tree: the derivative of an unpacking would be a sum of pads."""
            logits, stats = apply(
                params, state.batch_stats, images, train=True, key=keys.network
            )
            value = jnp.mean(loss(logits, labels))
            if penalty is not None:
                value = value + penalty(params)
            return scale * value, (logits, stats)

        def value_fn(params: PyTree, *, grad_fn: Any = None) -> Array:
            del grad_fn  # Optax's line searches want each extra argument to be taken.
            # The inner average, of equal trees, is there for the derivative: its
            # transpose averages the gradients over the devices.
            return average(objective(average(unpacked(params)))[0])

        def grad_fn(params: PyTree) -> PyTree:
            grads, _ = jax.grad(objective, has_aux=True)(unpacked(params))
            return packed_like(average(grads), params)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (value, (logits, batch_stats)), grads = gradient(unpacked(state.params))
        correct = jnp.argmax(logits, axis=-1) == classes_of(labels)
        accuracy = jnp.mean(correct, dtype=jnp.float32)
        # Under pmap each device's gradient is that of the sum of all devices' losses,
        # through synchronised batch statistics too: the average is the mean's gradient.
        grads, value, accuracy, batch_stats = average(
            (grads, value, accuracy, batch_stats)
        )
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
        kept = functools.partial(jnp.where, jnp.isfinite(gradient_norm))
        batch_stats = jax.tree.map(kept, batch_stats, state.batch_stats)
        metrics = {
            "loss": value / scale,
            "accuracy": accuracy,
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
        return new_state, metrics

    return step


def classes_of(labels: Any) -> Array:
    """Return integer labels as they are, and of dense ones the largest class."""
    if isinstance(labels, tuple):
        labels = labels[0]
    return labels if labels.ndim == 1 else jnp.argmax(labels, axis=-1)


def compile_step(step: Step) -> Step:
    """Compile for one device. The state is donated: use the one that comes back."""
    return jit(step, donate_argnums=0)


def compile_step_on_mesh(
    step: Step, mesh: Mesh, state: TrainState, *, shard_state: bool = False
) -> tuple[Step, TrainState]:
    """Compile for a mesh: the batch is split over all its devices.

    The step is the one of a single device; the compiler splits it, so that losses,
    gradients and batch statistics are those of the whole batch.

    Args:
      step: built without `axis_name`.
      mesh: devices, on axes of type Auto; the batch size must be a multiple of their
        number.
      state: placed on the mesh.
      shard_state: False copies the state to every device (data parallel). True splits
        every array of parameters and optimiser state along its longest axis that the
        number of devices divides, which saves memory and costs communication.

    Returns:
      The compiled step and the placed state, a copy, which the step is given for good.

    Raises:
      ValueError: when the step is called, if the devices do not divide the batch.
    """
    check_arrays("state", state)

    def shard(x: Array) -> NamedSharding:
        spec: list[Any] = [None] * x.ndim
        axes = [i for i in range(x.ndim) if x.shape[i] % mesh.size == 0 and x.shape[i]]
        if shard_state and axes:
            spec[max(axes, key=lambda i: x.shape[i])] = mesh.axis_names
        return NamedSharding(mesh, PartitionSpec(*spec))

    shardings = jax.tree.map(shard, state)
    over_batch = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    compiled = jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, over_batch),
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )

    def fault(state: TrainState, batch: Any) -> str | None:
        sizes = [n for x in jax.tree.leaves(batch) for n in jnp.shape(x)[:1]]
        if not (others := [n for n in sizes if n % mesh.size]):
            return None
        return (
            f"batch must hold a multiple of the mesh's {mesh.size} devices, which split"
            f" it, got {others[0]} examples."
        )

    # The first device's part of what is placed may be the array that was given.
    placed = jax.device_put(jax.tree.map(jnp.copy, state), shardings)
    return explained(compiled, fault), placed


def compile_step_on_devices(
    step: Step, state: TrainState, *, axis_name: str, devices: list | None = None
) -> tuple[Step, TrainState]:
    """Compile with `pmap`: a leading axis of devices on state and batch.

    Args:
      step: built with the same `axis_name`, from a network with it.
      state: copied to every device.
      axis_name: the name of the axis.
      devices: all by default.

    Returns:
      The compiled step and the state with a leading axis. Batches need it too:
      `jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), batch)`.

    Raises:
      ValueError: when the step is called, if the batch has no such axis.
    """
    devices = jax.devices() if devices is None else devices
    n = len(devices)
    check_arrays("state", state)
    stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (n, *x.shape)), state)
    compiled = jax.pmap(step, axis_name=axis_name, donate_argnums=0, devices=devices)

    def fault(state: TrainState, batch: Any) -> str | None:
        shapes = [list(jnp.shape(x)) for x in jax.tree.leaves(batch)]
        if not (others := [shape for shape in shapes if shape[:1] != [n]]):
            return None
        return (
            f"batch must have a first axis of the {n} devices and the examples of each on"
            f" the second, got shape {others[0]}."
        )

    return explained(compiled, fault), stacked

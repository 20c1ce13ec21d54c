"""The training step compiled: for one device, for a mesh, or by `pmap`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from optix_tricks._tree import check_arrays
from optix_tricks.training._compiling import explained, jit
from optix_tricks.training._state import TrainState
from optix_tricks.training._step import Step


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

"""The training step compiled: for one device, for a mesh, or by `pmap`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optix_tricks._tree import check_arrays
from optix_tricks.training._compiling import explained, jit
from optix_tricks.training._layouts import Layout, over_batch, put, state_shardings
from optix_tricks.training._state import TrainState
from optix_tricks.training._step import Step


def compile_step(step: Step) -> Step:
    """Compile for one device. The state is donated: use the one that comes back."""
    return jit(step, donate_argnums=0)


def compile_step_on_mesh(
    step: Step,
    mesh: Mesh,
    state: TrainState,
    *,
    layout: Layout = "replicated",
    axis_name: str | None = None,
) -> tuple[Step, TrainState]:
    """Compile for a mesh: the batch is split over all its devices.

    The step is the one of a single device; the compiler splits it, so that losses,
    gradients and batch statistics are those of the whole batch. The compiler sums a
    gradient over the devices in the dtype in which it was computed: that of a kernel in
    bfloat16 in bfloat16, in half the bytes. With `axis_name` each device casts its own to
    the parameters' dtype, and the sum is taken in that.

    Args:
      step: built with the same `axis_name`; without one by default.
      mesh: devices, on axes of type Auto, of several processes too; the batch size must
        be a multiple of their number.
      state: placed on the mesh, in every process the same; shapes without values, of
        `jax.eval_shape`, are only told where they would lie, and so are arrays on devices
        that only compile.
      layout: "replicated" copies the state to every device (data parallel), "zero1"
        splits the optimiser's, "fsdp" the parameters too, which saves memory and costs
        communication; see `state_shardings`.
      axis_name: the mesh's one axis. Each device then runs the step on its part of the
        batch, as `compile_step_on_devices` has it: from a network with that axis the
        statistics are the whole batch's, from one without each device's own. Random draws
        are others on each device.

    Returns:
      The compiled step and the placed state, a copy, which the step is given for good.
      The step's `lower(state, batch)` takes shapes too.

    Raises:
      ValueError: if there is no such layout, or `axis_name` is not the mesh's one axis or
        comes with a state that is split; when the step is called, if the devices do not
        divide the batch.
    """
    shardings = state_shardings(state, mesh, layout)
    if axis_name is not None:
        if layout != "replicated" or mesh.axis_names != (axis_name,):
            raise ValueError(
                "axis_name must be the one axis of the mesh, and layout 'replicated', got"
                f" {axis_name!r}, the axes {mesh.axis_names} and layout={layout!r}."
            )
        # Unchecked, a sum is derived as under pmap, for which the step is written.
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(axis_name)),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    compiled = jit(
        step,
        platform=mesh.devices.flat[0].platform,
        donate_argnums=0,
        in_shardings=(shardings, over_batch(mesh)),
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

    if _is_abstract(state) or _compile_only(mesh):
        return explained(compiled, fault), jax.tree.map(_told, state, shardings)
    return explained(compiled, fault), put(state, shardings)


def _is_abstract(state: TrainState) -> bool:
    return any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state))


def _compile_only(mesh: Mesh) -> bool:
    """Whether no array can be put there; see `ahead.compile_only_devices`."""
    return "CompileOnly" in type(mesh.devices.flat[0].client).__name__


def _told(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


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

"""A job's training step, lowered for devices that are not there, from shapes alone."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    TrainState,
    compile_step_on_mesh,
    create_state,
    matrix_flops,
)
from optix_tricks.training._layouts import Layout


def lower_step(
    job: Job,
    dataset: Dataset,
    devices: Sequence[jax.Device],
    *,
    packed: bool = False,
    layout: Layout = "replicated",
) -> tuple[Any, int]:
    """Trace a job's step for a batch that is split over devices.

    Args:
      job: of a setup or a recipe; its weights are not read.
      dataset: whose shapes the batch has.
      devices: of `compile_only_devices`, or real ones.
      packed: keep parameters and optimiser state in a few buffers.
      layout: as in `compile_step_on_mesh`.

    Returns:
      What `.compile()` compiles, and the operations of the whole batch (`matrix_flops`).

    Raises:
      ValueError: if there are no devices, or they do not divide the batch.
    """
    if len(devices) == 0:
        raise ValueError("devices must hold one or more, got none: give jax.devices().")
    if job.batch_size % len(devices):
        raise ValueError(
            f"batch_size must be a multiple of the {len(devices)} devices, got"
            f" {job.batch_size}."
        )
    state = jax.eval_shape(_new_state(job, packed), job.params, job.batch_stats)
    batch = jax.eval_shape(
        lambda data: data.take(jnp.arange(job.batch_size)), _shapes(dataset.train)
    )
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    step, placed = compile_step_on_mesh(job.step, mesh, state, layout=layout)
    flops = matrix_flops(job.step, state, batch)
    return step.lower(placed, batch), flops  # type: ignore[attr-defined]


def _new_state(job: Job, packed: bool) -> Any:
    def new(params: Any, batch_stats: Any) -> TrainState:
        return create_state(
            params, batch_stats, job.tx, jax.random.key(job.seed), packed=packed
        )

    return new


def _shapes(data: Batch) -> Batch:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)),
        data,
    )

"""Why a step is not finite: its examples, the weights before it, or a gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks._packed import unpacked
from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training._batch import Batch
from optix_tricks.training._compiling import jit
from optix_tricks.training._dataset import Dataset
from optix_tricks.training._finite import are_finite, not_finite
from optix_tricks.training._job import Job
from optix_tricks.training._state import TrainState


class Cause(NamedTuple):
    """What was found, as a clause, and what to do where it is not the rate."""

    said: str
    way_out: str | None = None


def cause_in_data(dataset: Dataset, index: Any) -> Cause | None:
    """Look for what is amiss with the training examples of a step.

    Args:
      dataset: with arrays of the host.
      index: of the step's examples.
    """
    index = np.asarray(index)
    data = dataset.train
    trees = {"inputs": data.inputs, "labels": data.targets, "weights": data.weights}
    for name, x, _ in named_leaves(trees):
        values = np.asarray(x[index])
        is_float = jnp.issubdtype(values.dtype, jnp.inexact)
        bad = ~np.isfinite(values.astype(np.float64)) if is_float else None
        if bad is None and name == "labels" and values.ndim == 1 and dataset.num_classes:
            bad = (values < 0) | (values >= dataset.num_classes)
        if bad is None or not bad.any():
            continue
        place = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0]
        said = "hold a number that is not finite"
        if not is_float:
            said = f"say {values[place]}, and there are {dataset.num_classes} classes"
        return Cause(
            f"the {name} of training example {index[place]} {said}",
            "mend the data and start a new run",
        )
    return None


def cause_in_network(job: Job, state: TrainState, batch: Batch, *, epoch: int) -> Cause:
    """Look for what is amiss with the weights before a step, or with its gradients.

    Args:
      job: of the run.
      state: before the step.
      batch: of the step, on the device.
      epoch: of the step.
    """
    is_first = int(state.step) == 0
    held = unpacked(state.params)
    bad = not_finite({"params": held, "batch_stats": state.batch_stats})
    if bad and is_first:
        return Cause(
            f"{bad[0]} is not finite at the start", "look at what initialises or loads it"
        )
    if bad:
        return Cause(f"{bad[0]} is not finite before it")
    step = jit(job._replace(tx=_TAP).step_in(epoch))
    start = state._replace(opt_state=_TAP.init(state.params))
    after, _ = step(start, batch)
    flags = [(name, bool(good)) for name, good, _ in named_leaves(after.opt_state)]
    bad = [name for name, good in flags if not good]
    way_out = None
    if is_first:
        way_out = "look at the loss, the initialisers and the precision, as no rate helps"
    if not bad:
        said = "its examples, the weights before it and its gradients are finite"
        return Cause(said, way_out)
    which = f"that of params/{bad[0]}"
    if len(bad) == len(flags) > 1:
        which = f"all {len(flags)}"
    elif len(bad) > 1:
        which += f" and {len(bad) - 1} more of {len(flags)}"
    return Cause(
        "its examples and the weights before it are finite, and of its gradients"
        f" {which} {'is' if len(bad) == 1 else 'are'} not",
        way_out,
    )


def _no_flags(params: PyTree) -> PyTree:
    return jax.tree.map(lambda _: jnp.asarray(True), unpacked(params))


def _flags(grads: PyTree, state: PyTree, params: Any = None) -> tuple[PyTree, PyTree]:
    del state, params
    return jax.tree.map(jnp.zeros_like, grads), are_finite(unpacked(grads))


_TAP = optax.GradientTransformation(_no_flags, _flags)  # moves nothing, and tells

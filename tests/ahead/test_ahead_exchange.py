"""In which dtype devices sum the gradients of kernels that are computed in bfloat16."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, Mesh

from optix_tricks.ahead import compile_only_devices
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet9,
    compile_step_on_mesh,
    create_state,
    functional,
    make_train_step,
)
from tests.ahead.installed import needs_cuda

LEAST = 8 * 16 * 9  # elements: the smallest kernel behind the first


def summed(axis_name):
    """Elements that are summed over the devices by dtype, of kernels alone."""
    model = nnx.eval_shape(
        lambda: ResNet9(
            10, width=8, dtype=jnp.bfloat16, axis_name=axis_name, rngs=nnx.Rngs(0)
        )
    )
    apply, params, stats = functional(model)
    tx = optax.sgd(0.1)
    state = jax.eval_shape(
        lambda *trees: create_state(*trees, tx, jax.random.key(0)), params, stats
    )
    devices = np.array(compile_only_devices("h100:8"))
    mesh = Mesh(devices, ("data",), axis_types=(AxisType.Auto,))
    step = make_train_step(apply, cross_entropy, tx, axis_name=axis_name)
    step, placed = compile_step_on_mesh(step, mesh, state, axis_name=axis_name)
    images = jax.ShapeDtypeStruct((64, 16, 16, 3), jnp.float32)
    batch = Batch(images, jax.ShapeDtypeStruct((64,), jnp.int32))
    text = step.lower(placed, batch).compile().as_text()
    kernels = sum(x.size for x in jax.tree.leaves(params) if x.size >= LEAST)
    found = {"bf16": 0, "f32": 0}
    for shapes in re.findall(r"= (.*?) all-reduce(?:-start)?\(", text):
        for dtype, sizes in re.findall(r"(bf16|f32)\[([\d,]+)\]", shapes):
            number = math.prod(map(int, sizes.split(",")))
            found[dtype] += number * (number >= LEAST)
    return found, kernels


@needs_cuda
@pytest.mark.slow
def test_kernels_are_summed_as_computed_or_with_an_axis_in_float32():
    found, kernels = summed(None)
    assert found["bf16"] >= 0.9 * kernels > 10 * found["f32"]
    found, kernels = summed("data")
    assert found["f32"] >= 0.9 * kernels > 10 * found["bf16"]

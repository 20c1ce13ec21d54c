"""What a layout promises: bytes that a device keeps, and collectives, by hand."""

import jax
import jax.numpy as jnp
import pytest

import optix_tricks as ot
from optix_tricks.ahead import compile_only_devices, compiled_facts
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    LAYOUTS,
    Batch,
    compile_step_on_mesh,
    create_state,
    make_train_step,
)
from optix_tricks.training._layouts import axis_of
from tests.ahead.installed import needs_libtpu
from tests.training.wide import APPLY, PARAMS, STATS

KERNEL = 4 * 192 * 64  # bytes: what is split, in eight
NORM = 4 * 64  # of its scale, its bias, each of its statistics
SMALL = 2 * NORM + 4 * (64 * 3 + 3)  # parameters that stay whole
SUMS = 3 * NORM  # mean, variance; one more than the gradients of scale and bias backward
SCALARS = 64  # counts, the key and Adam's numbers; losses and norms that are summed
BATCH = 16


def facts(devices, layout):
    tx = ot.adam(1e-3)
    step = make_train_step(APPLY, cross_entropy, tx)
    state = jax.eval_shape(lambda: create_state(PARAMS, STATS, tx, jax.random.key(0)))
    compiled, placed = compile_step_on_mesh(step, axis_of(devices), state, layout=layout)
    images = jax.ShapeDtypeStruct((BATCH, 8, 8, 3), jnp.uint8)
    batch = Batch(images, jax.ShapeDtypeStruct((BATCH,), jnp.int32))
    return compiled_facts(compiled.lower(placed, batch).compile())


def counted(found):
    return {each.kind: (each.number, each.bytes) for each in found.collectives}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_device_keeps_and_exchanges_what_its_layout_says(layout):
    found = facts(jax.devices(), layout)
    split = {"replicated": 0, "zero1": 2, "fsdp": 3}[layout]  # weights, Adam's moments
    state = (3 - split) * KERNEL + split * KERNEL // 8 + 3 * SMALL + 2 * NORM
    of_batch = BATCH * (192 + 4) // 8
    assert 0 <= found.arguments - state - of_batch <= SCALARS
    # A gradient, and the gathered weights, the new ones or their update.
    assert found.temporaries <= 2 * KERNEL + 5 * SMALL + 4096
    assert found.aliased >= state

    kinds = counted(found)
    number, size = kinds.pop("all-reduce")
    # Mean, variance and their derivative wait for each other; then all gradients at once,
    # and the norms of what is split.
    assert number <= (4 if layout == "replicated" else 5)
    assert 0 <= size - KERNEL - SMALL - SUMS <= SCALARS
    gathered = {"replicated": {}, "zero1": {"all-gather": (1, KERNEL)}}
    assert kinds == gathered.get(layout, {"all-gather": (1, KERNEL)})


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tpu_s_chip_exchanges_no_more(layout):
    kinds = counted(facts(compile_only_devices("v5e:2x4"), layout))
    number, size = kinds.pop("all-reduce")
    assert number <= 5
    in_tiles = KERNEL * 256 // 192  # of 128 columns
    assert size <= in_tiles + SMALL + SUMS + SCALARS
    assert sum(size for _, size in kinds.values()) <= (layout != "replicated") * KERNEL

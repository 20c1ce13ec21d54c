"""A job's step from shapes alone: for real devices, and for those that only compile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from optix_tricks.ahead import (
    compile_only_devices,
    compiled_facts,
    lower_step,
    roofline,
)
from optix_tricks.recipes import new_run
from optix_tricks.training import CHIPS, Batch, compile_step_on_mesh, create_state
from tests.ahead.installed import needs_cuda, needs_libtpu

RUN = new_run("digits")
DATA = RUN.load()
JOB = RUN.job(DATA)


def test_it_is_the_step_that_runs():
    lowered, flops = lower_step(JOB, DATA, jax.devices()[:2])
    state = create_state(JOB.params, JOB.batch_stats, JOB.tx, jax.random.key(JOB.seed))
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",), axis_types=(AxisType.Auto,))
    step, placed = compile_step_on_mesh(JOB.step, mesh, state)
    batch = jax.tree.map(jnp.asarray, DATA.train).take(jnp.arange(JOB.batch_size))
    assert lowered.as_text() == step.lower(placed, batch).as_text()
    assert flops > 0


def test_a_sharded_state_takes_less_of_each_device():
    whole, split = (
        compiled_facts(lower_step(JOB, DATA, jax.devices(), layout=x)[0].compile())
        for x in ("replicated", "fsdp")
    )
    assert split.arguments < whole.arguments / 4


def test_devices_that_do_not_divide_the_batch():
    with pytest.raises(ValueError, match="multiple of the 3 devices, got 64"):
        lower_step(JOB, DATA, jax.devices()[:3])


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("h100:2", marks=needs_cuda),
        pytest.param("v5e:2x2", marks=needs_libtpu),
    ],
)
def test_it_compiles_for_devices_that_are_not_there(target):
    devices = compile_only_devices(target)
    lowered, flops = lower_step(JOB, DATA, devices)
    facts = compiled_facts(lowered.compile())
    assert {each.kind for each in facts.collectives} == {"all-reduce"}
    chip = CHIPS[target.partition(":")[0]]
    assert facts.memory < chip.memory
    assert 0 < roofline(facts, flops / len(devices), chip).seconds < 1e-3
    state = create_state(JOB.params, JOB.batch_stats, JOB.tx, jax.random.key(0))
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    step, placed = compile_step_on_mesh(JOB.step, mesh, state)  # of arrays
    batch = Batch(
        *(jax.ShapeDtypeStruct((64, *x.shape[1:]), x.dtype) for x in DATA.train[:2])
    )
    assert step.lower(placed, batch) is not None

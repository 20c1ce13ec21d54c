"""What is compiled for accelerators does not grow unseen: equations, and collectives."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks.compiled import equations, measured, rows
from benchmarks.compiled_steps import block, int8_step, network_step, packed_step
from tests.ahead.installed import needs_cuda, needs_libtpu


def traced(function, *shapes):
    return equations(jax.make_jaxpr(function)(*shapes).jaxpr)


def test_a_step_has_no_more_equations_than_a_plain_one():
    small = {"stages": (1, 1, 1, 1), "width": 8, "size": 32, "batch": 64}
    ours, plain = (traced(*network_step(side, **small)) for side in ("ours", "plain"))
    assert 0 < ours <= plain


def test_a_packed_adam_is_a_fraction_of_the_tree():
    ours, plain = (traced(*packed_step(side, width=4)) for side in ("ours", "plain"))
    assert ours <= 110 < plain
    assert traced(*int8_step("ours", size=128)) <= 1_026


def test_a_norm_over_eight_devices_needs_few_collectives():
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",), axis_types=(AxisType.Auto,))
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("data"))
    found = {}
    for side in ("ours", "plain"):
        function, *shapes = block(side, batch=8, size=4, channels=8)
        facts = measured(function, (whole, whole, split, split), *shapes)
        found[side] = sum(each.number for each in facts["collectives"])
    assert 0 < found["plain"] <= found["ours"] <= 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [pytest.param("h100", marks=needs_cuda), pytest.param("v5e", marks=needs_libtpu)],
)
def test_a_norm_between_convolutions_costs_an_accelerator_no_more_than_flax_s(target):
    ours, plain = rows(target, ["block"], smoke=True)
    assert (ours["side"], plain["side"]) == ("ours", "plain")
    assert ours["fusions"] <= plain["fusions"]
    if target == "h100":  # a TPU keeps more or less of these small arrays on the chip
        assert ours["bytes"] <= 1.02 * plain["bytes"]
    assert ours["memory"] <= 1.02 * plain["memory"]
    assert ours["float32_activations"] == 0

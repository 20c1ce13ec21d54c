"""A state comes back from flax.serialization, pickle and deepcopy, packed or not.

Nothing is compiled: the states' shapes are filled with random bits.
"""

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from cases import CASES

import optix_tricks as ot
from optix_tricks import testing
from optix_tricks.testing._columns_saved import (
    filled,
    flax_serialization_brings_it_back,
    pickle_and_deepcopy_bring_it_back,
)

COLUMNS = flax_serialization_brings_it_back, pickle_and_deepcopy_bring_it_back
ROWS = {case.public: case.build() for case in reversed(CASES)}
ROWS |= {
    "adam_int8": ot.adam(0.1, state_dtype="int8"),
    "delayed_gradients_int8": ot.delayed_gradients(2, state_dtype="int8"),
    "masked": ot.scale_by_adam(state_dtype="bfloat16", mask=ot.no_bias_or_norm),
}


def forms(width):
    kernel, bias = (np.ones(shape, np.float32) for shape in ((width, width), width))
    params = {"conv": {"kernel": kernel, "bias": bias}, "list": [kernel[:2], None]}
    return {"tree": params, "packed": ot.pack(params)}


SMALL, LARGE = forms(4), forms(64)  # enough for blocks of int8


def assert_same(found, want):
    chex.assert_trees_all_equal(found, want, strict=True)


@pytest.mark.parametrize("name", ROWS)
def test_every_state_comes_back(name):
    for params in (LARGE if "int8" in name else SMALL).values():
        row = testing.TransformationSubject(lambda: ROWS[name], params=params)
        for column in COLUMNS:
            assert testing.assert_column(row, column) is None


def test_a_packed_tree_of_another_layout_is_refused():
    data = flax.serialization.to_bytes(SMALL["packed"])
    other = ot.pack({"a": np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="size of the list and the state dict"):
        flax.serialization.from_bytes(other, data)


@pytest.mark.parametrize("form", LARGE)
def test_orbax_brings_it_back_and_it_goes_on(form, tmp_path):
    """Bytes come back as NumPy arrays; the next update is that of the state that was."""
    params = LARGE[form]
    tx = ot.lookahead(ot.adam(0.1, state_dtype="int8"))
    state = jax.tree.map(jnp.asarray, filled(tx, params))
    data = flax.serialization.to_bytes(state)
    from_bytes = flax.serialization.from_bytes(state, data)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        from_disk = checkpointer.restore(tmp_path / "state", state)
    update = jax.jit(tx.update)
    want = update(params, state, params)
    for found in (from_bytes, from_disk):
        assert_same(update(params, found, params), want)

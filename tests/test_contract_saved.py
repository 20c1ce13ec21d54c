"""A state comes back from flax.serialization, pickle and deepcopy, packed or not.

Nothing is compiled: the states' shapes are filled with random bits.
"""

import copy
import pickle

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from cases import CASES

import optix_tricks as ot

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


def filled(tx, params):
    """A state of `tx` with something else in each array."""
    rng = np.random.default_rng(0)

    def fill(x):
        return rng.integers(0, 2, x.shape).astype(x.dtype)

    return jax.tree.map(fill, jax.eval_shape(tx.init, params))


def assert_same(found, want):
    chex.assert_trees_all_equal(found, want, strict=True)


@pytest.mark.parametrize("name", ROWS)
def test_every_state_comes_back(name):
    for params in (LARGE if "int8" in name else SMALL).values():
        state = filled(ROWS[name], params)
        zeros = jax.tree.map(np.zeros_like, state)
        data = flax.serialization.to_bytes(state)
        assert_same(flax.serialization.from_bytes(zeros, data), state)
        as_dict = flax.serialization.to_state_dict(state)
        assert_same(flax.serialization.from_state_dict(zeros, as_dict), state)
        assert_same(pickle.loads(pickle.dumps(state)), state)
        assert_same(copy.deepcopy(state), state)


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

"""Drawn trees are trees of parameters, their gradients like them; traced, not run."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

from optix_tricks.testing import strategies

TREES = strategies.params(dtypes=("float32", "bfloat16"))


@hypothesis.given(st.data())
def test_gradients_are_trees_like_the_parameters(data):
    params = data.draw(TREES)
    grads = data.draw(strategies.grads(params))
    tx = optax.sgd(0.1, momentum=0.9)
    updates, _ = jax.eval_shape(lambda g, w: tx.update(g, tx.init(w), w), grads, params)
    kinds = [jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in (updates, params)]
    assert kinds[0] == kinds[1]
    for x in jax.tree.leaves((params, grads)):
        wide = np.asarray(x, np.float32)
        assert np.isfinite(wide).all()
        assert (abs(wide) <= 64).all()


@hypothesis.settings(max_examples=200)
@hypothesis.given(TREES)
def test_all_kinds_of_leaves_come_up(params):
    for leaf in jax.tree.leaves(params, is_leaf=lambda x: x is None):
        SEEN.add("none" if leaf is None else str(leaf.dtype))
        if leaf is not None:
            SEEN.add(leaf.ndim)
            SEEN.add("empty" if leaf.size == 0 else "full")


SEEN: set = set()


def test_they_did():
    test_all_kinds_of_leaves_come_up()
    assert {"none", "float32", "bfloat16", 0, 1, 2, 3, "empty", "full"} <= SEEN


def test_gradients_may_be_asked_to_be_infinite():
    seen = set()

    @hypothesis.settings(max_examples=100)
    @hypothesis.given(strategies.grads({"w": jnp.zeros(4)}, nonfinite=True))
    def look(grads):
        seen.update(np.isnan(grads["w"]).tolist(), np.isposinf(grads["w"]).tolist())
        seen.update("-" for x in np.isneginf(grads["w"]) if x)

    look()
    assert seen == {True, False, "-"}

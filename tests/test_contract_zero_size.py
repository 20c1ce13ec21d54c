"""Leaves without elements: every row takes them, and reports no NaN for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, clipping, gradients, layerwise

import optix_tricks as ot

TREE = {"kernel": jnp.ones((2, 3))}
TREE |= {f"{shape}": jnp.zeros(shape) for shape in [(0,), (3, 0), (0, 3)]}


def step(case, tree):
    tx = case.build()
    updates, state = tx.update(tree, tx.init(tree), tree)
    return updates, ot.report(state)


def test_every_row_can_be_traced():
    want = jax.tree.map(jnp.shape, TREE)
    for case in CASES:
        updates, _ = jax.eval_shape(lambda tree, case=case: step(case, tree), TREE)
        assert jax.tree.map(jnp.shape, updates) == want, case.name


@pytest.mark.parametrize("form", [lambda tree: tree, ot.pack], ids=["tree", "packed"])
def test_what_has_norms_is_finite(form):
    cases = layerwise.LINKS + clipping.LINKS + gradients.LINKS
    program = jax.jit(lambda tree: {case.name: step(case, tree) for case in cases})
    for name, (updates, report) in program(form(TREE)).items():
        assert all(jnp.isfinite(u).all() for u in jax.tree.leaves(updates)), name
        assert not any(np.isnan(x) for x in report.values()), (name, report)

"""LBFGS of compat.torch, without and with a line search, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from both_ways import TOLERANCE, assert_same_path, jax_path, loss_of, problem, torch_path

from optix_tricks.compat import torch as ours


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arguments", [{}, {"lr": 0.5, "history_size": 3}])
def test_lbfgs_without_a_line_search_goes_the_way_of_torch(arguments, dtype):
    def make(params):
        # One iteration a step; the tolerances must not stop it.
        tolerances = {"tolerance_grad": 0.0, "tolerance_change": 0.0}
        return torch.optim.LBFGS(params, max_iter=1, **tolerances, **arguments)

    # Then steps are 1e-6 and PyTorch begins to leave out pairs.
    steps = 12
    want, _, _ = torch_path(make, dtype=dtype, steps=steps)
    got, _ = jax_path(lambda: ours.LBFGS(**arguments), dtype=dtype, steps=steps)
    assert_same_path(got, want, TOLERANCE[dtype])


def test_lbfgs_with_a_line_search_ends_where_torch_ends():
    want, _, _ = torch_path(
        lambda params: torch.optim.LBFGS(params, line_search_fn="strong_wolfe"),
        dtype="float32",
        steps=3,
    )
    x, y, w = (jnp.asarray(a, jnp.float32) for a in problem(0))
    tx = ours.LBFGS(line_search_fn="strong_wolfe", history_size=10)

    def loss(w):
        return loss_of(jnp, x, y, w)

    def step(carry, _):
        w, state = carry
        value, grads = jax.value_and_grad(loss)(w)
        updates, state = tx.update(
            grads, state, w, value=value, grad=grads, value_fn=loss
        )
        return (optax.apply_updates(w, updates), state), value

    (w, _), values = jax.jit(lambda s: jax.lax.scan(step, s, length=15))((w, tx.init(w)))
    assert values[-1] < values[0]
    np.testing.assert_allclose(w, want[-1], atol=2e-3)


def test_lbfgs_in_bfloat16_keeps_float32_and_asks_for_the_parameters():
    tx = ours.LBFGS(history_size=2)
    w = jnp.array([1.0, -2.0], jnp.bfloat16)
    updates, state = tx.update(w, tx.init(w), w)
    np.testing.assert_allclose(updates, -w / 3, rtol=2e-2)  # 1 over the 1-norm
    assert updates.dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(state) if x.ndim} == {jnp.dtype("float32")}
    with pytest.raises(ValueError, match="params must be given to LBFGS"):
        tx.update(w, state)

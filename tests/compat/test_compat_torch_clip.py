"""The clipping of compat.torch does what PyTorch's does."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from both_ways import TOLERANCE, assert_same_path, jax_path, torch_path

from optix_tricks.compat import torch as ours


@pytest.mark.parametrize(
    ("max_norm", "norm_type", "dtype"),
    [
        (0.1, 2.0, "float32"),
        (0.4, 1.0, "float64"),
        (0.1, 3.0, "float64"),
        (0.1, float("inf"), "float32"),
    ],
)
def test_clip_grad_norm_goes_the_way_of_torch(max_norm, norm_type, dtype):
    want, _, _ = torch_path(
        lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.5),
        dtype=dtype,
        clip=lambda ws: torch.nn.utils.clip_grad_norm_(ws, max_norm, norm_type),
    )
    got, state = jax_path(
        lambda: optax.chain(
            ours.clip_grad_norm_(max_norm, norm_type), ours.SGD(lr=0.5, momentum=0.5)
        ),
        dtype=dtype,
    )
    assert_same_path(got, want, TOLERANCE[dtype])
    assert state[0].clip_factor == 1  # it began clipped and ended free
    assert 0 < state[0].global_norm < max_norm


def test_clip_grad_value_goes_the_way_of_torch():
    want, _, _ = torch_path(
        lambda params: torch.optim.SGD(params, lr=0.5),
        dtype="float32",
        clip=lambda ws: torch.nn.utils.clip_grad_value_(ws, 0.02),
    )
    got, _ = jax_path(
        lambda: optax.chain(ours.clip_grad_value_(0.02), ours.SGD(lr=0.5)),
        dtype="float32",
    )
    assert_same_path(got, want, TOLERANCE["float32"])


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
def test_clip_grad_norm_does_to_odd_gradients_what_torch_does(norm_type):
    tx = ours.clip_grad_norm_(1.0, norm_type)
    for odd in (0.0, 4.0, float("nan"), float("inf")):
        second = 3.0 if odd else 0.0
        grads = [np.array([odd, second], np.float32), np.array([second], np.float32)]
        params = [torch.zeros(g.shape, requires_grad=True) for g in grads]
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.tensor(g)
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0, norm_type)
        updates, state = tx.update([jnp.asarray(g) for g in grads], tx.init(grads))
        for u, p in zip(updates, params, strict=True):
            np.testing.assert_allclose(u, p.grad.numpy(), rtol=1e-6)
        np.testing.assert_allclose(state.global_norm, norm.numpy(), rtol=1e-6)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
def test_a_norm_of_nothing_is_zero_and_a_norm_at_the_bound_stays(
    norm_type,
):
    tx = ours.clip_grad_norm_(5.0, norm_type)
    empty = {"a": None, "b": jnp.zeros(0)}
    updates, state = tx.update(empty, tx.init(empty))
    assert (float(state.global_norm), float(state.clip_factor)) == (0.0, 1.0)
    assert updates["a"] is None
    updates, state = tx.update([jnp.array([5.0])], tx.init([jnp.zeros(1)]))
    np.testing.assert_allclose(state.clip_factor, 5.0 / (5.0 + 1e-6), rtol=1e-7)
    np.testing.assert_allclose(state.global_norm, 5.0, rtol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ours.clip_grad_norm_(-1.0), "max_norm must be positive, got -1.0"),
    (lambda: ours.clip_grad_norm_(1.0, norm_type=0.0), "norm_type must be positive"),
    (lambda: ours.clip_grad_value_(0.0), "clip_value must be positive, got 0.0"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

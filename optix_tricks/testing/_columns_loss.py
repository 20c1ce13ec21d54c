"""Columns of losses: shape, 16 bits, jit and vmap, gradients, any scale, devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optix_tricks.testing._check import Column, NotApplicable
from optix_tricks.testing._compare import assert_close, assert_equal, assert_finite
from optix_tricks.testing._loss_subject import LossSubject


def one_finite_float32_for_each_example(subject: LossSubject) -> None:
    """The shape is that of the batch, the values are finite float32."""
    loss = subject.loss(*subject.arguments())
    if loss.shape != subject.shape:
        raise AssertionError(f"the shape {loss.shape} is not {subject.shape}")
    if loss.dtype != jnp.float32:
        raise AssertionError(f"{loss.dtype} is not float32")
    assert_finite(loss)


def bfloat16_is_computed_in_float32(subject: LossSubject) -> None:
    """Of bfloat16 scores it is, to the bit, what it is of the same numbers in float32."""
    _in_float32(subject, jnp.bfloat16)


def float16_is_computed_in_float32(subject: LossSubject) -> None:
    """Of float16 scores it is, to the bit, what it is of the same numbers in float32."""
    _in_float32(subject, jnp.float16)


def _in_float32(subject: LossSubject, dtype: Any) -> None:
    half = subject.arguments(dtype)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == dtype else x, half)
    loss = subject.loss(*half)
    if loss.dtype != jnp.float32:
        raise AssertionError(f"{loss.dtype} is not float32")
    assert_equal(loss, subject.loss(*wide))


def jit_and_vmap_are_eager_and_loops(subject: LossSubject) -> None:
    """Compiled, and mapped over three batches, it is what it is batch by batch."""
    batches = [subject.arguments(seed=seed) for seed in range(3)]
    eager = np.stack([subject.loss(*args) for args in batches])
    jitted = jax.jit(subject.loss)
    one_by_one = np.stack([jitted(*args) for args in batches])
    assert_close(one_by_one, eager, subject.rtol, 1e-6)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    assert_close(jax.jit(jax.vmap(subject.loss))(*stacked), eager, subject.rtol, 1e-6)


def gradient_is_that_of_differences(subject: LossSubject) -> None:
    """In float64, which stays float64, the gradient is that of central differences."""
    subject.need_gradient()
    with jax.enable_x64(True):
        args = subject.arguments(np.float64)
        start, unravel = ravel_pytree([args[i] for i in subject.differentiable])

        def total(x: Any) -> Any:
            full = list(args)
            for i, given in zip(subject.differentiable, unravel(x), strict=True):
                full[i] = given
            value, loss = subject.total(*full)
            if loss.dtype != jnp.float64:
                raise AssertionError(f"{loss.dtype} is not float64")
            return value

        @jax.jit
        def both(x: Any) -> tuple[Any, Any]:
            moves = 1e-5 * jnp.eye(x.size)
            at = jax.lax.map(total, jnp.concatenate([x[None] + moves, x[None] - moves]))
            ahead, behind = jnp.split(at, 2)
            return jax.grad(total)(x), (ahead - behind) / 2e-5

        gradient, differences = both(start)
        assert_close(gradient, differences, 1e-6, 1e-8)
        if np.abs(gradient).max() <= 1e-3:
            raise AssertionError("the gradient is zero, which shows nothing")


def any_scale_and_equal_scores_are_finite(subject: LossSubject) -> None:
    """Loss and gradient are finite for scores 1e4 times as large, all zero or all one."""
    subject.need_gradient()
    args = subject.arguments()
    for change in (lambda x: 1e4 * x, jnp.zeros_like, jnp.ones_like):
        changed = (
            jax.tree.map(change, x) if i in subject.scores else x
            for i, x in enumerate(args)
        )
        assert_finite(subject.compiled(*changed))


def sharded_batch_is_one_on_one_device(subject: LossSubject) -> None:
    """Loss and gradient of a batch on all devices of an explicit mesh, split there."""
    _sharded(subject, AxisType.Explicit)


def sharded_batch_on_an_automatic_mesh(subject: LossSubject) -> None:
    """The same where XLA decides what is split."""
    _sharded(subject, AxisType.Auto)


def _sharded(subject: LossSubject, axis_type: AxisType) -> None:
    devices = jax.device_count()
    args = subject.arguments()
    batch = max(x.shape[0] for x in jax.tree.leaves(args) if x.ndim)
    if devices == 1:
        raise NotApplicable("there is 1 device")
    shared = batch % devices == 0
    if subject.shape and not shared:
        raise NotApplicable(f"{devices} devices do not share a batch of {batch}")
    expected = subject.compiled(*args)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(axis_type,))

    def place(x: Any) -> Any:
        is_split = shared and x.shape[:1] == (batch,)
        spec = PartitionSpec("data") if is_split else PartitionSpec()
        return jax.device_put(x, NamedSharding(mesh, spec))

    sharded = subject.compiled(*jax.tree.map(place, args))
    assert_close(sharded, expected, 10 * subject.rtol, 2e-5)
    loss = sharded[0][1] if subject.differentiable else sharded[1]
    is_split = subject.shape[:1] == (batch,) and axis_type == AxisType.Explicit
    if is_split and loss.sharding.spec[0] != "data":
        raise AssertionError(f"the loss is placed by {loss.sharding.spec}")


COLUMNS: tuple[Column, ...] = (
    one_finite_float32_for_each_example,
    bfloat16_is_computed_in_float32,
    float16_is_computed_in_float32,
    jit_and_vmap_are_eager_and_loops,
    gradient_is_that_of_differences,
    any_scale_and_equal_scores_are_finite,
    sharded_batch_is_one_on_one_device,
    sharded_batch_on_an_automatic_mesh,
)

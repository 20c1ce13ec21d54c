"""The contract of losses: shape, 16 bits, jit and vmap, gradients, any scale, devices."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optix_tricks.testing._check import Column, Columns, NotApplicable, check, select
from optix_tricks.testing._compare import assert_close, assert_equal, assert_finite
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._table import Table
from optix_tricks.testing._written import function


class LossSubject:
    """A loss as the columns see it.

    Args:
      loss: takes what `make` returns and returns the loss of each example.
      make: from a NumPy generator a tuple of arguments, floats in float64; a batch of as
        many examples as there are devices, or a multiple, is placed on all of them.
      shape: of the loss; by default one number for each row of the first argument.
      differentiable: positions of the arguments that have a gradient.
      scores: positions of those that may have any scale, by default the same.
      rtol: of float32 results that are equal but for the order of their sums.
      name: how the loss is written in Python, by default as it is found.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        make: Callable[[np.random.Generator], tuple],
        *,
        shape: tuple[int, ...] | None = None,
        differentiable: Sequence[int] = (0,),
        scores: Sequence[int] | None = None,
        rtol: float = 1e-5,
        name: str | None = None,
    ) -> None:
        for what, x in (("loss", loss), ("make", make)):
            if not callable(x):
                raise TypeError(f"{what} must be a function, got {x!r}.")
        self.loss, self.make, self.rtol = loss, make, rtol
        self.differentiable = tuple(differentiable)
        self.scores = self.differentiable if scores is None else tuple(scores)
        self.name = function(loss, name)
        self._shape = shape

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure."""
        del code
        made = function(self.make, None)
        return (
            f"testing.check_loss({self.name}, {made}, columns={column!r}).assert_passed()"
        )

    def arguments(self, dtype: Any = np.float32, seed: int = 0) -> tuple:
        """What is made, floats in one dtype."""
        return jax.tree.map(
            lambda x: jnp.asarray(
                x, dtype if np.issubdtype(x.dtype, np.floating) else None
            ),
            self.make(np.random.default_rng(seed)),
        )

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the loss."""
        if self._shape is not None:
            return self._shape
        return jax.tree.leaves(self.arguments())[0].shape[:1]

    def total(self, *args: Any) -> tuple[Any, Any]:
        """A sum of the losses that no exchange of two leaves alone, and the losses."""
        loss = self.loss(*args)
        weights = np.cos(np.arange(math.prod(self.shape))).reshape(self.shape)
        return jnp.sum(weights.astype(loss.dtype) * loss), loss

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """The sum, the losses and the gradients in one program."""
        if not self.differentiable:
            return jax.jit(self.total)
        return jax.jit(jax.value_and_grad(self.total, self.differentiable, has_aux=True))

    def need_gradient(self) -> None:
        """Of a column that is about gradients."""
        if not self.differentiable:
            raise NotApplicable("no argument is differentiable")


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
    if batch % devices:
        raise NotApplicable(f"{devices} devices do not share a batch of {batch}")
    expected = subject.compiled(*args)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(axis_type,))

    def place(x: Any) -> Any:
        spec = PartitionSpec("data") if x.shape[:1] == (batch,) else PartitionSpec()
        return jax.device_put(x, NamedSharding(mesh, spec))

    sharded = subject.compiled(*jax.tree.map(place, args))
    assert_close(sharded, expected, 10 * subject.rtol, 2e-5)
    loss = sharded[0][1] if subject.differentiable else sharded[1]
    is_split = subject.shape[:1] == (batch,) and axis_type == AxisType.Explicit
    if is_split and loss.sharding.spec[0] != "data":
        raise AssertionError(f"the loss is placed by {loss.sharding.spec}")


LOSS_COLUMNS: dict[str, Column] = {
    column.__name__: column
    for column in (
        one_finite_float32_for_each_example,
        bfloat16_is_computed_in_float32,
        float16_is_computed_in_float32,
        jit_and_vmap_are_eager_and_loops,
        gradient_is_that_of_differences,
        any_scale_and_equal_scores_are_finite,
        sharded_batch_is_one_on_one_device,
        sharded_batch_on_an_automatic_mesh,
    )
}


def check_loss(
    loss: Callable[..., Any],
    make: Callable[[np.random.Generator], tuple],
    *,
    columns: Columns = None,
    **about: Any,
) -> Table:
    """Ask a loss, anybody's, what a loss is asked here.

    Args:
      loss: takes what `make` returns, such as logits and labels, and returns an array.
      make: makes arguments from a NumPy generator.
      columns: names out of `LOSS_COLUMNS`, or functions of a `LossSubject` of your own;
        by default all that there are.
      **about: `shape`, `differentiable`, `scores`, `rtol` and `name`, as `LossSubject`
        takes them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that asks it
      again, or not applicable with the reason. A loss that fails raises nothing.

    Helps before a loss of your own trains anything in 16 bits or on many devices. Hurts
    nothing. Cost: a second or two, nearly all of compiling.

    Raises:
      ValueError: if a column is unknown; the nearest is named.
      TypeError: if `loss` or `make` is no function.

    >>> def make(rng):
    ...     return rng.normal(size=(8, 5)), rng.integers(0, 5, 8)
    >>> import optax
    >>> loss = optax.softmax_cross_entropy_with_integer_labels
    >>> table = check_loss(loss, make, columns="bfloat16_is_computed_in_float32")
    >>> table.failures[0].reason
    'bfloat16 is not float32'
    """
    return check(LossSubject(loss, make, **about), select(columns, LOSS_COLUMNS))


def loss_test(
    loss: Callable[..., Any],
    make: Callable[[np.random.Generator], tuple],
    *,
    columns: Columns = None,
    **about: Any,
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a loss.

    Args:
      loss: as in `check_loss`, as are the rest.
      make: makes arguments from a NumPy generator.
      columns: names or functions.
      **about: what else there is to say.

    >>> test_mine = loss_test(jnp.square, lambda rng: (rng.normal(size=8),))
    """
    return test_of(LossSubject(loss, make, **about), select(columns, LOSS_COLUMNS))

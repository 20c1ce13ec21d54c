"""What the columns of losses are asked of: a loss, what it takes and what it returns."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.testing._check import NotApplicable
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

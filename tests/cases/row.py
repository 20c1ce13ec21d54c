"""A row of the table of public transformations.

`given` are numbers for every hyperparameter, none of them a default that hides an error;
`twin` is Optax's transformation in the matching setting, reached by the changes
`twin_at`, or None where Optax has none; `neutral` are arguments that make the
transformation the identity, or a wrapper what it wraps; `updates_dtype` is the dtype in
which updates leave, if it is not the one in which gradients came.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks.testing import with_a_loss


class Case(NamedTuple):
    name: str
    make: Callable[..., optax.GradientTransformationExtraArgs]
    given: dict[str, float]
    options: Mapping[str, Any] = MappingProxyType({})
    twin: Callable[[], optax.GradientTransformation] | None = None
    twin_at: Mapping[str, Any] = MappingProxyType({})
    neutral: dict[str, Any] | None = None
    updates_dtype: str | None = None  # None: that of the gradients
    compiled: bool = False  # eager loops compile at every call
    looks_ahead: bool = False  # evaluates the loss at other parameters
    roundings: Mapping[str, float] = MappingProxyType({})  # times the usual, by column

    def build(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        return self.factory(**{**self.given, **changes})

    @property
    def factory(self) -> Callable[..., optax.GradientTransformationExtraArgs]:
        """`make` in the row's setting, offered a loss."""
        make = functools.partial(self.make, **self.options)

        @functools.wraps(make)
        def offered(**given: Any) -> optax.GradientTransformationExtraArgs:
            return with_a_loss(make(**given), compiled=self.compiled)

        return offered

    def takes(self, argument: str) -> bool:
        return argument in inspect.signature(self.make).parameters

    def stored(self, name: str) -> str:
        """The name under which the state keeps a hyperparameter."""
        return "momentum" if (self.make, name) == (ot.trace, "decay") else name

    @property
    def public(self) -> str:
        """The name of the function that the row is about."""
        return getattr(self.make, "func", self.make).__name__

    @property
    def inner(self) -> optax.GradientTransformation:
        """What a wrapper wraps; its neutral setting is that."""
        wrapped = getattr(self.make, "args", [optax.identity()])[0]
        return wrapped if isinstance(wrapped, tuple) else optax.identity()

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of state fields shaped like the parameters."""
        params = {"w": jnp.ones((5, 7))}
        state = self.build().init(params)
        paths = jax.tree_util.tree_flatten_with_path(state)[0]
        fields = [(getattr(p[-2], "name", None), x) for p, x in paths if len(p) > 1]
        return tuple(name for name, x in fields if name and x.shape == (5, 7))

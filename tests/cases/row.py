"""A row of the table of public transformations.

`given` are numbers for every hyperparameter, none of them a default that hides an error;
`twin` is Optax's transformation in the matching setting, reached by the changes
`twin_at`, or None where Optax has none; `neutral` are arguments that make the
transformation the identity, or a wrapper what it wraps; `updates_dtype` is the dtype in
which updates leave, if it is not the one in which gradients came.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks._tree import widen


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

    def build(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        tx = self.make(**{**self.options, **self.given, **changes})
        return with_a_loss(tx, compiled=self.compiled)

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


def with_a_loss(tx: optax.GradientTransformation, *, compiled: bool = False) -> Any:
    """Offer to `tx` all that a training step offers.

    The loss is one whose gradient at the parameters w_0 is the given one:
    f(w) = <g, w - w_0> + 0.15 |w - w_0|^2, in float32 or wider.
    """
    tx = optax.with_extra_args_support(tx)

    def offering(grads: Any, state: Any, params: Any, **extra: Any) -> tuple:
        loss = loss_with(grads, params)
        offered = {"value": loss(params), "grad": grads, "value_fn": loss}
        offered |= {"grad_fn": jax.grad(loss)} | extra
        return tx.update(grads, state, params, **offered)

    offering_all = jax.jit(offering) if compiled else offering

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple:
        if params is None:
            return tx.update(grads, state, **extra)
        return (offering if extra else offering_all)(grads, state, params, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def loss_with(grads: Any, params: Any) -> Callable[[Any], jax.Array]:
    def wide(x: jax.Array) -> jax.Array:
        return widen(jnp.asarray(x))

    def term(g: jax.Array | None, w: jax.Array, start: jax.Array) -> jax.Array:
        if g is None:
            return jnp.zeros(())
        away = wide(w) - wide(start)
        return jnp.sum(wide(g) * away + 0.15 * away**2)

    def loss(at: Any) -> jax.Array:
        terms = jax.tree.map(term, grads, at, params, is_leaf=lambda g: g is None)
        return sum(jax.tree.leaves(terms), start=jnp.zeros(()))

    return loss

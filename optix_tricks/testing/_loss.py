"""A loss whose gradient is a given one, for transformations that evaluate a loss."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optix_tricks._tree import is_none, widen

OFFERS = ("value", "grad", "value_fn", "grad_fn")


def with_a_loss(
    tx: optax.GradientTransformation,
    extra: Sequence[str] = OFFERS,
    *,
    compiled: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Offer to `tx` what a training step offers, from nothing but gradients.

    The loss is one whose gradient at the parameters w_0 is the given g,

    .. math:: f(w) = \langle g, w - w_0 \rangle + 0.15 |w - w_0|^2,

    in float32 or wider, so that line searches, SAM and a plateau can be run on gradients
    that are only numbers.

    Args:
      tx: any transformation; one that takes no extra arguments is given none.
      extra: which of `value`, `grad`, `value_fn` and `grad_fn` each update is offered.
      compiled: run eager updates compiled; loops compile anew at each eager call.

    >>> tx = with_a_loss(optax.contrib.reduce_on_plateau(factor=0.5, patience=2))
    >>> params = {"w": jnp.ones(3)}
    >>> updates, state = tx.update(params, tx.init(params), params)
    """
    tx = optax.with_extra_args_support(tx)

    def offering(grads: Any, state: Any, params: Any, **given: Any) -> tuple:
        loss = _loss_with(grads, params)
        makers = {
            "value": lambda: loss(params),
            "grad": lambda: grads,
            "value_fn": lambda: loss,
            "grad_fn": lambda: jax.grad(loss),
        }
        offered = {name: makers[name]() for name in extra}
        try:
            return tx.update(grads, state, params, **offered | given)
        except TypeError as error:
            if "missing" not in str(error):
                raise
            raise TypeError(f"extra must have all that tx takes: {error}") from error

    offering_all = jax.jit(offering) if compiled else offering

    def update(grads: Any, state: Any, params: Any = None, **given: Any) -> tuple:
        if params is None:
            return tx.update(grads, state, **given)
        return (offering if given else offering_all)(grads, state, params, **given)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _loss_with(grads: Any, params: Any) -> Callable[[Any], jax.Array]:
    def wide(x: Any) -> jax.Array:
        return widen(jnp.asarray(x))

    def term(g: Any, w: Any, start: Any) -> jax.Array:
        if g is None:
            return jnp.zeros(())
        away = wide(w) - wide(start)
        return jnp.sum(wide(g) * away + 0.15 * away**2)

    def loss(at: Any) -> jax.Array:
        terms = jax.tree.map(term, grads, at, params, is_leaf=is_none)
        return sum(jax.tree.leaves(terms), start=jnp.zeros(()))

    return loss

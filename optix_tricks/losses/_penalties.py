"""Penalties on the parameters, as terms of the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays
from optix_tricks._tree import (
    Mask,
    check_floating,
    is_none,
    resolve_mask,
    widen,
)


def l1_penalty(params: Arrays, *, mask: Mask | None = None) -> Float[Array, ""]:
    """Return the sum of the parameters' absolute values.

        penalty = Σ_i |w_i|

    Its gradient is sign(w), which is what `add_l1_decay` adds to the gradients: use one
    or the other. As a term of the loss it goes through the optimiser, like
    `add_l1_decay` as first link. Summed in float32, or in float64 if given.

    Helps where few weights matter. Hurts where many correlated ones share the work; none
    ends at exactly zero, for which `add_l1_decay(..., proximal=True)` is there. Cost: one
    pass over the parameters, and one in the gradient.

    Beside others: one of it and `add_l1_decay`. The usual mask is `no_bias_or_norm`.

    Args:
        params: a tree of floating arrays; None leaves are passed over.
        mask: which leaves are penalised, e.g. `no_bias_or_norm`; all by default.

    Returns:
        A scalar, to be added to the mean loss with a weight.

    Raises:
        ValueError: if a leaf is not real floating point, or the mask does not fit.

    Examples:
        >>> params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}
        >>> mask = {"kernel": True, "bias": False}
        >>> print(l1_penalty(params), l1_penalty(params, mask=mask))
        8.0 3.0

    Source: "Regression Shrinkage and Selection via the Lasso", Tibshirani, 1996.
    """
    # Not jnp.abs, whose gradient at 0 is 1.
    return _sum_over(params, mask, lambda w: w * jnp.sign(w))


def l2_penalty(params: Arrays, *, mask: Mask | None = None) -> Float[Array, ""]:
    """Return half the sum of the parameters' squares.

        penalty = 1/2 Σ_i w_i²

    Its gradient is w, which is what `add_decayed_weights` adds to the gradients: use one
    or the other. As a term of the loss it goes through the optimiser: with SGD it is
    weight decay, with adaptive methods it is not, and there `add_decayed_weights` after
    the rescaling is the better one. Summed in float32, or in float64 if given.

    Helps against over-fitting, and where the penalty itself is to be seen or weighted in
    the loss. Hurts mostly on biases and normalisation scales; mask them out. Cost: one
    pass over the parameters, and one in the gradient, where the transformation has none.

    Beside others: on weights before a normalisation it bounds no function but sets the
    effective learning rate. The usual mask is `no_bias_or_norm`.

    Args:
        params: a tree of floating arrays; None leaves are passed over.
        mask: which leaves are penalised, e.g. `no_bias_or_norm`; all by default.

    Returns:
        A scalar, to be added to the mean loss with a weight.

    Raises:
        ValueError: if a leaf is not real floating point, or the mask does not fit.

    Examples:
        >>> from optix_tricks import no_bias_or_norm
        >>> params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}
        >>> print(l2_penalty(params), l2_penalty(params, mask=no_bias_or_norm))
        15.0 2.5

    Source: "A Simple Weight Decay Can Improve Generalization", Krogh and Hertz, 1992.
    """
    return _sum_over(params, mask, lambda w: jnp.square(w) / 2)


def _sum_over(
    params: Arrays, mask: Mask | None, term: Callable[[Array], Array]
) -> Float[Array, ""]:
    check_floating(params)
    leaves = jax.tree.leaves(params, is_leaf=is_none)
    terms = [
        jnp.sum(term(widen(jnp.asarray(w))))
        for w, chosen in zip(leaves, resolve_mask(mask, params), strict=True)
        if chosen and w is not None
    ]
    return sum(terms, start=jnp.zeros((), jnp.float32))

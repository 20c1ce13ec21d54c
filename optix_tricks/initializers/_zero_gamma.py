"""Residual branches that start at zero."""

import jax
import jax.numpy as jnp

from optix_tricks._paths import Arrays
from optix_tricks._tree import Mask, PyTree, is_none, resolve_mask


def zero_gamma(params: Arrays, mask: Mask) -> PyTree:
    """Set the scales of chosen norms to zero, so that their branches begin at zero.

        y = x + γ norm(branch(x)),    γ = 0    at the start, and then y = x

    To be chosen is the last norm of each residual branch. Any tree of parameters will
    do, of any network; `ResNet` of `optix_tricks.training` has this switch inside.

    Helps deep residual nets, large batches and high rates at the start: the net starts as
    a shallow one and grows as the scales do. Hurts where a ReLU stands between the norm
    and the sum, as in `ResNet9`: at zero it has no gradient, and the branch stays dead.
    Does little in nets of few blocks. Cost: none.

    Beside others: after `lsuv`, which would see dead branches. Leave scales out of weight
    decay by `no_bias_or_norm`; `lars` and `lamb` let a parameter of norm zero take its
    plain step. The `scale` of a `WeightNorm` is no norm's: at zero the direction of its
    kernel gets no gradient.

    Args:
        params: parameters.
        mask: True at the scales: a tree shaped like `params`, or a function of it.

    Returns:
        The parameters with zeros where the mask is True.

    Raises:
        ValueError: if the mask selects nothing, or is no mask of this tree.

    Examples:
        >>> from optix_tricks import mask_by_path
        >>> params = {"norm1": {"scale": jnp.ones(2)}, "norm2": {"scale": jnp.ones(2)}}
        >>> zero_gamma(params, mask_by_path("norm2/scale"))["norm2"]["scale"].tolist()
        [0.0, 0.0]

    Source: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", Goyal et al.,
    2017, section 5.1.
    """
    flags = resolve_mask(mask, params)
    if not any(flags):
        raise ValueError("mask must select at least one parameter of params, got none.")
    leaves, structure = jax.tree.flatten(params, is_leaf=is_none)
    return jax.tree.unflatten(
        structure,
        [
            jnp.zeros_like(x) if selected and x is not None else x
            for selected, x in zip(flags, leaves, strict=True)
        ],
    )

"""Which layers' length the loss does not depend on, found by trying."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from optix_tricks._checks import check_loss, check_positive
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_floating, widen

FACTORS = (0.5, 3.0)


class ScaleInvariance(NamedTuple):
    """Trees shaped like the parameters, one value per layer."""

    invariant: PyTree  # bool; serves as a `mask`
    undecided: PyTree  # bool; neither invariant nor not
    loss_change: PyTree  # max_c |L(c w_l) - L(w_l)| / |g_l||w_l|, above roundings of L
    weight_cosine: PyTree  # g_l·w_l / (|g_l||w_l|)


def scale_invariance(
    loss: Callable[[PyTree], Array],
    params: Arrays,
    *,
    key: PRNGKeyArray | Array | None = None,
    tolerance: float = 1e-3,
) -> ScaleInvariance:
    """Find the layers whose weights can be scaled without changing the loss.

        L(..., c w_l, ...) = L(..., w_l, ...)  for c = 1/2 and 3,    g_l·w_l = 0

    Both follow from each other for all c and w; both are tried, against
    `tolerance |g||w|`, where 30 roundings of L are allowed beside it. More than ten times
    that in either is no invariance, between the two the verdict is open. It also is for a
    layer of zeros, whose multiples are all the same; for one that the loss does not
    depend on at all (|g||w| is rounding: a bias before a batch norm), since it is not
    moved either; and where a number is not finite. A normalisation with ε is invariant
    up to ε over the variance of its input: the tolerance allows 1e-5 on variances from
    1e-2.

    At a special point more can be invariant than in general: the scale γ of a batch norm
    before a ReLU, where β = 0 and another norm follows. With a `key` all parameters are
    first moved by a tenth of their root mean square (zeros by 0.1).

    Helps to know which layers `equilibrium` speaks of, whatever their names. Hurts
    nothing. Does little with `train=False`: running statistics do not scale along, so use
    the loss of a training step, and a deterministic one (dropout off). Cost: one
    gradient and 2 n losses for n leaves, two compiled programs.

    Args:
        loss: of the parameters, a scalar; the same each time it is called.
        params: a tree of floating-point arrays.
        key: of the random point; None tries at `params` itself.
        tolerance: relative to the above.

    Returns:
        Verdicts and what they are based on.

    Raises:
        ValueError: if `tolerance` is not positive or a leaf is not floating point.

    Examples:
        >>> def loss(params):
        ...     h = jnp.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]]) @ params["kernel"]
        ...     h = (h - h.mean(0, keepdims=True)) / h.std(0, keepdims=True)
        ...     return jnp.mean(jnp.square(h @ params["head"] - 1))
        >>> w = jnp.array([[0.3, -0.2], [0.1, 0.4]])
        >>> found = scale_invariance(loss, {"head": w[:, :1], "kernel": w})
        >>> print(found.invariant["kernel"], found.invariant["head"])
        True False

    Source: "L2 Regularization versus Batch and Weight Normalization", van Laarhoven,
    2017, section 2.
    """
    check_positive("tolerance", tolerance)
    tolerance = float(tolerance)  # JAX has no integers of more bits
    check_floating(params)
    leaves, structure = jax.tree.flatten(params)
    if key is not None:
        keys = jax.random.split(key, len(leaves))
        leaves = [_moved(x, k) for x, k in zip(leaves, keys, strict=True)]

    @jax.jit
    def scaled_loss(leaves: list[Array], factors: Array) -> Array:
        scaled = [
            (widen(x) * factors[i].astype(widen(x).dtype)).astype(x.dtype)
            for i, x in enumerate(leaves)
        ]
        value = check_loss(loss(jax.tree.unflatten(structure, scaled)))
        return widen(jnp.asarray(value))

    ones = jnp.ones(len(leaves))
    here, gradients = jax.jit(jax.value_and_grad(scaled_loss))(leaves, ones)
    rows = []
    for i, (w, g) in enumerate(zip(leaves, gradients, strict=True)):
        w, g = widen(w), widen(g)
        reach = jnp.sqrt(jnp.sum(w * w)) * jnp.sqrt(jnp.sum(g * g))
        moved = jnp.stack([scaled_loss(leaves, ones.at[i].set(c)) for c in FACTORS])
        rounding = 30 * jnp.finfo(w.dtype).eps * jnp.abs(here)
        size = reach + rounding / tolerance
        change = jnp.max(jnp.abs(moved - here)) / jnp.where(size > 0, size, 1)
        cosine = jnp.sum(w * g) / jnp.where(reach > 0, reach, 1)
        known = jnp.isfinite(change + cosine) & jnp.any(w != 0)
        depends = (reach > rounding) | (change > 10 * tolerance)
        small = jnp.maximum(change, jnp.abs(cosine))
        invariant = known & depends & (small <= tolerance)
        varies = known & depends & (small > 10 * tolerance)
        rows.append((invariant, ~(invariant | varies), change, cosine))
    columns = zip(*rows, strict=True) if rows else ((),) * 4
    return ScaleInvariance(*(jax.tree.unflatten(structure, column) for column in columns))


def _moved(x: Array, key: Array) -> Array:
    wide = widen(jnp.asarray(x))
    size = jnp.sqrt(jnp.mean(wide * wide))
    noise = jax.random.normal(key, wide.shape, wide.dtype)
    return (wide + 0.1 * jnp.where(size > 0, size, 1) * noise).astype(x.dtype)

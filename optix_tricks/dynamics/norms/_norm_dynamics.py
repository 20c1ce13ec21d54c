"""How a step changes the length and the direction of each layer's weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative
from optix_tricks._paths import Arrays, unbox
from optix_tricks._tree import (
    Mask,
    PyTree,
    check_floating,
    is_none,
    resolve_mask,
    widen,
)


class WeightNorms(NamedTuple):
    """One step; trees shaped like the parameters, one number per layer (None: masked).

    With W = |w|² before the step, in squared units of the weights.
    """

    square_norm: PyTree  # W
    change: PyTree  # W after the step - W
    shrink: PyTree  # what decay takes from W, by the gradient's whole effect at once
    growth: PyTree  # what the gradient adds to W; for SGD change = growth - shrink
    relative_update: PyTree  # η|g|/|w|
    rotation: PyTree  # angle between the weights before and after, radians
    weight_cosine: PyTree  # of g and w; 0 in scale-invariant layers
    gradient_square: PyTree  # |g|²
    trace_cosine: PyTree  # of g and the running sum of the gradients before it
    trace_product: PyTree  # their product g_t·v_{t-1}


def weight_norms(
    params: Arrays,
    gradients: Arrays,
    *,
    updates: Arrays,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike = 0.0,
    momentum: ArrayLike = 0.0,
    trace: Arrays | None = None,
    mask: Mask | None = None,
) -> WeightNorms:
    """Measure what one step does to the norm of each layer.

        change = 2 w·Δ + |Δ|²,    rotation = atan2(|Δ⊥|, |w| + Δ·w/|w|)
        shrink = (2η'λ - η'²λ²) |w|²,    growth = η'²|g|² - 2η'(1 - η'λ) g·w
        η' = η/(1-ρ),    Δ = w_{t+1} - w_t,    Δ⊥ the part of Δ orthogonal to w

    For plain SGD, w ← (1 - ηλ)w - ηg, shrink and growth are those of its two halves, and
    change = growth - shrink exactly. With momentum they are those of a gradient and of
    the decay of its step, over all the steps in which they act. No difference of two
    nearly equal numbers is taken: angles of 1e-7 are right in float32.

    Helps to see which layers are short of their equilibrium, past it, or not subject to
    it (`weight_cosine` not 0). Does little for parameters of 16 bits where they are
    smaller than half a rounding: Δ is what the optimiser asked for. Cost: five
    reductions per layer, no gradient; a step's memory once or twice more.

    Args:
        params: w, before the step.
        gradients: g at w, of the loss without decay; None counts as zero.
        updates: Δ, as the optimiser returns it.
        learning_rate: η of this step.
        weight_decay: λ, coupled: before the momentum. Give λ(1-ρ) for decoupled decay.
        momentum: ρ in [0, 1).
        trace: v_{t-1} = Σ_j ρ^j g_{t-1-j}, or anything proportional for the cosine
            alone; None leaves both numbers NaN.
        mask: which leaves are measured; all by default.

    Returns:
        Scalars in float32, float64 for float64 weights. A layer of zeros has no
        direction: its relative update, rotation and cosine are NaN; so is the cosine
        with a trace of zeros.

    Raises:
        ValueError: if an argument is out of range, or the trees do not match.

    Examples:
        >>> w, g = {"kernel": jnp.array([3.0, 4.0])}, {"kernel": jnp.array([-4.0, 3.0])}
        >>> rate, decay = 0.1, 0.2
        >>> step = jax.tree.map(lambda w, g: -rate * (g + decay * w), w, g)
        >>> found = weight_norms(
        ...     w, g, updates=step, learning_rate=rate, weight_decay=decay
        ... )
        >>> for name in ("change", "shrink", "growth", "relative_update", "rotation"):
        ...     print(f"{name}: {getattr(found, name)['kernel']:.4f}")
        change: -0.7400
        shrink: 0.9900
        growth: 0.2500
        relative_update: 0.1000
        rotation: 0.1017

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, equations 1 and 2.
    """
    check_nonnegative("learning_rate", learning_rate)
    check_nonnegative("weight_decay", weight_decay)
    check_decay("momentum", momentum)
    given = {"gradients": gradients, "updates": updates}
    if trace is not None:
        given["trace"] = trace
    params, given = unbox((params, given))
    ws, structure = jax.tree.flatten(params, is_leaf=is_none)
    flags = [
        flag and w is not None
        for flag, w in zip(resolve_mask(mask, params), ws, strict=True)
    ]
    trees = {name: _leaves(name, tree, ws, structure) for name, tree in given.items()}
    for tree in (params, *given.values()):
        check_floating(tree, flags)
    rows: list[Any] = []
    for i, (w, flag) in enumerate(zip(ws, flags, strict=True)):
        if not flag:
            rows.append((None,) * len(WeightNorms._fields))
            continue
        w = widen(jnp.asarray(w))
        v = trees["trace"][i] if trace is not None else jnp.full_like(w, jnp.nan)
        g, step, v = (
            jnp.zeros_like(w) if x is None else jnp.asarray(x).astype(w.dtype)
            for x in (trees["gradients"][i], trees["updates"][i], v)
        )
        eta, decay, r = (
            jnp.asarray(x).astype(w.dtype)
            for x in (learning_rate, weight_decay, momentum)
        )
        rows.append(_layer(w, g, step, v, eta, decay, r))
    columns = zip(*rows, strict=True) if rows else ((),) * len(WeightNorms._fields)
    return WeightNorms(*(jax.tree.unflatten(structure, column) for column in columns))


def _layer(
    w: Array, g: Array, step: Array, v: Array, eta: Array, decay: Array, r: Array
) -> tuple[Array, ...]:
    square, g_square, along = _dot(w, w), _dot(g, g), _dot(w, step)
    product, trace_product = _dot(g, w), _dot(g, v)
    whole = eta / (1 - r)  # a gradient's rate over all the steps in which it acts
    shrunk = whole * decay
    norm, g_norm = jnp.sqrt(square), jnp.sqrt(g_square)
    across = step - (along / jnp.where(square > 0, square, 1)) * w
    angle = jnp.arctan2(jnp.sqrt(_dot(across, across)), norm + _ratio(along, norm))
    return (
        square,
        2 * along + _dot(step, step),
        (2 * shrunk - shrunk**2) * square,
        whole**2 * g_square - 2 * whole * (1 - shrunk) * product,
        _ratio(eta * g_norm, norm),
        angle,
        _ratio(product, g_norm * norm),
        g_square,
        _ratio(trace_product, g_norm * jnp.sqrt(_dot(v, v))),
        trace_product,
    )


def _dot(x: Array, y: Array) -> Array:
    return jnp.sum(x * y)


def _ratio(x: Array, y: Array) -> Array:
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1), jnp.nan)


def _leaves(name: str, tree: PyTree, ws: list, structure: Any) -> list:
    leaves = jax.tree.leaves(tree, is_leaf=is_none)
    shapes = [jnp.shape(w) for w in ws if w is not None]
    if jax.tree.structure(tree, is_leaf=is_none) != structure or shapes != [
        jnp.shape(x) if x is not None else jnp.shape(w)
        for x, w in zip(leaves, ws, strict=True)
        if w is not None
    ]:
        raise ValueError(
            f"{name} must be a tree shaped like the parameters, got "
            f"{jax.tree.map(jnp.shape, tree)}."
        )
    return leaves

"""How activations and gradients grow, vanish or die through a model's layers."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from optix_tricks._checks import check_positive
from optix_tricks._paths import Examples
from optix_tricks._tree import global_norm, widen
from optix_tricks.dynamics.diagnosis._layer_signals import LayerSignal, read_layers


class LayerProfile(NamedTuple):
    """A model's layers in the order of their calls, and a verdict on their gradients."""

    paths: tuple[str, ...]
    activation_rms: Float[Array, " layers"]  # sqrt(mean y²), y the layer's output
    activation_variance: Float[Array, " layers"]  # over the whole output
    never_positive: Float[Array, " layers"]  # share of units with y <= 0 all through
    dead: Float[Array, " layers"]  # share of units whose gradient is 0 all through
    gradient_rms: Float[Array, " layers"]  # sqrt(mean (∂loss/∂y)²)
    gradient_norm: Float[Array, " layers"]  # |∂loss/∂y| of the whole batch
    weight_gradient_ratio: Float[Array, " layers"]  # |∂loss/∂w| / |w|, inf where w = 0
    slope: float  # of log gradient_norm by layer; positive: smaller towards the input
    slope_error: float  # its standard error; NaN with fewer than three layers
    verdict: str  # "vanishing", "exploding", "steady" or "undecided"


def layer_profile(
    model: nnx.Module,
    x: Examples,
    *,
    loss: Callable[[Any], Float[Array, ""]],
    factor: float = 100.0,
    **kwargs: Any,
) -> LayerProfile:
    """Measure each layer's activations and gradients, and how gradients change by depth.

        log |∂loss/∂y_l| ≈ a + slope l,    change = slope (layers - 1)
        vanishing: change > log factor,    exploding: change < -log factor

    y_l is the output of the l-th convolution or linear layer, its bias included; the
    gradient comes from the last layer, so a positive slope means that it vanishes on
    its way to the first. Norms and not means are fitted: they are what layers of
    unequal widths hand on. The verdict holds if it does so two standard errors of the
    slope to either side, else it is "undecided"; gradients that are not finite are
    "exploding".

    A unit is a channel, the last axis. A ReLU that is off for all examples passes no
    gradient, so a dead unit is one whose gradient is zero at every example and
    position, whatever norm stands between; a share of 1 in a layer and all before it
    means that nothing arrives there, as behind a layer whose units are all dead or one
    that starts at zero. `never_positive` tells the same for a layer right before a ReLU
    and is no fault elsewhere.

    Helps to see why a deep net does not start, and to compare initialisers and norms.
    Does little for the scale of gradients by weights in nets whose norms hide it: read
    `weight_gradient_ratio`. Cost: one compilation, one forward and one backward pass;
    outputs and their gradients are kept in memory.

    Args:
        model: any module.
        x: a batch, its first argument.
        loss: of the model's output, a scalar.
        factor: > 1, by how much the gradient may change from end to end.
        **kwargs: of the model's call, such as `train=True`.

    Returns:
        Values by layer, in float32 or wider. A layer that is called twice shows its last
        output, and the gradient by both.

    Raises:
        ValueError: if the model has no convolution or linear layer or calls one at two
            sizes, or `factor` is not above 1.

    Examples:
        >>> layers = [nnx.Linear(64, 64, rngs=nnx.Rngs(i)) for i in range(20)]
        >>> net = nnx.Sequential(*(f for layer in layers for f in (layer, nnx.sigmoid)))
        >>> x = nnx.Rngs(20).normal((16, 64))
        >>> profile = layer_profile(net, x, loss=lambda y: jnp.mean(y**2))
        >>> print(profile.verdict, len(profile.paths))
        vanishing 20

    Source: "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    Glorot and Bengio, 2010, section 4.2.
    """
    check_positive("factor", factor)
    if not factor > 1:
        raise ValueError(f"factor must be above 1, got {factor!r}.")
    paths, measured = read_layers(_read, model, x, loss=loss, **kwargs)
    slope, error, verdict = _by_depth(np.asarray(measured["gradient_norm"]), factor)
    return LayerProfile(
        paths=paths, **measured, slope=slope, slope_error=error, verdict=verdict
    )


def _read(signal: LayerSignal) -> dict[str, Array]:
    y, gradient = widen(signal.output), widen(signal.gradient)
    examples = tuple(range(y.ndim - 1))
    return {
        "activation_rms": _rms(y),
        "activation_variance": jnp.var(y),
        "never_positive": jnp.mean(jnp.all(y <= 0, axis=examples).astype(y.dtype)),
        "dead": jnp.mean(jnp.all(gradient == 0, axis=examples).astype(y.dtype)),
        "gradient_rms": _rms(gradient),
        "gradient_norm": _rms(gradient) * math.sqrt(gradient.size),
        "weight_gradient_ratio": global_norm(signal.weight_gradients)
        / global_norm(signal.weights),
    }


def _rms(x: Array) -> Float[Array, ""]:
    """Root of the mean square, safe against under- and overflow of the squares."""
    scale = jnp.maximum(jnp.max(jnp.abs(x)), jnp.finfo(x.dtype).tiny)
    return scale * jnp.sqrt(jnp.mean((x / scale) ** 2))


def _by_depth(norms: np.ndarray, factor: float) -> tuple[float, float, str]:
    """Fit a line to the logarithms; zeros count as the smallest number there is."""
    if not np.isfinite(norms).all():
        return math.nan, math.nan, "exploding"
    if len(norms) < 3 or not norms.any():
        return math.nan, math.nan, "undecided"
    logs = np.log(np.maximum(norms, np.finfo(norms.dtype).tiny)).astype(float)
    depth = np.arange(len(norms)) - (len(norms) - 1) / 2
    spread = np.sum(depth**2)
    slope = np.sum(depth * logs) / spread
    rest = logs - logs.mean() - slope * depth
    error = math.sqrt(np.sum(rest**2) / (len(norms) - 2) / spread)
    low, high = ((slope + k * error) * (len(norms) - 1) for k in (-2, 2))
    verdicts = {
        "vanishing": low > math.log(factor),
        "exploding": high < -math.log(factor),
        "steady": -math.log(factor) <= low <= high <= math.log(factor),
    }
    return slope, error, next((v for v, holds in verdicts.items() if holds), "undecided")

"""Layer-sequential unit variance: kernels scaled by what a batch does in them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from optix_tricks._checks import check_count, check_positive
from optix_tricks._paths import Examples
from optix_tricks._tree import PyTree, check_arrays, widen
from optix_tricks.dynamics.diagnosis._layer_signals import called_layers
from optix_tricks.initializers._depth import variance
from optix_tricks.initializers._standard import orthogonal
from optix_tricks.layers import layer_outputs, named_layers

PROBE = 1024.0  # this times a kernel shows whether its scale has an effect
LEFT = 0.9  # of the way to variance 1, after a scaling down that is worth it

Variances = dict[str, float]


class LayerVariance(NamedTuple):
    """What `lsuv` found and did in one layer."""

    path: str
    iterations: int  # how often its kernel was scaled
    variance_before: float  # of its output, all layers before it done
    variance_after: float  # of its output in the model that is returned
    converged: bool  # whether that is 1 within the tolerance
    left_alone: str  # why its kernel was neither drawn nor scaled; else ""


def lsuv(
    model: nnx.Module,
    batch: Examples,
    *,
    key: PRNGKeyArray | Array | None,
    tolerance: float | int = 0.1,
    max_iterations: int = 10,
    **kwargs: Any,
) -> tuple[Any, tuple[LayerVariance, ...]]:
    """Scale each layer's kernel until its output has variance 1 over a batch.

        W_l orthonormal, all l;    then, for l in the order of the calls:
        while |Var y_l - 1| > tolerance:    W_l = W_l / √Var y_l

    y_l is the output of the l-th convolution or linear layer, its bias included, and
    the variance is over its whole array, in float32. Biases, norms and batch statistics
    stay as they are, and so do layers that the call does not reach.

    A kernel whose scale has no effect is left alone, not even drawn: that of `WSConv`,
    inside of `WeightNorm` and `SpectralNorm`, or of a layer that normalises its own
    output. It is found by trying: 1024 times the kernel gives less than twice the
    variance. A kernel that layers share is scaled once, for the first of them. Where a
    layer is called k times in a row, Var y_l grows as W_l to the power 2 k; from its
    second scaling on the root is of the power that the first one showed.

    Helps deep nets without norms, whatever their nonlinearity: no gain is to be derived
    for it. Does little where a norm follows each layer, which undoes the scale. Hurts
    with a batch that is not like the data, and after `zero_gamma`, whose branches it does
    not see. Cost: a compilation for the kernels and one for the forward pass, about two
    such passes a layer, the memory of one.

    Beside others: before `zero_gamma`; with `key=None` after `dirac` or
    `patch_whitening`, which are then scaled only. Give a `WSConv` a gain, and wrap in a
    `WeightNorm` or `SpectralNorm` afterwards: `LayerVariance.left_alone` names what was
    left alone.

    Args:
        model: any module; it is not changed.
        batch: its first argument: real data, some hundred examples.
        key: for the orthonormal kernels; None keeps the model's own, and only scales.
        tolerance: how far from 1 the variances may stay.
        max_iterations: how often a layer is scaled at most.
        **kwargs: of the model's call, such as `train=True`.

    Returns:
        A new model, and a row for each layer in the order of the calls. Without biases
        one iteration is exact. A layer does not converge whose biases alone have more
        variance: it keeps the last scale that took a tenth of the way to 1. Nor need one
        that is left alone, and the row says why it is.

    Raises:
        ValueError: if an output's variance is zero or not finite, there is no layer,
            `tolerance` is not positive or `max_iterations` not a whole number of at
            least 1.

    Examples:
        >>> layers = [nnx.Linear(32, 32, rngs=nnx.Rngs(i)) for i in range(2)]
        >>> model = nnx.Sequential(layers[0], nnx.tanh, layers[1])
        >>> batch = 3 * jax.random.normal(jax.random.key(0), (64, 32))
        >>> model, report = lsuv(model, batch, key=jax.random.key(1))
        >>> for layer in report:
        ...     print(layer.path, layer.iterations, f"{layer.variance_after:.3f}")
        layers.0 1 1.000
        layers.2 1 1.000

    Source: "All You Need Is a Good Init", Mishkin and Matas, 2016, algorithm 1; its
    authors' code has a tolerance of 0.02 and 20 iterations.
    """
    check_positive("tolerance", tolerance)
    check_count("max_iterations", max_iterations, minimum=1)
    check_arrays("model", nnx.to_pure_dict(nnx.state(model)))
    model = nnx.clone(model)
    paths = tuple(called_layers(model, batch, **kwargs))
    sharing = _sharing(model, paths)
    own = [path for path in paths if path not in sharing]
    given = {path: _layer(model, path).kernel[...] for path in own}
    kernels = dict(given) if key is None else _orthonormal_kernels(model, own, key)
    graph, state = nnx.split(model)

    @jax.jit
    def variances(
        kernels: PyTree, scales: PyTree, batch: PyTree
    ) -> dict[str, Float[Array, ""]]:
        module = nnx.merge(graph, state, copy=True)
        _set_kernels(module, kernels, scales)
        _, outputs = layer_outputs(module, batch, **kwargs)
        return {path: variance(outputs[path]) for path in paths}

    def measured(**change: float) -> Variances:
        of_all = {path: np.float32(scale) for path, scale in (scales | change).items()}
        return jax.tree.map(float, jax.device_get(variances(kernels, of_all, batch)))

    scales = dict.fromkeys(own, 1.0)
    before, iterations, left_alone = {}, dict.fromkeys(paths, 0), dict(sharing)
    now = measured()
    for path in paths:
        _check_variance(path, now[path])
        if path in own and measured(**{path: PROBE})[path] < 2 * now[path]:
            left_alone[path] = "its scale has no effect"
            kernels[path] = given[path]
            now = measured()
        before[path] = now[path]
        if path not in left_alone:
            tried = _tried(measured, path, now, tolerance, max_iterations)
            nearest = min(tried, key=lambda one: abs(one[1][path] - 1))
            scales[path], now = nearest
            iterations[path] = tried.index(nearest)
    _set_kernels(model, kernels, scales)
    return model, tuple(
        LayerVariance(
            path,
            iterations[path],
            before[path],
            now[path],
            abs(now[path] - 1) <= tolerance,
            left_alone.get(path, ""),
        )
        for path in paths
    )


def _tried(
    measured: Callable[..., Variances],
    path: str,
    start: Variances,
    tolerance: float | int,
    max_iterations: int,
) -> list[tuple[float, Variances]]:
    """Return the scales of one layer's kernel that algorithm 1 goes through, from 1."""
    tried, power = [(1.0, start)], 2.0
    while abs(tried[-1][1][path] - 1) > tolerance and len(tried) <= max_iterations:
        scale, last = tried[-1]
        factor = last[path] ** (-1 / power)
        scale, new = scale * factor, measured(**{path: scale * factor})
        stuck = last[path] > 1 and new[path] - 1 > LEFT * (last[path] - 1)
        if stuck or not 0 < new[path] < math.inf:
            break
        power = max(2.0, math.log(new[path] / last[path]) / math.log(factor))
        tried.append((scale, new))
    return tried


def _layer(model: nnx.Module, path: str) -> Any:
    return named_layers(model)[path]


def _sharing(model: nnx.Module, paths: Sequence[str]) -> dict[str, str]:
    """What to say of the layers whose kernel is also that of one before them."""
    layers: dict[str, Any] = named_layers(model)
    first: dict[int, str] = {}
    for path in paths:
        first.setdefault(id(layers[path].kernel), path)
    return {
        path: f"its kernel is that of {first[id(layers[path].kernel)]}"
        for path in paths
        if first[id(layers[path].kernel)] != path
    }


def _orthonormal_kernels(
    model: nnx.Module, paths: Sequence[str], key: Array
) -> dict[str, Array]:
    by_path = named_layers(model)

    @jax.jit
    def draw(keys: Array) -> dict[str, Array]:
        pairs = zip(paths, keys, strict=True)
        return {path: _orthonormal(k, by_path[path]) for path, k in pairs}

    return draw(jax.random.split(key, len(paths)))


def _orthonormal(key: Array, layer: Any) -> Array:
    kernel = layer.kernel
    outputs = math.prod(np.atleast_1d(layer.out_features).tolist())
    matrix = orthogonal()(key, (kernel.size // outputs, outputs), kernel.dtype)
    if getattr(layer, "transpose_kernel", False):  # of nnx.ConvTranspose: [..., out, in]
        *window, last, before = kernel.shape
        return matrix.reshape(*window, before, last).swapaxes(-1, -2)
    return matrix.reshape(kernel.shape)


def _set_kernels(model: nnx.Module, kernels: PyTree, scales: PyTree) -> None:
    layers: dict[str, Any] = named_layers(model)
    for path, kernel in kernels.items():
        wide = widen(kernel)
        scaled = jnp.asarray(scales[path], wide.dtype) * wide
        layers[path].kernel[...] = scaled.astype(kernel.dtype)


def _check_variance(path: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(
            f"the output of layer {path!r} must have a positive, finite variance over"
            f" the batch, got {value}: look at the batch and the layers before it."
        )

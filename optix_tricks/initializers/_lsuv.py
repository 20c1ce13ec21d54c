"""Layer-sequential unit variance: kernels scaled by what a batch does in them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from optix_tricks._checks import check_count, check_positive
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.dynamics._layer_signals import called_layers
from optix_tricks.initializers._depth import variance
from optix_tricks.initializers._standard import orthogonal
from optix_tricks.layers import layer_outputs, named_layers


class LayerVariance(NamedTuple):
    """What `lsuv` found and did in one layer."""

    path: str
    iterations: int  # how often its kernel was scaled
    variance_before: float  # of its output, all layers before it done
    variance_after: float  # of its output in the model that is returned
    converged: bool  # whether that is 1 within the tolerance


def lsuv(
    model: nnx.Module,
    batch: PyTree,
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

    Helps deep nets without norms, whatever their nonlinearity: no gain is to be derived
    for it. Does little where a norm follows each layer, which undoes the scale. Hurts
    after `zero_gamma`, whose branches it does not see: apply it before. Cost: a
    compilation for the kernels and one for the forward pass, about one such pass a
    layer, the memory of one.

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
        variance, or whose output does not follow the scale of its kernel.

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

    Source: "All You Need Is a Good Init", Mishkin and Matas, 2016, algorithm 1.
    """
    check_positive("tolerance", tolerance)
    check_count("max_iterations", max_iterations, minimum=1)
    check_arrays("model", nnx.to_pure_dict(nnx.state(model)))
    model = nnx.clone(model)
    paths = tuple(called_layers(model, batch, **kwargs))
    if key is not None:
        _make_orthonormal(model, paths, key)
    graph, state = nnx.split(model)

    @jax.jit
    def measure(state: PyTree, scales: Array, batch: PyTree) -> Float[Array, " layers"]:
        module = nnx.merge(graph, state, copy=True)
        _scale(module, paths, scales)
        _, outputs = layer_outputs(module, batch, **kwargs)
        return jnp.stack([variance(outputs[path]) for path in paths])

    scales = np.ones(len(paths), np.float32)
    variances = np.asarray(measure(state, scales, batch))
    before, iterations = [], []
    for i, path in enumerate(paths):
        before.append(float(variances[i]))
        iterations.append(0)
        _check_variance(path, variances[i])
        while abs(variances[i] - 1) > tolerance and iterations[i] < max_iterations:
            scales[i] /= np.sqrt(variances[i])
            variances = np.asarray(measure(state, scales, batch))
            iterations[i] += 1
            _check_variance(path, variances[i])
    _scale(model, paths, jnp.asarray(scales))
    after = variances.tolist()
    converged = (np.abs(variances - 1) <= tolerance).tolist()
    rows = zip(paths, iterations, before, after, converged, strict=True)
    return model, tuple(LayerVariance(*row) for row in rows)


def _make_orthonormal(model: nnx.Module, paths: Sequence[str], key: Array) -> None:
    by_path = named_layers(model)
    layers: list[Any] = [by_path[path] for path in paths]

    @jax.jit
    def draw(keys: Array) -> list[Array]:
        return [_orthonormal(k, layer) for k, layer in zip(keys, layers, strict=True)]

    kernels = draw(jax.random.split(key, len(layers)))
    for layer, kernel in zip(layers, kernels, strict=True):
        layer.kernel[...] = kernel


def _orthonormal(key: Array, layer: Any) -> Array:
    kernel = layer.kernel
    outputs = math.prod(np.atleast_1d(layer.out_features).tolist())
    matrix = orthogonal()(key, (kernel.size // outputs, outputs), kernel.dtype)
    if getattr(layer, "transpose_kernel", False):  # of nnx.ConvTranspose: [..., out, in]
        *window, last, before = kernel.shape
        return matrix.reshape(*window, before, last).swapaxes(-1, -2)
    return matrix.reshape(kernel.shape)


def _scale(model: nnx.Module, paths: Sequence[str], scales: Array) -> None:
    layers = named_layers(model)
    for path, scale in zip(paths, scales, strict=True):
        layer: Any = layers[path]
        kernel = layer.kernel[...]
        layer.kernel[...] = (scale * kernel).astype(kernel.dtype)


def _check_variance(path: str, value: np.float32) -> None:
    if not 0 < value < math.inf:
        raise ValueError(
            f"the output of layer {path!r} must have a positive, finite variance over"
            f" the batch, got {value}: look at the batch and the layers before it."
        )

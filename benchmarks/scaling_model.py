"""What a step should cost each of n chips, from the shapes of its arrays alone.

    flops        those of the whole batch by n
    sent         around rings, r = (n - 1) / n, G gradients and P parameters as they are
                 computed, of arrays that a layout splits, P' parameters in float32,
                 S all other gradients and the batch statistics:
                     replicated   2 r (G + S)
                     zero1        r (G + P') + 2 r S
                     fsdp         r (G + 2 P) + 2 r S
    arguments    each array of state and batch by its sharding
    kept         what each convolution reads and writes forward, for its derivative

Source of what is sent: "ZeRO: memory optimizations toward training trillion parameter
models", Rajbhandari, Rasley, Ruwase and He, 2020, section 7.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.compiled_steps import CLASSES
from optix_tricks._tree import SHORT
from optix_tricks.training import ResNet50, functional, matrix_flops

PLAN = (  # what is compiled for, in that order
    *("v5e:2x2", "v5e:4x4", "v5e:8x8", "v5e:16x16", "h100:8", "v6e:4x4", "v5p:4x4x4"),
    *("v6e:16x16", "h100:64", "v5p:2x2x2", "h100:16"),
)


class Expected(NamedTuple):
    """Of one chip."""

    flops: float
    sent: float  # bytes
    arguments: int
    kept: int


def expected(
    function: Any, state: Any, batch: Any, layout: str, of_chip: dict[str, Any]
) -> Expected:
    """Return what a step should cost, of shapes with the shardings of a layout."""
    devices = len(state.step.sharding.device_set)
    return Expected(
        flops=matrix_flops(function, state, batch) / devices,
        sent=sent(state.params, state.batch_stats, layout, devices),
        arguments=sum(map(_piece, jax.tree.leaves(state)))
        + sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(batch)) // devices,
        kept=kept_activations(**of_chip),
    )


def sent(params: Any, batch_stats: Any, layout: str, devices: int) -> float:
    """Bytes that each of some devices sends around rings."""
    arrays = jax.tree.leaves(params)
    large = [x for x in arrays if x.size > SHORT and layout != "replicated"]
    small = [x for x in arrays if x.size <= SHORT or layout == "replicated"]
    computed, wide = sum(map(_computed, large)), sum(4 * x.size for x in large)
    whole = sum(map(_computed, small))
    whole += sum(4 * x.size for x in jax.tree.leaves(batch_stats))
    gathered = {"replicated": 0, "zero1": wide, "fsdp": 2 * computed}[layout]
    return (devices - 1) / devices * (computed + gathered + 2 * whole)


def _computed(x: Any) -> int:
    """Bytes of a parameter, or of its gradient: kernels of convolutions in bfloat16."""
    return x.size * (2 if x.ndim == 4 else 4)


def _piece(x: Any) -> int:
    return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def kept_activations(
    *, stages: tuple[int, ...], width: int, size: int, batch: int
) -> int:
    """Bytes that convolutions read and write forward."""
    model = nnx.eval_shape(
        lambda: ResNet50(
            CLASSES, stages=stages, width=width, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
        )
    )
    apply, params, stats = functional(model, preprocess=lambda x: x.astype(jnp.float32))
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    forward = jax.make_jaxpr(lambda *given: apply(*given, train=True))
    return _of_convolutions(forward(params, stats, images).jaxpr)


def _of_convolutions(jaxpr: Any) -> int:
    found = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            read, written = equation.invars[0].aval, equation.outvars[0].aval
            found += sum(x.size * x.dtype.itemsize for x in (read, written))
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found += _of_convolutions(inner)
    return found

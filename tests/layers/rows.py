"""A row for each layer: how it is built, on what it is called, and in which mode.

`build(dtype=..., param_dtype=...)` returns the module; what has a key draws it from
`nnx.Rngs(0)`. `training` and `evaluation` are the keyword arguments of the call in each
mode, `gradient` those of the mode in which the derivative of the output is that of the
formula (not so where something that depends on the input is taken as constant).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from optix_tricks import layers

BATCH = {"use_running_average": False}
RUNNING = {"use_running_average": True}
IMAGES = (4, 3, 3, 6)


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting of one layer."""

    name: str
    build: Callable[..., nnx.Module]
    shape: tuple[int, ...] = IMAGES
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluation: dict[str, Any] = dataclasses.field(default_factory=dict)
    gradient: dict[str, Any] | None = None  # None: as in training

    @property
    def gradient_mode(self) -> dict[str, Any]:
        """Arguments of the call whose gradient is compared with differences."""
        return self.training if self.gradient is None else self.gradient


def make(layer: Any, *args: Any, **options: Any) -> Callable[..., nnx.Module]:
    """A constructor of `layer` that is left to be given the dtypes."""

    def build(dtype: Any = jnp.float32, param_dtype: Any = jnp.float32) -> nnx.Module:
        dtypes = {"dtype": dtype, "param_dtype": param_dtype}
        return layer(*args, **options, **dtypes, rngs=nnx.Rngs(0))

    return build


def batch_norm(name: str, *args: Any, **options: Any) -> Row:
    """A row of a layer that has running statistics."""
    build = make(getattr(layers, name), *args, **options)
    return Row(name, build, training=BATCH, evaluation=RUNNING)


NORMS = [
    batch_norm("BatchNorm", 6),
    batch_norm("BatchRenorm", 6, momentum=0.9),
    batch_norm("GhostBatchNorm", 6, ghost_size=2),
    batch_norm("FrozenScaleBatchNorm", 6, scale=0.25),
    Row("LayerNorm", make(layers.LayerNorm, 6)),
    Row("RMSNorm", make(layers.RMSNorm, 6)),
    Row("GroupNorm", make(layers.GroupNorm, 6, num_groups=3)),
    Row("InstanceNorm", make(layers.InstanceNorm, 6)),
]


def wrapped(wrapper: Any, layer: Any, *args: Any, **options: Any) -> Callable[..., Any]:
    """A constructor of `wrapper(layer(...), *args, **options)`."""

    def build(dtype: Any = jnp.float32, param_dtype: Any = jnp.float32) -> nnx.Module:
        inner = make(layer[0], *layer[1:])(dtype, param_dtype)
        return wrapper(inner, *args, **options, rngs=nnx.Rngs(0))

    return build


def no_dtypes(layer: Any, *args: Any) -> Callable[..., nnx.Module]:
    """A constructor of a layer whose dtype is that of its input."""
    return lambda dtype=None, param_dtype=None: layer(*args, rngs=nnx.Rngs(1))


def own_dtype(layer: Any, *args: Any) -> Callable[..., nnx.Module]:
    """A constructor of a layer without random numbers whose output has x's dtype."""
    return lambda dtype=None, param_dtype=jnp.float32: layer(
        *args, param_dtype=param_dtype
    )


CONV, LINEAR = (nnx.Conv, 6, 5, (3, 3)), (nnx.Linear, 6, 5)
ITERATE = {"update_stats": True}
KEEP = {"update_stats": False}
RANDOM = {"deterministic": False}
PLAIN = {"deterministic": True}

WEIGHTS: list[Row] = [
    Row("WeightNorm", wrapped(layers.WeightNorm, CONV)),
    Row("WeightNorm:whole", wrapped(layers.WeightNorm, LINEAR, feature_axes=None)),
    Row("SpectralNorm", wrapped(layers.SpectralNorm, CONV), IMAGES, ITERATE, KEEP, KEEP),
    Row(
        "SpectralNorm:linear",
        wrapped(layers.SpectralNorm, LINEAR, n_steps=2),
        IMAGES,
        ITERATE,
        KEEP,
        KEEP,
    ),
    Row("WSConv", make(layers.WSConv, 6, 5, (3, 3), scaled=True)),
    Row("WSConv:unscaled", make(layers.WSConv, 6, 5, (1, 1))),
    Row("LayerScale", own_dtype(layers.LayerScale, 6, 0.5)),
    Row("Dropout", no_dtypes(layers.Dropout, 0.4), IMAGES, RANDOM, PLAIN),
    Row("DropConnect", wrapped(layers.DropConnect, LINEAR, 0.4), (4, 6), RANDOM, PLAIN),
    Row(
        "DropConnect:batch",
        wrapped(layers.DropConnect, CONV, 0.4, per_example=False),
        IMAGES,
        RANDOM,
        PLAIN,
    ),
    Row("DropPath", no_dtypes(layers.DropPath, 0.4), IMAGES, RANDOM, PLAIN),
]

ROWS = [*NORMS, *WEIGHTS]

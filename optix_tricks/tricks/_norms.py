"""The normalisations of a network, all of one kind."""

import functools
from collections.abc import Callable
from typing import Any

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array

from optix_tricks import layers
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Level, as_it_is, trick

Norm = Callable[..., Any]
ones = nnx.initializers.ones
norm = functools.partial(trick, "norm", level=Level.MODULE)


batch_norm = norm(
    calls=layers.BatchNorm, name="batch_norm", fields=["epsilon"], momentum=0.9
)(as_it_is)
layer_norm = norm(calls=layers.LayerNorm, name="layer_norm", fields=())(as_it_is)
instance_norm = norm(calls=layers.InstanceNorm, name="instance_norm", fields=())(as_it_is)
rms_norm = norm(calls=layers.RMSNorm, name="rms_norm", fields=())(as_it_is)


@norm(calls=layers.BatchRenorm, fields=())
def batch_renorm(context: Context, call: Any) -> Norm:
    """Batch norms whose bounds open over this run."""
    return functools.partial(call, **layers.renorm_bounds(context.steps)._asdict())


@norm(calls=layers.GhostBatchNorm, fields=(), ghost_size=32, main="ghost_size")
def ghost_batch_norm(context: Context, call: Any) -> Norm:
    """Batch norms of smaller batches."""
    return call


@norm(calls=layers.GroupNorm, fields=["num_groups"], main="num_groups")
def group_norm(context: Context, call: Any) -> Norm:
    """Norms of groups of channels; of as many as divide a layer's channels."""
    most = call.keywords["num_groups"]

    def make(
        num_features: int,
        *,
        scale_init: Callable[..., Any] = ones,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ) -> nnx.Module:
        groups = max(n for n in range(1, most + 1) if num_features % n == 0)
        options: dict[str, Any] = {"scale_init": scale_init, "dtype": dtype, "rngs": rngs}
        return layers.GroupNorm(num_features, groups, **options)

    return make


class NoNorm(nnx.Module):
    """What stands where a norm was: it hands its input on.

        y = x

    Helps to see what the norms do, and nets whose kernels keep the scale themselves.
    Hurts deep nets that start from the usual kernels: activations grow or vanish with
    depth. Cost: none.

    Beside others: `weight_standardization` with `scaled`, `lsuv`, `zero_gamma` and
    `adaptive_clip` do without norms what norms do.

    Args:
      num_features: not used.
      **options: not used.

    Source: "High-Performance Large-Scale Image Recognition Without Normalization", Brock
    et al., 2021.
    """

    def __init__(self, num_features: int, **options: Any):
        del options
        self.num_features = num_features

    def __call__(self, x: Array) -> Array:
        """Return the input."""
        return x


no_norm = norm(calls=NoNorm, name="no_norm")(as_it_is)

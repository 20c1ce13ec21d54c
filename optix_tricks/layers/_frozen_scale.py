"""Batch normalisation whose scale is chosen and not trained."""

from typing import Any

from flax import nnx
from jax.typing import ArrayLike

from optix_tricks._checks import check_number
from optix_tricks.layers._batch_norm import BatchNorm


class FrozenScaleBatchNorm(BatchNorm):
    """Batch normalisation with a fixed scale s; the bias is trained.

        y = s (x - μ) / sqrt(σ² + ε) + β

    s is a number of the layer, as ε is: it is in no tree of parameters or statistics, so
    that no optimiser, weight decay or average ever sees it, and a checkpoint needs none.
    At s = 1 it is `BatchNorm(use_scale=False)`.

    Helps short runs: one parameter a feature less to tune, and with s below 1 an
    activation such as CELU works near its origin. Hurts where features must be switched
    off or weighed against each other, as the last norm of a residual branch by a scale
    that starts at zero. Cost: that of `BatchNorm`, without γ and its gradient.

    Beside others: no `zero_gamma` with it. Page gives the biases a larger rate of their
    own: see `scale_by_group`.

    Args:
        num_features: length of the last axis.
        scale: s, a finite number.
        **options: those of `BatchNorm`, without `use_scale` and `scale_init`.

    Raises:
        ValueError: as `BatchNorm`, or if `scale` is not a finite number.

    Examples:
        >>> import jax.numpy as jnp
        >>> norm = FrozenScaleBatchNorm(1, scale=0.25, rngs=nnx.Rngs(0))
        >>> print(norm(jnp.array([[1.0], [3.0]])).round(3).ravel())
        [-0.25  0.25]
        >>> list(nnx.to_pure_dict(nnx.state(norm, nnx.Param)))
        ['bias']

    Source: "How to Train Your ResNet 8: Bag of Tricks", Page, 2019 (s = 1/4, CELU).
    """

    def __init__(
        self,
        num_features: int,
        *,
        scale: int | float = 1.0,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        check_number("scale", scale)
        super().__init__(num_features, use_scale=False, rngs=rngs, **options)
        self.frozen_scale = float(scale)

    def _scale(self) -> ArrayLike:
        return self.frozen_scale

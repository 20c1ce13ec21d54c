"""Batch normalisation over parts of the batch."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks.layers._batch_norm import BatchNorm
from optix_tricks.layers._moments import moments


class GhostBatchNorm(BatchNorm):
    """Normalise each `ghost_size` examples of a batch by their own statistics.

        y_b = γ (x_b - μ_g) / sqrt(σ_g² + ε) + β,    example b in ghost batch g

    Ghost batches are consecutive examples. The running statistics move as if they had
    come as batches one after the other, and evaluation is that of `BatchNorm`. So with
    `ghost_size` the batch's size it is `BatchNorm` exactly.

    Under `jit` on a mesh, ghost batches are consecutive examples of the whole batch, and
    need no communication where each lies on one device. Under `pmap` and `shard_map`
    they are consecutive examples of each device's part. There, `axis_name` makes the
    running statistics those of all parts in the order of the devices, the same as on
    one device with the parts in this order; what is normalised never depends on it.

    Helps large batches, of thousands, generalise as small ones do, by the noise of small
    statistics; the authors of Composer report little or no improvement. Hurts where ghost
    batches are so small that the noise outweighs it. Does nothing for batches of the
    ghost's size. Cost: that of `BatchNorm`, a view of the batch and no loop; no
    collectives but one with `axis_name`, for the running statistics.

    Beside others: shuffle the data: a ghost of one class has the statistics of that
    class. The momentum m counts ghost batches: with k of them a batch keeps m^k of the
    old statistics.

    Args:
        num_features: length of the last axis.
        ghost_size: examples in a ghost batch; divides the batch.
        axis_name: see above.
        **options: those of `BatchNorm`, without `axis_index_groups`.

    Raises:
        ValueError: as `BatchNorm`, or if `ghost_size` is not a whole number of at least
            1; at the call in training, if it does not divide the batch.

    Examples:
        >>> norm = GhostBatchNorm(1, ghost_size=2, rngs=nnx.Rngs(0))
        >>> print(norm(jnp.array([[1.0], [3.0], [70.0], [50.0]])).round(3).ravel())
        [-1.  1.  1. -1.]

    Source: "Train longer, generalize better: closing the generalization gap in large
    batch training of neural networks", Hoffer, Hubara and Soudry, 2017, algorithm 1.
    """

    def __init__(
        self,
        num_features: int,
        *,
        ghost_size: int,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        check_count("ghost_size", ghost_size, minimum=1)
        if options.pop("axis_index_groups", None) is not None:
            raise ValueError(
                "axis_index_groups must be None: no statistics cross the devices;"
                " choose ghost_size instead."
            )
        super().__init__(num_features, axis_name=axis_name, rngs=rngs, **options)
        self.ghost_size = ghost_size

    def _normalize_by_batch(self, x: Array, narrow: Array) -> Array:
        batch, *rest = x.shape
        if batch % self.ghost_size:
            raise ValueError(
                f"ghost_size must divide the batch, got {self.ghost_size} for {batch}"
                " examples; drop the last ones or choose a divisor."
            )
        ghosts = x.reshape(-1, self.ghost_size, *rest)
        mean, var = moments(ghosts, narrow.reshape(ghosts.shape), batch_axis=1)
        self._track(mean, var, ghosts.size // mean.size)
        return self._normalize(ghosts, mean, var).reshape(x.shape)

    def _track(self, mean: Array, var: Array, count: int) -> None:
        """Move by m · running + (1 - m) · new once for each ghost batch, in order."""
        var = self._running_kind(var, count)
        here = total = mean.shape[0]
        place = jnp.arange(here)
        if self.axis_name is not None:
            total = here * lax.axis_size(self.axis_name)
            place = place + here * lax.axis_index(self.axis_name)
        m = self.momentum
        weight = (1 - m) * m ** (total - 1.0 - place.astype(float))

        def weighted(statistic: Array) -> Array:
            part = jnp.sum(weight[:, None] * statistic.reshape(here, -1), axis=0)
            return part if self.axis_name is None else lax.psum(part, self.axis_name)

        self._assign(self.mean, m**total * self.mean[...] + weighted(mean))
        self._assign(self.var, m**total * self.var[...] + weighted(var))

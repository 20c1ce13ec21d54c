"""Examples as trees of arrays: what the network gets, and what the loss does."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Num, Shaped

from optix_tricks._tree import PyTree


class Batch(NamedTuple):
    """Examples, along the first axis of every array.

    Images uint8 [batch, height, width, channel] with the class of each, int32 [batch],
    are one case; tokens [batch, length] with the token that follows each, several arrays
    in a dict, or numbers to be told are others.
    """

    inputs: PyTree  # [batch, ...]; what the network is called on
    targets: PyTree  # [batch, ...]; what the loss compares its outputs to
    indices: Integer[Array, " batch"] | None = None  # in the data set
    weights: Num[Array, "batch ..."] | None = None  # of the losses; 0 leaves one out

    @property
    def size(self) -> int:
        """How many examples there are."""
        return len(jax.tree.leaves(self.inputs)[0])

    def take(self, index: Integer[Array, " chosen"]) -> "Batch":
        """Return the examples at these places of a whole data set."""
        chosen = jax.tree.map(lambda x: x[index], self._replace(indices=None))
        return chosen._replace(indices=index)


def weighted(
    values: Shaped[Array, "batch ..."], weights: Num[Array, "..."] | None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return Σ w v and Σ w in float32 or wider, over examples or positions.

    Args:
      values: one an example or a position.
      weights: of the same shape, or of its first axes: an example's weight is then that
        of all its positions. None weighs all alike.

    Raises:
      ValueError: when traced, if the shapes do not fit.
    """
    values = jnp.asarray(values)
    wide = jnp.promote_types(values.dtype, jnp.float32)
    if weights is None:
        return jnp.sum(values, dtype=wide), jnp.asarray(values.size, wide)
    if weights.shape != values.shape[: weights.ndim]:
        raise ValueError(
            "weights must be of the shape of the losses or of their first axes, got"
            f" {list(weights.shape)} for {list(values.shape)}."
        )
    shape = weights.shape + (1,) * (values.ndim - weights.ndim)
    w = jnp.broadcast_to(weights.reshape(shape), values.shape).astype(wide)
    # Not 0 · NaN: what is left out may be anything.
    return jnp.sum(jnp.where(w == 0, 0, w * values)), jnp.sum(w)

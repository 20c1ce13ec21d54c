"""Gradient centralisation: the mean over each unit's weights is taken off."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask


class CentralizeState(NamedTuple):
    """State of `centralize`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none


def centralize(
    *, output_axis: int = -1, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Subtract from each unit's gradient its mean.

    .. math:: u_i = g_i - \mathrm{mean}(g_i)

    for every unit :math:`i`, the weights of one output: all axes but the output's, in
    arrays of at least two axes. Biases, scales and scalars pass unchanged.

    A projection: it keeps the mean of each unit's weights where it started. Helps a
    little on convolutional networks, before momentum or Adam; does nothing where the
    inputs of a layer sum to zero, as behind a layer normalisation.

    Args:
      output_axis: -1, where Flax keeps outputs (Dense [in, out], Conv [height, width,
        in, out]); 0, where PyTorch does, is what `optax.centralize` takes for every
        kernel.
      mask: which leaves are centralised; the others pass unchanged.

    Returns:
      A transformation; no slots.

    Raises:
      ValueError: if `output_axis` is neither -1 nor 0.

    Examples:
      >>> tx = centralize()
      >>> grads = jnp.array([[1.0, 5.0], [3.0, 9.0]])
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> print(updates)
      [[-1. -2.]
       [ 1.  2.]]

    References:
      Yong, Huang, Hua and Zhang, Gradient centralization: a new optimization technique
      for deep neural networks, 2020.
    """
    if output_axis not in (-1, 0):
        raise ValueError(
            f"output_axis must be -1 (Flax's layout) or 0 (PyTorch's), got {output_axis}."
        )

    def subtract_mean(leaf: Any, g: Array) -> tuple[Array]:
        if g.ndim < 2:
            return (g,)
        axes = range(g.ndim - 1) if output_axis == -1 else range(1, g.ndim)
        return (g - jnp.mean(g, axis=tuple(axes), keepdims=True),)

    def rule(g: Array, w: Array | None, *, layer: Any) -> tuple[Array]:
        return layer.map(subtract_mean, g)

    return leafwise(rule, CentralizeState, mask=mask, layerwise=True, stateless=True)

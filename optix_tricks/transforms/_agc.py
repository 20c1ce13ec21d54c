"""Adaptive gradient clipping: each unit's gradient against the norm of its weights."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._masks import no_last_layer
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._clipping import clip_factor
from optix_tricks.transforms._units import unit_norm


class AdaptiveGradClipState(NamedTuple):
    """State of `adaptive_grad_clip`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # clipping, eps
    clip_factor: PyTree  # one float32 per layer: the smallest factor of its units
    clipped_fraction: PyTree  # one float32 per layer: the share of its units clipped

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {
            "clip_factor": self.clip_factor,
            "clipped_fraction": self.clipped_fraction,
        }


def adaptive_grad_clip(
    clipping: ScalarOrSchedule,
    eps: ScalarOrSchedule = 1e-3,
    axis: int | tuple[int, ...] | None = None,
    *,
    mask: Mask | None = no_last_layer,
) -> optax.GradientTransformationExtraArgs:
    r"""Clip each unit's gradient to a fraction of the norm of its weights.

    .. math:: u_i = g_i \min\left(1, \lambda \frac{\max(|w_i|, \epsilon)}{|g_i|}\right)

    for every unit :math:`i`: the weights of one output. That is one slice along the last
    axis of a kernel in Flax's layout (Dense [in, out], Conv [height, width, in, out]), or
    the whole of a vector or scalar.

    Helps networks without normalisation, which diverge at large batches and rates
    (:math:`\lambda` = 0.01 at batch 4,096, larger for smaller batches); does little
    under batch normalisation, which bounds the relative step by itself. Clipping the
    last layer hurts (Brock et al., 2021, section 4.1), so it is left out by default, by
    the names in `no_last_layer`. For a model with another name give a mask:
    `mask=mask_by_path("^(?!my_output/)")` clips all but `my_output`.

    A unit whose gradient's or weights' norm is NaN or infinite becomes NaN.

    Args:
      clipping: :math:`\lambda` > 0; infinity is the identity.
      eps: :math:`\epsilon` > 0, least norm of weights, so that what starts at zero can
        move.
      axis: the axes that are summed over in a unit's norm, for all leaves alike; by
        default those named above. 0 keeps each output of a kernel [in, heads, depth].
      mask: which leaves are clipped; the others pass unchanged.

    Returns:
      A transformation; no slots but the reported `clip_factor` (the smallest of a
      layer's units) and `clipped_fraction`; needs the parameters. It equals
      `optax.adaptive_grad_clip` on vectors and on kernels of rank 2, 4 and 5. Optax sums
      over axis 0 alone at rank 3 (right for [in, heads, depth], wrong for Conv1D), and
      takes a kernel with a single axis longer than 1, such as [1, out], as a whole.

    Raises:
      ValueError: if an argument is not positive or the parameters are not given.

    Examples:
      >>> tx = adaptive_grad_clip(0.1)
      >>> w = {"conv": jnp.array([[3.0, 3.0], [4.0, 4.0]])}
      >>> grads = {"conv": jnp.array([[0.0, 0.3], [2.0, 0.4]])}
      >>> updates, state = tx.update(grads, tx.init(w), w)
      >>> print(updates["conv"])
      [[0.  0.3]
       [0.5 0.4]]
      >>> print(state.clip_factor["conv"], state.clipped_fraction["conv"])
      0.25 0.5

    References:
      Brock, De, Smith and Simonyan, High-performance large-scale image recognition
      without normalization, 2021, section 4.
    """
    check_positive("clipping", clipping)
    check_positive("eps", eps)

    def rule(
        g: Array,
        w: Array,
        *reported: Array,
        clipping: Array,
        eps: Array,
        layer: Any,
    ) -> tuple[Array, Array, Array]:
        def clip_units(leaf: Any, g: Array, w: Array) -> tuple[Array, Array, Array]:
            w_norm = unit_norm(w, axis)
            bound = clipping * jnp.maximum(w_norm, eps)
            factor = clip_factor(unit_norm(g, axis), bound)
            factor = factor + 0 * w_norm  # NaN where it is not finite
            clipped = jnp.sum(~(factor >= 1)) / max(factor.size, 1)
            return g * factor, jnp.min(factor, initial=1), clipped

        return layer.map(clip_units, g, w)

    return leafwise(
        rule,
        AdaptiveGradClipState,
        hyperparams={"clipping": clipping, "eps": eps},
        slots={"clip_factor": PER_LAYER, "clipped_fraction": PER_LAYER},
        mask=mask,
        needs_params=True,
        layerwise=True,
        stateless=True,
    )

"""LARS: a learning rate for each layer, from the norms of its weights and gradients."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative, check_positive
from optix_tricks._leafwise import PER_LAYER, ScalarOrSchedule, leafwise
from optix_tricks._tree import Mask, PyTree, no_bias_or_norm
from optix_tricks.transforms._chain import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._momentum import trace


class ScaleByLarsState(NamedTuple):
    """State of `scale_by_lars`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # trust_coefficient, weight_decay, eps
    trust_ratio: PyTree  # one float32 per layer: the ratio of the last step

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"trust_ratio": self.trust_ratio}


def scale_by_lars(
    *,
    trust_coefficient: ScalarOrSchedule = 0.001,
    weight_decay: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 0.0,
    mask: Mask | None = no_bias_or_norm,
) -> optax.GradientTransformationExtraArgs:
    r"""Give each layer a rate in proportion to its weights' norm.

    .. math::
        r_l = \kappa \frac{|w_l|}{|g_l| + \lambda |w_l| + \epsilon}, \qquad
        u_l = r_l \, (g_l + \lambda w_l)

    The paper's ratio: the norms are taken apart and added. `optax.lars` takes the norm
    of the sum; the two agree at :math:`\lambda = 0`. Where :math:`|w_l|` or
    :math:`|g_l|` is zero the ratio is :math:`\kappa`, so that a layer initialised to
    zero neither stands still nor takes the step :math:`1/\kappa` times as long that a
    ratio of 1 would mean. A norm that is NaN or infinite makes that layer NaN.

    Args:
      trust_coefficient: :math:`\kappa` > 0.
      weight_decay: :math:`\lambda` >= 0, inside the ratio.
      eps: :math:`\epsilon` >= 0.
      mask: which leaves are layers; the others pass unchanged, undecayed. Biases and
        normalisation parameters are left out by default.

    Returns:
      A transformation; no slots but the reported `trust_ratio`; needs the parameters;
      two norms per layer.

    Raises:
      ValueError: if an argument is out of range or the parameters are not given.

    Examples:
      >>> tx = scale_by_lars(trust_coefficient=0.1)
      >>> w = jnp.array([[3.0, 4.0]])
      >>> updates, state = tx.update(jnp.array([[0.0, 2.0]]), tx.init(w), w)
      >>> print(updates, state.trust_ratio)
      [[0.  0.5]] 0.25

    References:
      You, Gitman and Ginsburg, Large batch training of convolutional networks, 2017.
    """
    check_positive("trust_coefficient", trust_coefficient)
    check_nonnegative("weight_decay", weight_decay)
    check_nonnegative("eps", eps)

    def rule(
        g: Array,
        w: Array,
        _: Array,
        *,
        trust_coefficient: Array,
        weight_decay: Array,
        eps: Array,
        layer: Any,
    ) -> tuple[Array, Array]:
        w_norm, g_norm = layer.norm(w), layer.norm(g)
        ratio = w_norm / (g_norm + weight_decay * w_norm + eps)
        usable = (w_norm > 0) & (g_norm > 0)
        ratio = trust_coefficient * jnp.where(usable, ratio, 1.0)
        ratio = jnp.where(jnp.isfinite(w_norm + g_norm), ratio, jnp.nan)
        return layer.spread(ratio) * (g + weight_decay * w), ratio

    return leafwise(
        rule,
        ScaleByLarsState,
        hyperparams={
            "trust_coefficient": trust_coefficient,
            "weight_decay": weight_decay,
            "eps": eps,
        },
        slots={"trust_ratio": PER_LAYER},
        mask=mask,
        needs_params=True,
        layerwise=True,
    )


def lars(
    learning_rate: ScalarOrSchedule,
    *,
    weight_decay: ScalarOrSchedule = 0.0,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    momentum: ScalarOrSchedule | None = 0.9,
    nesterov: bool = False,
    mask: Mask | None = no_bias_or_norm,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""LARS: layer-wise rates with momentum.

    .. math:: v_l \leftarrow \rho \, v_l + \eta_t \, u_l, \qquad w_l \leftarrow w_l - v_l

    with :math:`u_l` of `scale_by_lars`. The rate multiplies before the momentum, as in
    the paper's algorithm 1. Masked-out leaves (biases, norms) take plain momentum steps
    of the same rate, without decay.

    Helps at very large batches (8,192 and more on ImageNet), where one rate for all
    layers diverges early. Does little on small batches of normalised networks: weight
    decay brings them to the same relative step by itself.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      weight_decay: see `scale_by_lars`.
      trust_coefficient: see `scale_by_lars`.
      eps: see `scale_by_lars`.
      momentum: :math:`\rho`; None keeps no momentum slot.
      nesterov: see `trace`.
      mask: which leaves are layers; see `scale_by_lars`.
      state_dtype: dtype of the momentum slot.

    Returns:
      An optimiser; one slot, or none. Its update needs the parameters.

    Examples:
      >>> tx = lars(1.0, trust_coefficient=0.1)
      >>> w = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.zeros(1)}
      >>> grads = {"kernel": jnp.array([[0.0, 2.0]]), "bias": jnp.ones(1)}
      >>> updates, _ = tx.update(grads, tx.init(w), w)
      >>> print(updates["kernel"][0, 1], updates["bias"])
      -0.5 [-1.]

    References:
      You, Gitman and Ginsburg, Large batch training of convolutional networks, 2017.
    """
    links = [
        scale_by_lars(
            trust_coefficient=trust_coefficient,
            weight_decay=weight_decay,
            eps=eps,
            mask=mask,
        ),
        scale_by_learning_rate(learning_rate),
    ]
    if momentum is not None:
        check_decay("momentum", momentum)
        links.append(trace(momentum, nesterov=nesterov, state_dtype=state_dtype))
    return chain_in_float32(*links)

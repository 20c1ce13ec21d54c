"""LAMB: Adam's step, rescaled in each layer to the norm of its weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative, check_positive
from optix_tricks._hyperparams import Scalar, ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._adam import scale_by_adam
from optix_tricks.transforms._decay import add_decayed_weights
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class ScaleByTrustRatioState(NamedTuple):
    """State of `scale_by_trust_ratio`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # the numbers among the arguments
    trust_ratio: PyTree  # one float32 per layer: the ratio of the last step

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"trust_ratio": self.trust_ratio}


def scale_by_trust_ratio(
    min_norm: ScalarOrSchedule = 0.0,
    trust_coefficient: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 0.0,
    *,
    min_ratio: ScalarOrSchedule = 0.0,
    max_ratio: ScalarOrSchedule = float("inf"),
    phi: Callable[[Array], Array] | None = None,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale each layer's update to the norm of its weights.

    .. math::
        r_l = \kappa \, \mathrm{clip}\!\left(
        \frac{\phi(|w_l|)}{|u_l| + \epsilon}, r_{\min}, r_{\max}\right), \qquad
        u_l \leftarrow r_l \, u_l

    Every layer then moves by the same part of its length, whatever the scale of what
    stands before it in the chain. Where a norm is zero the ratio is :math:`\kappa`, so
    that a layer initialised to zero takes its plain step; Optax's is 1 there, which
    differs where :math:`\kappa` does. A norm that is NaN or infinite makes that layer
    NaN.

    Helps at very large batches, where one rate for all layers diverges early. Does little
    on small ones. Leave biases and normalisation parameters out, as the authors' code of
    LAMB does.

    Args:
      min_norm: least value >= 0 of either norm; 0 for none.
      trust_coefficient: :math:`\kappa` > 0.
      eps: :math:`\epsilon` >= 0.
      min_ratio: :math:`r_{\min}` >= 0.
      max_ratio: :math:`r_{\max}` > 0; bounds the step of large layers whose updates are
        small, in practice at 1 or 10.
      phi: :math:`\phi`, a function of the weights' norm; the identity by default, in the
        paper `lambda norm: jnp.clip(norm, low, high)`.
      mask: which leaves are layers, e.g. `no_bias_or_norm`; the others pass unchanged.

    Returns:
      A transformation; no slots but the reported `trust_ratio`; needs the parameters;
      two norms per layer. It equals `optax.scale_by_trust_ratio` at the defaults.

    Raises:
      ValueError: if an argument is out of range or the parameters are not given.

    Examples:
      >>> tx = scale_by_trust_ratio()
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, state = tx.update(jnp.array([0.0, 2.0]), tx.init(w), w)
      >>> print(updates, state.trust_ratio)
      [0. 5.] 2.5

    References:
      You et al., Large batch optimization for deep learning: training BERT in 76
      minutes, 2020, section 3.
    """
    check_nonnegative("min_norm", min_norm)
    check_positive("trust_coefficient", trust_coefficient)
    check_nonnegative("eps", eps)
    more = {"min_norm": min_norm, "trust_coefficient": trust_coefficient, "eps": eps}
    return _trust_ratio(min_ratio, max_ratio, phi, mask, **more)


def _trust_ratio(
    min_ratio: ScalarOrSchedule,
    max_ratio: ScalarOrSchedule,
    phi: Callable[[Array], Array] | None,
    mask: Mask | None,
    **more: ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    check_nonnegative("min_ratio", min_ratio)
    check_positive("max_ratio", max_ratio)

    def rule(
        u: Array,
        w: Array,
        _: Array,
        *,
        min_ratio: Array,
        max_ratio: Array,
        min_norm: Scalar = 0.0,
        trust_coefficient: Scalar = 1.0,
        eps: Scalar = 0.0,
        layer: Any,
    ) -> tuple[Array, Array]:
        w_norm = jnp.maximum(layer.norm(w), min_norm)
        u_norm = jnp.maximum(layer.norm(u), min_norm)
        size = w_norm if phi is None else phi(w_norm)
        usable, one = (w_norm > 0) & (u_norm > 0), jnp.ones_like(w_norm)
        quotient = size / lax.select(usable, u_norm + eps, one)
        ratio = jnp.minimum(jnp.maximum(quotient, min_ratio), max_ratio)
        ratio = trust_coefficient * lax.select(usable, ratio, one)
        ratio = ratio + 0 * (w_norm + u_norm)  # NaN where a norm is not finite
        return layer.spread(ratio) * u, ratio

    return leafwise(
        rule,
        ScaleByTrustRatioState,
        hyperparams={"min_ratio": min_ratio, "max_ratio": max_ratio, **more},
        slots={"trust_ratio": PER_LAYER},
        mask=mask,
        needs_params=True,
        layerwise=True,
        stateless=True,
    )


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    trust_ratio_mask: Mask | None = None,
    min_ratio: ScalarOrSchedule = 0.0,
    max_ratio: ScalarOrSchedule = float("inf"),
    phi: Callable[[Array], Array] | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""LAMB: AdamW with a rate for each layer.

    .. math::
        d_l = \mathrm{adam}(g_l) + \lambda w_l, \qquad
        w_l \leftarrow w_l - \eta_t \frac{\phi(|w_l|)}{|d_l|} d_l

    with the Adam step of `scale_by_adam` and the ratio of `scale_by_trust_ratio`.

    Helps at very large batches (BERT at 32,768, ResNet-50 at 16,384 and more). The
    relative step of every layer is :math:`\eta_t`, so that rates carry over between
    networks; on small batches AdamW is as good and simpler. Leave biases and
    normalisation parameters out of both masks, as the authors' code does.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_adam`.
      b2: see `scale_by_adam`.
      eps: see `scale_by_adam`.
      eps_root: see `scale_by_adam`.
      weight_decay: :math:`\lambda` >= 0, decoupled and inside the ratio.
      mask: which leaves decay, e.g. `no_bias_or_norm`; all by default, as in Optax.
      trust_ratio_mask: which leaves are rescaled, e.g. `no_bias_or_norm`; the others
        take steps of AdamW. All by default, as in Optax.
      min_ratio: see `scale_by_trust_ratio`.
      max_ratio: see `scale_by_trust_ratio`.
      phi: see `scale_by_trust_ratio`.
      state_dtype: dtype of both moments.

    Returns:
      An optimiser; two slots. Its update needs the parameters. It equals `optax.lamb`
      at the defaults.

    Examples:
      >>> tx = lamb(0.1)
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(w), w)
      >>> print(updates.round(3))
      [-0.354  0.354]

    References:
      You et al., Large batch optimization for deep learning: training BERT in 76
      minutes, 2020, algorithm 2.
    """
    return chain_in_float32(
        scale_by_adam(b1, b2, eps=eps, eps_root=eps_root, state_dtype=state_dtype),
        add_decayed_weights(weight_decay, mask=mask),
        # Without an `eps` of its own: in the state that name is Adam's.
        _trust_ratio(min_ratio, max_ratio, phi, trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
    )

"""LARS: a learning rate for each layer, from the norms of its weights and gradients."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative, check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._masks import no_bias_or_norm
from optix_tricks._tree import Mask, PyTree, is_none, resolve_mask
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._momentum import trace
from optix_tricks.transforms._units import unit_norm


class ScaleByLarsState(NamedTuple):
    """State of `scale_by_lars`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # trust_coefficient, weight_decay, eps
    trust_ratio: PyTree  # one float32 per layer: the ratio of the last step

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"trust_ratio": self.trust_ratio}


Ratio = Literal["paper", "optax", "page"]


def scale_by_lars(
    *,
    trust_coefficient: ScalarOrSchedule = 0.001,
    weight_decay: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 0.0,
    ratio: Ratio = "paper",
    per_filter: bool = False,
    weight_decay_mask: Mask | None = None,
    trust_ratio_mask: Mask | None = None,
    mask: Mask | None = no_bias_or_norm,
) -> optax.GradientTransformationExtraArgs:
    r"""Give each layer a rate in proportion to its weights' norm.

    .. math::
        r_l = \kappa \frac{|w_l|}{d_l + \epsilon}, \qquad
        u_l = r_l \, (g_l + \lambda w_l)

    with one of three :math:`d_l`, which agree at :math:`\lambda = 0`:

    - "paper": :math:`|g_l| + \lambda |w_l|`, the norms taken apart and added.
    - "optax": :math:`|g_l + \lambda w_l|`, the norm of the sum. The relative step is
      :math:`\kappa` whatever the decay.
    - "page": :math:`|g_l|`. With `per_filter=True, trust_coefficient=1, eps=0.01` these
      are the rates of Page's CIFAR-10 networks.

    Where :math:`|w_l|` or the gradient's norm is zero the ratio is :math:`\kappa`, so
    that a layer initialised to zero neither stands still nor takes the step
    :math:`1/\kappa` times as long that Optax's ratio of 1 would mean. A norm that is NaN
    or infinite makes that layer (or filter) NaN.

    Helps at very large batches, where one rate for all layers diverges early. Does little
    on small batches of normalised networks.

    Args:
      trust_coefficient: :math:`\kappa` > 0.
      weight_decay: :math:`\lambda` >= 0, inside the ratio.
      eps: :math:`\epsilon` >= 0.
      ratio: "paper", "optax" or "page".
      per_filter: take the norms of each output (a slice along the last axis) instead of
        the layer's; the report is then their mean ratio.
      weight_decay_mask: which leaves decay; None for `mask`.
      trust_ratio_mask: which leaves have a rate of their own; None for `mask`.
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
      Page, How to train your ResNet 6: weight decay, 2019.
    """
    check_positive("trust_coefficient", trust_coefficient)
    check_nonnegative("weight_decay", weight_decay)
    check_nonnegative("eps", eps)

    parts: Callable[[PyTree], PyTree] | None = None
    if weight_decay_mask is not None or trust_ratio_mask is not None:
        chosen = (weight_decay_mask, trust_ratio_mask)
        parts = _parts(*(mask if one is None else one for one in chosen))
        mask = _any_part(parts)

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
        def ratio_of(
            norm: Callable[[Array], Array], leaf: Any, g: Array, w: Array
        ) -> tuple[Array, Array]:
            decay = by_element = weight_decay
            if parts is not None:
                decay = weight_decay * leaf.of_label(lambda part: float(DECAYS in part))
                by_element = leaf.spread(decay)
            decayed, w_norm = g + by_element * w, norm(w)
            g_norm = norm(decayed if ratio == "optax" else g)
            apart = decay * w_norm if ratio == "paper" else 0.0
            usable, one = (w_norm > 0) & (g_norm > 0), jnp.ones_like(w_norm)
            above = lax.select(usable, w_norm, one)
            below = lax.select(usable, g_norm + apart + eps, one)
            r = trust_coefficient * (above / below)
            r = r + 0 * (w_norm + g_norm)  # NaN where a norm is not finite
            if parts is not None:
                r = jnp.where(leaf.of_label(lambda part: RESCALED in part), r, 1)
            return r, decayed

        def filters(leaf: Any, g: Array, w: Array) -> tuple[Array, Array]:
            r, decayed = ratio_of(unit_norm, leaf, g, w)
            return r * decayed, jnp.sum(r) / max(r.size, 1)

        if per_filter:
            return layer.map(filters, g, w)
        r, decayed = ratio_of(layer.norm, layer, g, w)
        return layer.spread(r) * decayed, r

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
        labels=parts,
        needs_params=True,
        layerwise=True,
    )


DECAYS, RESCALED = "decays", "rescaled"


def _parts(decayed: Mask | None, rescaled: Mask | None) -> Callable[[PyTree], PyTree]:
    """Which of the two is done to each leaf, as a word."""

    def parts(tree: PyTree) -> PyTree:
        treedef: Any = jax.tree.structure(tree, is_leaf=is_none)
        masks = resolve_mask(decayed, tree), resolve_mask(rescaled, tree)
        flags = zip(*masks, strict=True)
        return treedef.unflatten(DECAYS * d + RESCALED * r for d, r in flags)

    return parts


def _any_part(parts: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    return lambda tree: jax.tree.map(bool, parts(tree))


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    trust_ratio_mask: Mask | None = None,
    momentum: ScalarOrSchedule | None = 0.9,
    nesterov: bool = False,
    *,
    ratio: Ratio = "paper",
    per_filter: bool = False,
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
      weight_decay_mask: see `scale_by_lars`.
      trust_coefficient: see `scale_by_lars`.
      eps: see `scale_by_lars`.
      trust_ratio_mask: see `scale_by_lars`.
      momentum: :math:`\rho`; None keeps no momentum slot.
      nesterov: see `trace`.
      ratio: see `scale_by_lars`.
      per_filter: see `scale_by_lars`.
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
            ratio=ratio,
            per_filter=per_filter,
            weight_decay_mask=weight_decay_mask,
            trust_ratio_mask=trust_ratio_mask,
            mask=mask,
        ),
        scale_by_learning_rate(learning_rate),
    ]
    if momentum is not None:
        check_decay("momentum", momentum)
        links.append(trace(momentum, nesterov=nesterov, state_dtype=state_dtype))
    return chain_in_float32(*links)

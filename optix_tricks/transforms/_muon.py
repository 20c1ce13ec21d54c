"""Muon: matrices step along orthogonalised momentum, everything else by AdamW."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax.typing import DTypeLike
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative, check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._masks import hidden_matrices
from optix_tricks._tree import Mask, PyTree, is_none, resolve_mask
from optix_tricks.transforms._adam import scale_by_adam
from optix_tricks.transforms._decay import add_decayed_weights
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._momentum import trace
from optix_tricks.transforms._newton_schulz import (
    COEFFICIENTS,
    Coefficients,
    Preconditioning,
    scale_by_newton_schulz,
)
from optix_tricks.transforms._renamed import renamed


class ScaleByShapeState(NamedTuple):
    """State of the factor for a matrix's shape."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # consistent_rms, if it is given


def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Coefficients | tuple[Coefficients, ...] = COEFFICIENTS,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    preconditioning: Preconditioning = "frobenius",
    consistent_rms: ScalarOrSchedule | None = None,
    adam_learning_rate: ScalarOrSchedule | None = None,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps: ScalarOrSchedule = 1e-8,
    adam_eps_root: ScalarOrSchedule = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = hidden_matrices,
    compute_dtype: DTypeLike | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Muon for the hidden matrices and kernels, AdamW for everything else.

    .. math::
        v_t &= \beta \, v_{t-1} + g_t, \qquad u_t = \mathrm{NS}(g_t + \beta \, v_t) \\
        w &\leftarrow w - \eta_t (s \, u_t + \lambda w), \qquad
        s = \max(1, n_{out} / n_{in})^{1/2}
        \;\text{ or }\; \rho \max(n_{out}, n_{in})^{1/2}

    for a matrix of :math:`n_{in}` inputs by :math:`n_{out}` outputs, its last axis; NS
    is `scale_by_newton_schulz`, to which the kernel of a convolution is a matrix of all
    its other axes by its outputs. The first :math:`s` is Jordan's: a step changes the
    outputs equally at every width. The second, with `consistent_rms` :math:`\rho` = 0.2,
    gives each step the size of AdamW's, so that its rate and decay serve both groups.
    Without `nesterov` it is :math:`u_t = \mathrm{NS}(v_t)`. Jordan's code averages where
    this sums: NS loses the factor.

    Helps hidden layers of transformers and convolutional networks: fewer steps to the
    same loss than with AdamW. Hurts embeddings and last layers, whose rows have a meaning
    of their own and which `mask` leaves to AdamW, and fine-tuning of what AdamW trained.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule; of both groups.
        Jordan's is 0.02 for the matrices; AdamW then wants one of its own.
      ns_coeffs: see `scale_by_newton_schulz`.
      ns_steps: see `scale_by_newton_schulz`.
      beta: :math:`\beta` in [0, 1).
      eps: added to the norm by which NS divides, > 0.
      weight_decay: :math:`\lambda` >= 0 of the matrices, decoupled.
      weight_decay_mask: which leaves decay, of either group, e.g. `no_bias_or_norm`; all
        by default.
      mu_dtype: dtype of the momentum and of AdamW's first moment; None for `state_dtype`.
      nesterov: look ahead, as in `trace`; AdamW stays as it is.
      preconditioning: see `scale_by_newton_schulz`.
      consistent_rms: :math:`\rho` > 0 of the second :math:`s`; None for the first.
      adam_learning_rate: of AdamW's group; None for `learning_rate`.
      adam_b1: of AdamW, as are the next three.
      adam_b2: in [0, 1).
      adam_eps: outside of the root.
      adam_eps_root: inside of the root.
      adam_weight_decay: of AdamW's group.
      mask: which leaves are matrices; by default all hidden ones. None takes the last
        layer and embeddings too. Leaves of fewer than two axes are AdamW's in any case.
      compute_dtype: of NS's products, float32 by default; Jordan's is bfloat16.
      state_dtype: dtype of the slots.

    Returns:
      An optimiser; one slot for matrices, two for the rest. Its update needs the
      parameters.

    Raises:
      ValueError: if an argument is out of range or the parameters are not given.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = muon(0.1, adam_learning_rate=0.01)
      >>> w = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
      >>> grads = {"kernel": jnp.diag(jnp.array([3.0, 2.0])), "bias": jnp.ones(2)}
      >>> updates, _ = tx.update(grads, tx.init(w), w)
      >>> print(updates["kernel"].round(2), updates["bias"].round(3))
      [[-0.11 -0.  ]
       [-0.   -0.07]] [-0.01 -0.01]

    References:
      Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
      Liu et al., Muon is scalable for LLM training, 2025 (`consistent_rms`, decay).
    """
    check_decay("beta", beta)
    check_decay("adam_b1", adam_b1)
    check_decay("adam_b2", adam_b2)
    check_nonnegative("adam_eps", adam_eps)
    check_nonnegative("adam_eps_root", adam_eps_root)
    check_nonnegative("adam_weight_decay", adam_weight_decay)

    matrices, others = _group(mask, True), _group(mask, False)
    adam = scale_by_adam(
        adam_b1,
        adam_b2,
        eps=adam_eps,
        eps_root=adam_eps_root,
        mu_dtype=mu_dtype,
        mask=others,
        state_dtype=state_dtype,
    )
    adam_names = {name: f"adam_{name}" for name in ("b1", "b2", "eps", "eps_root")}
    adam_decay = add_decayed_weights(
        adam_weight_decay, mask=_group(mask, False, weight_decay_mask)
    )
    links = [
        renamed(
            trace(beta, nesterov, mu_dtype, mask=matrices, state_dtype=state_dtype),
            momentum="beta",
        ),
        scale_by_newton_schulz(
            ns_steps=ns_steps,
            ns_coeffs=ns_coeffs,
            eps=eps,
            preconditioning=preconditioning,
            compute_dtype=compute_dtype,
            mask=matrices,
        ),
        _scale_by_shape(consistent_rms, mask=matrices),
        add_decayed_weights(weight_decay, mask=_group(mask, True, weight_decay_mask)),
        renamed(adam, **adam_names),
        renamed(adam_decay, weight_decay="adam_weight_decay"),
    ]
    if adam_learning_rate is None:
        return chain_in_float32(*links, scale_by_learning_rate(learning_rate))
    check_nonnegative("adam_learning_rate", adam_learning_rate)
    adam_rate = scale_by_learning_rate(adam_learning_rate, mask=others)
    return chain_in_float32(
        *links,
        scale_by_learning_rate(learning_rate, mask=matrices),
        renamed(adam_rate, learning_rate="adam_learning_rate"),
    )


def _group(
    mask: Mask | None, of_matrices: bool, within: Mask | None = None
) -> Callable[[PyTree], PyTree]:
    """The matrices of `mask`, or all other leaves; of those, what is in `within`."""

    def group(tree: PyTree) -> PyTree:
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_none)
        taken = resolve_mask(mask, tree), resolve_mask(within, tree)
        flags = [
            (is_long(x) and is_masked) == of_matrices and is_within
            for x, is_masked, is_within in zip(leaves, *taken, strict=True)
        ]
        return jax.tree.unflatten(treedef, flags)

    def is_long(x: Any) -> bool:
        return getattr(x, "ndim", 0) > 1

    return group


def _scale_by_shape(
    consistent_rms: ScalarOrSchedule | None, *, mask: Mask
) -> optax.GradientTransformationExtraArgs:
    hyperparams = {}
    if consistent_rms is not None:
        check_positive("consistent_rms", consistent_rms)
        hyperparams["consistent_rms"] = consistent_rms

    def scale(leaf: Any, g: Array, consistent_rms: Any) -> tuple[Array]:
        outputs = g.shape[-1]
        inputs = math.prod(g.shape[:-1])
        if consistent_rms is None:
            return (math.sqrt(max(1, outputs / max(inputs, 1))) * g,)
        return (consistent_rms * math.sqrt(max(outputs, inputs)) * g,)

    def rule(
        g: Array, w: Array | None, *, layer: Any, consistent_rms: Any = None
    ) -> tuple[Array]:
        return layer.map(lambda leaf, g: scale(leaf, g, consistent_rms), g)

    return leafwise(
        rule, ScaleByShapeState, hyperparams=hyperparams, mask=mask, layerwise=True
    )

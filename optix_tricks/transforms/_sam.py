"""SAM and ASAM: the gradient at the worst point nearby."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import (
    Mask,
    PyTree,
    global_norm,
    is_none,
    only_inexact,
    safe_divide,
    widen,
)
from optix_tricks.transforms._in_float32 import in_float32, round_like


class SamState(NamedTuple):
    """State of `sam`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # rho; eta if adaptive
    sharpness: Float[Array, ""]  # rho |T g|, in units of the loss
    inner_state: Any = None  # of the wrapped transformation

    def report(self) -> dict[str, PyTree]:
        """What the last step saw."""
        return {"sharpness": self.sharpness}


def sam(
    optimizer: optax.GradientTransformation,
    rho: ScalarOrSchedule = 0.05,
    *,
    adaptive: bool = False,
    eta: ScalarOrSchedule = 0.01,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Give the inner transformation the gradient at a perturbed point.

    .. math::
        \hat\epsilon = \rho \, \frac{T_w^2 \, g}{|T_w \, g|}, \qquad
        u = \mathrm{inner}(\nabla L(w + \hat\epsilon))

    with the gradient :math:`g` at :math:`w` and :math:`T_w = 1`; `adaptive` gives ASAM,
    :math:`T_w = \mathrm{diag}(|w| + \eta)`, which does not change when a layer is scaled
    up and the next one down. To first order :math:`\hat\epsilon` is the step of length
    :math:`\rho` that raises the loss most. A gradient of zero perturbs nothing.

    The update needs one extra argument, `grad_fn(params) -> gradients`: the gradient on
    the same batch, with the same augmentation, averaged over devices, in which whatever
    else the network returns (batch statistics) is dropped, so that those are updated
    once, at :math:`w`. `training.make_train_step` passes it.

    Make it the outermost wrapper; decay, clipping and momentum belong into `inner`, which
    sees the perturbed gradient alone. Loss scaling goes around it: `dynamic_loss_scale`
    divides what `grad_fn` returns as well. In `optax.MultiSteps` the second gradient is
    that of the last micro-batch only. `optax.contrib.sam` in its opaque mode is the same
    step with an optimiser for the perturbation and `grad_fn(params, i)`; in its
    transparent mode every other update is the perturbation.

    Helps generalisation where there is time to spend: image classifiers trained to zero
    training error, small data sets, noisy labels. Hurts by its cost where the same time
    would buy twice the steps.

    The perturbation is that of the whole batch's mean gradient; the paper takes one per
    accelerator. Parameters in 16 bits are perturbed by at least half a unit in the last
    place or not at all, which in bfloat16 loses most of a small :math:`\hat\epsilon`:
    keep them in float32.

    Args:
      optimizer: any transformation.
      rho: :math:`\rho` >= 0, the length of the perturbation; 0 gives `optimizer`. The
        papers take 0.05 for SAM and ten times that for ASAM.
      adaptive: ASAM.
      eta: :math:`\eta` >= 0, used by ASAM alone.
      mask: which leaves are perturbed, and count in the norm. `no_bias_or_norm` perturbs
        kernels only.

    Returns:
      A transformation; no slots; needs the parameters; one more forward and backward pass
      a step, and the perturbed parameters for as long as that takes. Reports `sharpness`,
      :math:`\rho |T_w g|`: the rise of the loss that the perturbation causes, to first
      order.

    Raises:
      ValueError: if an argument is out of range, or the parameters or `grad_fn` are not
        given.

    Examples:
      >>> import optix_tricks as ot
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> tx = sam(ot.sgd(1.0), rho=0.5)
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, state = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
      >>> print(updates)  # minus the gradient at (3.3, 4.4)
      [-6.6 -8.8]

    References:
      Foret, Kleiner, Mobahi and Neyshabur, Sharpness-aware minimization for efficiently
      improving generalization, 2021, algorithm 1.
      Kwon, Kim, Park and Choi, ASAM: adaptive sharpness-aware minimization for
      scale-invariant learning of deep neural networks, 2021, algorithm 1.
    """
    check_nonnegative("rho", rho)
    check_nonnegative("eta", eta)
    inner = in_float32(optimizer)

    def scaled(g: Array, w: Array, eta: Array | None) -> Array:
        return g if eta is None else g * (jnp.abs(w) + eta)

    # A rule that moves weights, given gradients: the two stand in each other's place.
    def prepare(h: dict, count: Array, ws: list, gs: list) -> dict[str, Array]:
        wide = [
            (widen(jnp.asarray(g)), widen(w))
            for g, w in zip(gs, ws, strict=True)
            if g is not None
        ]
        norm = global_norm([scaled(g, w, h.get("eta")) for g, w in wide])
        return {
            "sharpness": h["rho"] * norm,
            "length": safe_divide(h["rho"], norm),
        }

    def rule(
        w: Array, g: Array | None, *, rho: Array, length: Array, eta: Array | None = None
    ) -> tuple[Array]:
        if g is None:
            return (w,)
        return (w + length * scaled(scaled(g, w, eta), w, eta),)

    ascent = leafwise(
        rule,
        SamState,
        hyperparams={"rho": rho} | ({"eta": eta} if adaptive else {}),
        prepare=prepare,
        reports=("sharpness",),
        mask=only_inexact(mask),
    )

    def init(params: PyTree) -> SamState:
        return ascent.init(params)._replace(inner_state=inner.init(params))

    def update(
        updates: PyTree,
        state: SamState,
        params: PyTree | None = None,
        *,
        grad_fn: Callable[[PyTree], PyTree] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, SamState]:
        if params is None or grad_fn is None:
            raise ValueError(
                "sam needs params and grad_fn: call update(updates, state, params, "
                "grad_fn=lambda params: gradients)."
            )
        perturbed, new_state = ascent.update(params, state, updates)
        there = jax.tree.map(
            lambda g, there: None if g is None else there,
            updates,
            grad_fn(perturbed),
            is_leaf=is_none,
        )
        wide, inner_state = inner.update(
            there, state.inner_state, params, grad_fn=grad_fn, **extra_args
        )
        return round_like(wide, updates), new_state._replace(inner_state=inner_state)

    return optax.GradientTransformationExtraArgs(init, update)

"""RMSProp: gradients divided by their running root mean square, plain or centered."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative
from optix_tricks._hyperparams import Scalar, ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask, PyTree, safe_sqrt
from optix_tricks.transforms._bias_correction import bias_correction
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._momentum import trace


class ScaleByRmsState(NamedTuple):
    """State of `scale_by_rms`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # decay, eps
    nu: PyTree  # like the parameters: average of squared gradients


class ScaleByStddevState(NamedTuple):
    """State of `scale_by_stddev`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # decay, eps
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients


def scale_by_rms(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: Scalar | None = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide by the root of the running mean of squared gradients.

    .. math::
        \nu_t = \beta \, \nu_{t-1} + (1 - \beta) \, g_t^2, \qquad
        u_t = g_t / \sqrt{\nu_t + \epsilon}
        \;\text{ or }\; g_t / (\sqrt{\nu_t} + \epsilon)

    Helps when gradients of different parameters differ by orders of magnitude. Without
    bias correction the first step is :math:`1/\sqrt{1-\beta}` times too long. The
    correction mends that, and so does `initial_scale=None`: :math:`\nu_1 = g_1^2`, and
    the first gradient keeps the weight :math:`\beta^{t-1}`.

    Args:
      decay: :math:`\beta` in [0, 1).
      eps: :math:`\epsilon` >= 0.
      initial_scale: :math:`\nu_0` >= 0; None to begin with the first squared gradient.
      eps_in_sqrt: Optax's and TF1's form; False is PyTorch's.
      bias_correction: divide :math:`\nu_t` by :math:`1 - \beta^t`.
      mask: which leaves are scaled; the others pass unchanged and have no slot.
      state_dtype: dtype of the slot, float32 by default.

    Returns:
      A transformation; one slot. It equals `optax.scale_by_rms`.

    Raises:
      ValueError: if `decay`, `eps` or `initial_scale` is out of range, or a bias is to
        be corrected where None leaves none.

    Examples:
      >>> tx = scale_by_rms(0.75)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 2. -2.]

    References:
      Hinton, Neural networks for machine learning, lecture 6e, 2012.
    """
    _check(decay, eps, 0.0 if initial_scale is None else initial_scale)
    if initial_scale is None and bias_correction:
        raise ValueError(
            "bias_correction must be False with initial_scale=None, got True: an average "
            "that begins with the first gradient has no bias towards zero."
        )
    prepare = _prepared
    if initial_scale is None:
        initial_scale, prepare = 0.0, _begin_with_the_first

    def rule(
        g: Array,
        w: Array | None,
        nu: Array,
        *,
        decay: Array,
        eps: Array,
        new: Array,
        correct: Array,
    ) -> tuple[Array, Array]:
        nu = decay * nu + new * jnp.square(g)
        square = nu / correct if bias_correction else nu
        return g / _root(square, eps, eps_in_sqrt), nu

    return leafwise(
        rule,
        ScaleByRmsState,
        hyperparams={"decay": decay, "eps": eps},
        slots={"nu": initial_scale},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )


def scale_by_stddev(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide by the running standard deviation of gradients: centered RMSProp.

    .. math::
        \mu_t = \beta \mu_{t-1} + (1 - \beta) g_t, \quad
        \nu_t = \beta \nu_{t-1} + (1 - \beta) g_t^2, \quad
        u_t = g_t / \sqrt{\max(\nu_t - \mu_t^2, 0) + \epsilon}

    The variance is clamped at zero: rounding can make the difference negative, and with
    :math:`\epsilon` outside the root that is NaN. Helps where gradients agree: steps are
    longer there than by `scale_by_rms`. Hurts where they are constant: the variance goes
    to zero and steps grow to :math:`g / \sqrt\epsilon`.

    Args:
      decay: :math:`\beta` in [0, 1).
      eps: :math:`\epsilon` >= 0.
      initial_scale: :math:`\nu_0`.
      eps_in_sqrt: Optax's and TF1's form; False is PyTorch's.
      bias_correction: divide both averages by :math:`1 - \beta^t`.
      mask: which leaves are scaled; the others pass unchanged and have no slots.
      state_dtype: dtype of the slots, float32 by default.

    Returns:
      A transformation; two slots. It equals `optax.scale_by_stddev` but for the clamp.

    Raises:
      ValueError: if `decay`, `eps` or `initial_scale` is out of range.

    Examples:
      >>> tx = scale_by_stddev(0.5)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 2. -2.]

    References:
      Graves, Generating sequences with recurrent neural networks, 2013, eq. 38-41.
    """
    _check(decay, eps, initial_scale)

    def rule(
        g: Array,
        w: Array | None,
        mu: Array,
        nu: Array,
        *,
        decay: Array,
        eps: Array,
        new: Array,
        correct: Array,
    ) -> tuple[Array, Array, Array]:
        mu = decay * mu + new * g
        nu = decay * nu + new * jnp.square(g)
        mean, square = (mu / correct, nu / correct) if bias_correction else (mu, nu)
        variance = jnp.maximum(square - jnp.square(mean), 0)
        return g / _root(variance, eps, eps_in_sqrt), mu, nu

    return leafwise(
        rule,
        ScaleByStddevState,
        hyperparams={"decay": decay, "eps": eps},
        slots={"mu": 0.0, "nu": initial_scale},
        prepare=_prepared,
        mask=mask,
        state_dtype=state_dtype,
    )


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: Scalar | None = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""RMSProp: plain, centered, and with momentum.

    .. math:: v_t = \rho \, v_{t-1} - \eta_t \, u_t, \qquad w \leftarrow w + v_t

    with :math:`u_t` of `scale_by_rms` or `scale_by_stddev`. The rate multiplies before
    the momentum, as in Optax and TF1: a rate that was lowered goes on acting through
    the momentum. PyTorch multiplies after it; the two agree while the rate is constant.

    Helps where the scale of gradients changes as training goes: recurrent networks,
    reinforcement learning. Hurts at the start without bias correction: see
    `scale_by_rms`.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      decay: see `scale_by_rms`.
      eps: see `scale_by_rms`.
      initial_scale: see `scale_by_rms`.
      eps_in_sqrt: see `scale_by_rms`.
      centered: divide by the standard deviation instead of the root mean square.
      momentum: :math:`\rho`; None keeps no momentum slot.
      nesterov: see `trace`.
      bias_correction: see `scale_by_rms`.
      mask: which leaves are scaled; the others take gradient steps.
      state_dtype: dtype of the slots, float32 by default.

    Returns:
      An optimiser; one to three slots.

    Raises:
      ValueError: if an argument is out of range, or a centered variance is to begin
        with one gradient.

    Examples:
      >>> tx = rmsprop(1.0, decay=0.99, eps_in_sqrt=False)
      >>> updates, _ = tx.update(jnp.array([1.0, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-10.  10.]

    References:
      Hinton, Neural networks for machine learning, lecture 6e, 2012.
    """
    if centered and initial_scale is None:
        raise ValueError(
            "initial_scale must be a number with centered=True, got None: a single "
            "gradient has no variance to begin with."
        )
    scale_by: Callable[..., Any] = scale_by_stddev if centered else scale_by_rms
    scale = scale_by(
        decay,
        eps=eps,
        initial_scale=initial_scale,
        eps_in_sqrt=eps_in_sqrt,
        bias_correction=bias_correction,
        mask=mask,
        state_dtype=state_dtype,
    )
    links = [scale, scale_by_learning_rate(learning_rate)]
    if momentum is not None:
        check_decay("momentum", momentum)
        links.append(trace(momentum, nesterov=nesterov, state_dtype=state_dtype))
    return chain_in_float32(*links)


def _check(decay: Any, eps: Any, initial_scale: Any) -> None:
    check_decay("decay", decay)
    check_nonnegative("eps", eps)
    check_nonnegative("initial_scale", initial_scale)


def _prepared(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
    return {"new": 1 - h["decay"], "correct": bias_correction(h["decay"], count)}


def _begin_with_the_first(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
    decay = jnp.where(count == 1, 0.0, h["decay"])
    return {
        "decay": decay,
        "new": 1 - decay,
        "correct": jnp.ones_like(decay),
    }


def _root(square: Array, eps: Array, eps_in_sqrt: bool) -> Array:
    return safe_sqrt(square + eps) if eps_in_sqrt else safe_sqrt(square) + eps

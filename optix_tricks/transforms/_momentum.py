"""Momentum: heavy ball, dampening, Nesterov, and the moving-average form."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_fraction
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._storage import check_state_dtype
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._bias_correction import bias_correction
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class TraceState(NamedTuple):
    """State of `trace`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # momentum (the decay), dampening where there is one
    trace: PyTree  # like the parameters, float32 unless state_dtype says otherwise


def trace(
    decay: ScalarOrSchedule,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    dampening: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Accumulate gradients with momentum.

    .. math::
        v_t &= \rho \, v_{t-1} + (1 - \tau) \, g_t, \quad v_1 = g_1 \\
        u_t &= v_t \quad\text{or, with Nesterov,}\quad g_t + \rho \, v_t

    Helps wherever curvature differs between directions: the effective rate grows to
    :math:`\eta / (1 - \rho)` along directions where gradients agree. Hurts when the rate
    is not lowered with it.

    Args:
      decay: momentum :math:`\rho` in [0, 1]; 1 adds up all gradients.
      nesterov: look ahead, in the form of Sutskever et al. used by Optax and PyTorch.
      accumulator_dtype: Optax's name for `state_dtype`, which it goes before.
      dampening: :math:`\tau` in [0, 1]; as in PyTorch the first gradient is taken whole.
        None is 0 for good and saves a multiplication.
      mask: which leaves have momentum; the others pass unchanged and have no slot.
      state_dtype: dtype of the slot, float32 by default.

    Returns:
      A transformation; one slot, one multiply-add per element. The identity at
      `decay=0`; `optax.trace` at `dampening=0`.

    Raises:
      ValueError: if `decay` or `dampening` is out of range, or Nesterov is dampened.

    Examples:
      >>> tx = trace(0.9)
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(3):
      ...     updates, state = tx.update(jnp.ones(1), state)
      ...     print(updates)
      [1.]
      [1.9]
      [2.71]

    References:
      Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
      Sutskever et al., On the importance of initialization and momentum in deep
      learning, 2013.
    """
    check_fraction("decay", decay)
    check_state_dtype(accumulator_dtype, "accumulator_dtype")
    if dampening is not None:
        check_fraction("dampening", dampening)
    if nesterov and isinstance(dampening, (int, float)) and dampening != 0:
        raise ValueError(
            f"dampening must be 0 with nesterov=True, got {dampening!r}: Nesterov's step "
            "is defined without it."
        )

    dampened = {} if dampening is None else {"dampening": dampening}

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"weight": jnp.where(count == 1, 1.0, 1.0 - h["dampening"])}

    def rule(
        g: Array,
        w: Array | None,
        v: Array,
        *,
        momentum: Array,
        weight: Array | None = None,
        dampening: Array | None = None,
    ) -> tuple[Array, Array]:
        v = momentum * v + (g if weight is None else weight * g)
        return (g + momentum * v if nesterov else v), v

    return leafwise(
        rule,
        TraceState,
        hyperparams={"momentum": decay} | dampened,
        slots={"trace": 0.0},
        slot_dtypes={"trace": accumulator_dtype},
        prepare=prepare if dampened else None,
        mask=mask,
        state_dtype=state_dtype,
    )


class EmaState(NamedTuple):
    """State of `ema`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # decay
    ema: PyTree  # like the parameters, float32 unless state_dtype says otherwise


def ema(
    decay: ScalarOrSchedule,
    debias: bool = True,
    accumulator_dtype: Any = None,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace gradients by their exponential moving average.

    .. math::
        m_t = \beta \, m_{t-1} + (1 - \beta) \, g_t, \qquad
        u_t = m_t \;\text{ or debiased }\; m_t / (1 - \beta^t)

    Momentum in the form of Adam's first moment: with a constant decay, `trace` takes
    steps :math:`1/(1-\beta)` times as long.

    Helps as momentum does: noise averages out and swings across a valley cancel. Hurts
    where the gradient changes faster than in :math:`1/(1-\beta)` steps: the average lags.

    Args:
      decay: :math:`\beta` in [0, 1).
      debias: divide by :math:`1 - \beta^t`, as Adam does.
      accumulator_dtype: Optax's name for `state_dtype`, which it goes before.
      mask: which leaves are averaged; the others pass unchanged and have no slot.
      state_dtype: dtype of the slot, float32 by default.

    Returns:
      A transformation; one slot. The identity at `decay=0`.

    Raises:
      ValueError: if `decay` is out of range.

    Examples:
      >>> tx = ema(0.5)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 4.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      ...     print(updates)
      [1.]
      [3.]

    References:
      Kingma and Ba, Adam: a method for stochastic optimization, 2015, section 3.
    """
    check_decay("decay", decay)
    check_state_dtype(accumulator_dtype, "accumulator_dtype")

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"new": 1 - h["decay"], "correct": bias_correction(h["decay"], count)}

    def rule(
        g: Array, w: Array | None, m: Array, *, decay: Array, new: Array, correct: Array
    ) -> tuple[Array, Array]:
        m = decay * m + new * g
        return (m / correct if debias else m), m

    return leafwise(
        rule,
        EmaState,
        hyperparams={"decay": decay},
        slots={"ema": 0.0},
        slot_dtypes={"ema": accumulator_dtype},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )


def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    dampening: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Stochastic gradient descent, with momentum if asked for.

    .. math:: w \leftarrow w - \eta \, u_t

    with :math:`u_t = g_t`, or :math:`u_t` of `trace`.

    The rate multiplies after the momentum, as in PyTorch and Optax. For coupled weight
    decay (L2) put `add_decayed_weights` before it in a chain.

    Helps on convolutional networks with batch normalisation, where with momentum it
    usually ends better than Adam. Hurts where gradient scales differ between parameters
    (attention, embeddings): one rate must suit all.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      momentum: decay of `trace`; None keeps no slot at all.
      nesterov: see `trace`.
      accumulator_dtype: Optax's name for `state_dtype`, which it goes before.
      dampening: see `trace`.
      mask: which leaves have momentum; the others take plain gradient steps.
      state_dtype: dtype of the momentum slot, float32 by default.

    Returns:
      An optimiser; no slot, or one.

    Examples:
      >>> tx = sgd(0.1, momentum=0.9)
      >>> w, state = jnp.ones(1), tx.init(jnp.ones(1))
      >>> for _ in range(2):
      ...     updates, state = tx.update(2 * w, state)  # the gradient of w^2
      ...     w = optax.apply_updates(w, updates)
      ...     print(w)
      [0.8]
      [0.46]

    References:
      Robbins and Monro, A stochastic approximation method, 1951.
    """
    links = [scale_by_learning_rate(learning_rate)]
    if momentum is not None:
        check_decay("momentum", momentum)
        accumulate = trace(
            momentum,
            nesterov=nesterov,
            accumulator_dtype=accumulator_dtype,
            dampening=dampening,
            mask=mask,
            state_dtype=state_dtype,
        )
        links.insert(0, accumulate)
    return chain_in_float32(*links)

"""AdaBound and AMSBound: Adam whose rates are clipped into a band around SGD's."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import (
    check_number,
    check_positive,
)
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree, safe_sqrt
from optix_tricks.transforms._bias_correction import bias_correction
from optix_tricks.transforms._decoupled import descend
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._moments import by_moments


class ScaleByAdaboundState(NamedTuple):
    """State of `scale_by_adabound`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # learning_rate, final_lr, b1, b2, gamma, eps
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients
    nu_max: PyTree = None  # like the parameters: the largest nu so far; AMSBound's alone


def scale_by_adabound(
    learning_rate: ScalarOrSchedule = 1e-3,
    final_lr: ScalarOrSchedule = 0.1,
    *,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    gamma: ScalarOrSchedule = 1e-3,
    eps: ScalarOrSchedule = 1e-8,
    amsbound: bool = False,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale gradients as Adam does, within bounds on each element's rate.

    .. math::
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        a_t &= \frac{\alpha \sqrt{1 - \beta_2^t}}
        {(1 - \beta_1^t) (\sqrt{v_t} + \epsilon)} \\
        u_t &= m_t \, \mathrm{clip}\left(a_t,\;
        \alpha^* \frac{\gamma t}{\gamma t + 1},\;
        \alpha^* \frac{\gamma t + 1}{\gamma t}\right)

    The bounds are written :math:`\alpha^* (1 - 1/(\gamma t + 1))` and :math:`\alpha^*
    (1 + 1/(\gamma t))` in the paper. They go from zero and infinity, which is Adam, to
    :math:`\alpha^*`, which is momentum SGD with a rate of :math:`\alpha^*` in the form
    of `ema`. The bias corrections are those of the authors' code.

    The update contains the learning rate, not yet the minus sign.

    Helps against extreme rates of single elements, late in a run. Hurts where the scales
    of gradients differ between parameters to the end: one rate must then suit all.

    Args:
      learning_rate: :math:`\alpha`, Adam's rate at the start. In the end the bounds
        alone decide: a schedule here fades away, and a rate of zero does not stop.
      final_lr: :math:`\alpha^*` > 0, the rate of SGD at the end.
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1).
      gamma: :math:`\gamma` >= 0, how fast the band closes: half of :math:`\alpha^*` is
        the lower bound after :math:`1/\gamma` steps. At 0 there is none, and this is
        Adam.
      eps: :math:`\epsilon` >= 0, beside the uncorrected root.
      amsbound: divide by the largest :math:`v` so far, as `scale_by_amsgrad` does.
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of the slots, float32 by default.

    Returns:
      A transformation; two slots, three with `amsbound`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = scale_by_adabound(0.001, final_lr=0.1, gamma=1.0)
      >>> updates, _ = tx.update(jnp.array([1.0, -0.01]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))  # the average is 0.1 g, the rates 0.05 and 0.2
      [ 0.005  -0.0002]

    References:
      Luo, Xiong, Liu and Sun, Adaptive gradient methods with dynamic bound of learning
      rate, 2019, algorithms 2 and 3.
    """
    check_number("final_lr", final_lr)
    check_positive("final_lr", final_lr)

    def prepare(h: dict, count: Array) -> dict[str, Array]:
        correct1 = bias_correction(h["b1"], count)
        correct2 = bias_correction(h["b2"], count)
        closed = h["gamma"] * count.astype(h["gamma"].dtype)
        return {
            "rate": h["learning_rate"] * jnp.sqrt(correct2) / correct1,
            "lower": h["final_lr"] * (closed / (closed + 1)),
            "upper": h["final_lr"] * ((closed + 1) / closed),
        }

    def direction(g: Array, m: Array, v: Array, *given: Any) -> tuple[Array, ...]:
        *v_max, s = given
        v_max = [jnp.maximum(largest, v) for largest in v_max]
        below = safe_sqrt(v_max[0] if amsbound else v) + s.eps
        return m * jnp.clip(s.rate / below, s.lower, s.upper), *v_max

    return by_moments(
        direction,
        ScaleByAdaboundState,
        hyperparams={
            "learning_rate": learning_rate,
            "final_lr": final_lr,
            "b1": b1,
            "b2": b2,
            "gamma": gamma,
            "eps": eps,
        },
        more_slots=("nu_max",) if amsbound else (),
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )


def adabound(
    learning_rate: ScalarOrSchedule = 1e-3,
    final_lr: ScalarOrSchedule = 0.1,
    *,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    gamma: ScalarOrSchedule = 1e-3,
    eps: ScalarOrSchedule = 1e-8,
    amsbound: bool = False,
    schedule: ScalarOrSchedule = 1.0,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaBound: :math:`w \leftarrow w - \eta_t u_t` with `scale_by_adabound`'s u.

    Helps where Adam starts faster and SGD ends better. Hurts where `final_lr` is not
    tuned: it wants the care that SGD's rate wants.

    A falling rate belongs into `schedule`, :math:`\eta_t`: it multiplies what was
    clipped, so that rate and bounds fall together, as they do in the authors' code
    (`final_lr * lr / base_lr`). Through `learning_rate` it would not reach the bounds.

    Args:
      learning_rate: see `scale_by_adabound`.
      final_lr: see `scale_by_adabound`.
      b1: see `scale_by_adabound`.
      b2: see `scale_by_adabound`.
      gamma: see `scale_by_adabound`.
      eps: see `scale_by_adabound`.
      amsbound: see `scale_by_adabound`.
      schedule: :math:`\eta_t` >= 0, a schedule, a number or an array.
      state_dtype: dtype of the slots, float32 by default.

    Returns:
      An optimiser; two slots, three with `amsbound`.

    Examples:
      >>> tx = adabound(0.001, gamma=1.0, schedule=lambda count: 0.5)
      >>> updates, _ = tx.update(jnp.array([1.0, -0.01]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-0.0025  0.0001]

    References:
      Luo, Xiong, Liu and Sun, Adaptive gradient methods with dynamic bound of learning
      rate, 2019.
    """
    scale = scale_by_adabound(
        learning_rate,
        final_lr,
        b1=b1,
        b2=b2,
        gamma=gamma,
        eps=eps,
        amsbound=amsbound,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, descend(schedule))

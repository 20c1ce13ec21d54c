"""Adadelta: steps in the parameters' own units, from the sizes of past steps."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask, PyTree, safe_sqrt
from optix_tricks.transforms._decay import add_decayed_weights
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class ScaleByAdadeltaState(NamedTuple):
    """State of `scale_by_adadelta`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # rho, eps
    e_g: PyTree  # like the parameters: average of squared gradients
    e_x: PyTree  # like the parameters: average of squared updates


def scale_by_adadelta(
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply by the root mean square of updates over that of gradients.

    .. math::
        G_t &= \rho \, G_{t-1} + (1 - \rho) \, g_t^2, \qquad
        u_t = \sqrt{\frac{X_{t-1} + \epsilon}{G_t + \epsilon}} \; g_t \\
        X_t &= \rho \, X_{t-1} + (1 - \rho) \, u_t^2

    The average of updates starts at zero: the first steps are about
    :math:`\sqrt{\epsilon / (1 - \rho)}` long, 0.003 at the defaults, and grow from
    there. :math:`\epsilon` sets how fast, and is no mere guard against a division by
    zero.

    Helps where no rate is known: the step has the units of the parameters. Hurts in short
    runs, by its slow start.

    Args:
      rho: :math:`\rho` in [0, 1).
      eps: :math:`\epsilon` >= 0; at 0 nothing moves, and a gradient of zero is NaN.
      mask: which leaves are scaled; the others pass unchanged and have no slots.
      state_dtype: dtype of both slots, float32 by default.

    Returns:
      A transformation; two slots. It equals `optax.scale_by_adadelta`.

    Raises:
      ValueError: if `rho` or `eps` is out of range.

    Examples:
      >>> tx = scale_by_adadelta(0.75, 1e-4)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [ 0.02 -0.02]

    References:
      Zeiler, ADADELTA: an adaptive learning rate method, 2012, algorithm 1.
    """
    check_decay("rho", rho)
    check_nonnegative("eps", eps)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"new": 1 - h["rho"]}

    def rule(
        g: Array,
        w: Array | None,
        e_g: Array,
        e_x: Array,
        *,
        rho: Array,
        eps: Array,
        new: Array,
    ) -> tuple[Array, Array, Array]:
        e_g = rho * e_g + new * jnp.square(g)
        u = safe_sqrt(e_x + eps) / safe_sqrt(e_g + eps) * g
        e_x = rho * e_x + new * jnp.square(u)
        return u, e_g, e_x

    return leafwise(
        rule,
        ScaleByAdadeltaState,
        hyperparams={"rho": rho, "eps": eps},
        slots={"e_g": 0.0, "e_x": 0.0},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )


def adadelta(
    learning_rate: ScalarOrSchedule = 1.0,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adadelta: :math:`w \leftarrow w - \eta_t u_t`, :math:`u_t` of `scale_by_adadelta`.

    Helps where no rate is known: the step has the units of the parameters. Hurts where
    one is: the start is slow, and a tuned Adam or momentum SGD ends better.

    The decay is coupled, as in Optax and PyTorch: :math:`\lambda w` is added to the
    gradient and rescaled with it.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule; the paper has none,
        which is 1, the default. Optax's default, None, goes uphill.
      rho: see `scale_by_adadelta`.
      eps: see `scale_by_adadelta`.
      weight_decay: :math:`\lambda` >= 0, coupled; with the number 0 the parameters are
        not needed.
      weight_decay_mask: which leaves decay, e.g. `no_bias_or_norm`; all by default.
      mask: which leaves are scaled; the others take gradient steps.
      state_dtype: dtype of both slots, float32 by default.

    Returns:
      An optimiser; two slots.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = adadelta()
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(5))
      [-0.00316  0.00316]

    References:
      Zeiler, ADADELTA: an adaptive learning rate method, 2012.
    """
    links = [
        scale_by_adadelta(rho, eps, mask=mask, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    ]
    if not (isinstance(weight_decay, (int, float)) and weight_decay == 0):
        links.insert(0, add_decayed_weights(weight_decay, mask=weight_decay_mask))
    return chain_in_float32(*links)

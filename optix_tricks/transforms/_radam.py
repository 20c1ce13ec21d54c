"""RAdam: Adam that starts as momentum and comes in as its second moment gets known."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree, safe_sqrt
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._moments import by_moments, first, root


class ScaleByRadamState(NamedTuple):
    """State of `scale_by_radam`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # b1, b2, eps, eps_root, threshold
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients
    rectification: Any  # float [], r of the last step, 0 where momentum went alone

    def report(self) -> dict[str, Any]:
        """What the last step did."""
        return {"rectification": self.rectification}


def scale_by_radam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale gradients as Adam does, as far as the second moment can be trusted.

    .. math::
        \rho_\infty &= \frac{2}{1 - \beta_2} - 1, \quad
        \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \quad
        r_t = \sqrt{\frac{(\rho_t - 4) (\rho_t - 2) \rho_\infty}
        {(\rho_\infty - 4) (\rho_\infty - 2) \rho_t}} \\
        u_t &= r_t \, \hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)
        \;\text{ if } \rho_t \ge \text{threshold}, \text{ else } \hat m_t

    with the corrected moments of `scale_by_adam`. :math:`\rho_t` is the number of
    gradients in the second moment. At the defaults the first five steps are momentum
    with the bare gradient: as long as the gradient is, whatever its scale.

    Helps in place of a warm-up of the learning rate. Hurts where gradients are large and
    the rate suits Adam: these first steps are then too long.

    Args:
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1); below 2/3 nothing is ever rescaled.
      eps: :math:`\epsilon` >= 0, outside the root.
      eps_root: :math:`\bar\epsilon` >= 0, inside the root.
      threshold: how many gradients suffice; below 4, where r is not real, it acts as 4,
        the paper's.
      nesterov: Nadam's first moment.
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of both moments, float32 by default.

    Returns:
      A transformation; two slots and the reported `rectification`. It equals
      `optax.scale_by_radam`, with :math:`\rho_t` free of its cancellation.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> tx = scale_by_radam()
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(6):
      ...     updates, state = tx.update(jnp.full(1, 3.0), state)
      ...     print(f"{updates[0]:.3f} {state.rectification:.3f}")
      3.000 0.000
      3.000 0.000
      3.000 0.000
      3.000 0.000
      3.000 0.000
      0.026 0.026

    References:
      Liu et al., On the variance of the adaptive learning rate and beyond, 2020,
      algorithm 2.
    """

    def prepare(h: dict, count: Array) -> dict[str, Array]:
        now, full = averaged_steps(h["b2"], count), 2 / (1 - h["b2"]) - 1
        square = (now - 4) * (now - 2) * full / ((full - 4) * (full - 2) * now)
        known = (now >= h["threshold"]) & (now > 4)
        r = safe_sqrt(jnp.where(known, square, 0))
        return {"r": r, "rectification": r}

    def direction(g: Array, m: Array, v: Array, s: Any) -> tuple[Array]:
        m_hat = first(g, m, s, nesterov)
        return (jnp.where(s.r > 0, s.r * m_hat / root(v / s.correct2, s), m_hat),)

    return by_moments(
        direction,
        ScaleByRadamState,
        hyperparams={
            "b1": b1,
            "b2": b2,
            "eps": eps,
            "eps_root": eps_root,
            "threshold": threshold,
        },
        prepare=prepare,
        reports=("rectification",),
        mask=mask,
        state_dtype=state_dtype,
    )


def averaged_steps(decay: Array, count: Array) -> Array:
    r"""Return :math:`\rho_t`: the length of the plain average that an average is like.

    With :math:`x = -\log(\beta) / 2` the definition is :math:`\rho_t = \coth x - t
    (\coth tx - 1)`. While :math:`tx` is small, both terms are large and equal but for a
    remainder: coth is then :math:`1/x` and a series, and the :math:`1/x` cancel on paper.

    >>> print(f"{averaged_steps(jnp.float32(0.999), jnp.int32(5)):.3f}")
    4.996
    """
    t = count.astype(decay.dtype)
    x = -jnp.log1p(-(1 - decay)) / 2

    def langevin(z: Array) -> Array:  # coth z - 1/z for small z
        return z * (1 / 3 - z**2 * (1 / 45 - z**2 * (2 / 945 - z**2 / 4725)))

    early = t * (1 - langevin(t * x)) + langevin(x)
    late = 1 / jnp.tanh(x) - 2 * t / jnp.expm1(2 * t * x)
    return jnp.where(t * x < 0.1, early, late)


def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""RAdam: :math:`w \leftarrow w - \eta_t u_t` with :math:`u_t` of `scale_by_radam`.

    Helps in place of a warm-up of the learning rate. Hurts where gradients are large:
    the first steps are multiples of the gradient, not of its sign, and want a rate that
    suits SGD.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_radam`.
      b2: see `scale_by_radam`.
      eps: see `scale_by_radam`.
      eps_root: see `scale_by_radam`.
      threshold: see `scale_by_radam`.
      nesterov: see `scale_by_radam`.
      mask: which leaves are rescaled; the others take gradient steps.
      state_dtype: dtype of both moments, float32 by default.

    Returns:
      An optimiser; two slots.

    Examples:
      >>> tx = radam(0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1 10. ]

    References:
      Liu et al., On the variance of the adaptive learning rate and beyond, 2020.
    """
    scale = scale_by_radam(
        b1,
        b2,
        eps=eps,
        eps_root=eps_root,
        threshold=threshold,
        nesterov=nesterov,
        mask=mask,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))

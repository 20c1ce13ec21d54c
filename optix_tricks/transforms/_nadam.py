"""Nadam: Adam with Nesterov's momentum, in Optax's form and in PyTorch's."""

from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._hyperparams import Scalar, ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._adam import scale_by_adam
from optix_tricks.transforms._decoupled import decay_and_descend
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._moments import by_moments, root


class ScaleByNadamState(NamedTuple):
    """State of `scale_by_nadam`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # b1, b2, eps, eps_root, momentum_decay
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients
    gathered: Any  # float [], one minus the product of all momenta so far


def scale_by_nadam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    *,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    momentum_decay: ScalarOrSchedule = 4e-3,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale gradients as Nadam does with a momentum that warms up.

    .. math::
        \mu_t &= \beta_1 \, (1 - 0.96^{\,t \psi} / 2), \qquad
        P_t = \mu_1 \mu_2 \cdots \mu_t \\
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        u_t &= \left( \frac{\mu_{t+1} \, m_t}{1 - P_{t+1}}
        + \frac{(1 - \mu_t) \, g_t}{1 - P_t} \right)
        / \left(\sqrt{v_t / (1 - \beta_2^t) + \bar\epsilon} + \epsilon\right)

    The form of PyTorch: the first moment decays by :math:`\beta_1`, where Dozat's decays
    by :math:`\mu_t`. The momentum goes from :math:`\beta_1 / 2` to :math:`\beta_1`, half
    of the way in 4,245 steps at the default :math:`\psi`. For large :math:`\psi` it is
    :math:`\beta_1` from the start, and this is `scale_by_adam(nesterov=True)`.

    Helps where old gradients mislead early in a run: the smaller :math:`\mu_t`, the more
    the newest one counts. Hurts in noise for the same reason: less of it averages out.

    Args:
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1).
      eps: :math:`\epsilon` >= 0, outside the root.
      eps_root: :math:`\bar\epsilon` >= 0, inside the root.
      mu_dtype: dtype of the first moment alone; None for `state_dtype`.
      momentum_decay: :math:`\psi` >= 0.
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of both moments, float32 by default.

    Returns:
      A transformation; two slots.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = scale_by_nadam()
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [ 1.056 -1.056]

    References:
      Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """

    def direction(g: Array, m: Array, v: Array, s: Any) -> tuple[Array]:
        return ((s.of_moment * m + s.of_gradient * g) / root(v / s.correct2, s),)

    def continuing_from(gathered: Scalar) -> optax.GradientTransformationExtraArgs:
        """The transformation for a step before which 1 - P is `gathered`."""

        def prepare(h: dict, count: Array) -> dict[str, Array]:
            def momentum(t: Array) -> Array:
                return h["b1"] * (
                    1 - 0.96 ** (t.astype(h["b1"].dtype) * h["momentum_decay"]) / 2
                )

            now, after = momentum(count), momentum(count + 1)
            until_now = (1 - now) + now * gathered
            until_after = (1 - after) + after * until_now
            return {
                "of_moment": after / until_after,
                "of_gradient": (1 - now) / until_now,
                "gathered": until_now,
            }

        return by_moments(
            direction,
            ScaleByNadamState,
            hyperparams={
                "b1": b1,
                "b2": b2,
                "eps": eps,
                "eps_root": eps_root,
                "momentum_decay": momentum_decay,
            },
            prepare=prepare,
            reports=("gathered",),
            mask=mask,
            mu_dtype=mu_dtype,
            state_dtype=state_dtype,
        )

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        gathered = getattr(state, "gathered", 0.0)
        return continuing_from(gathered).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(continuing_from(0.0).init, update)


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    momentum_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Nadam: :math:`w \leftarrow w - \eta_t u_t` with Nesterov's momentum in Adam.

    By default :math:`u_t` is that of `scale_by_adam(nesterov=True)`, as in Optax; with a
    `momentum_decay` that of `scale_by_nadam`, as in PyTorch.

    Helps where Adam does, a little faster at the start: the first update counts the
    newest gradient nearly twice. Hurts where Adam's rate is at its limit.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_adam`.
      b2: see `scale_by_adam`.
      eps: see `scale_by_adam`.
      eps_root: see `scale_by_adam`.
      mu_dtype: see `scale_by_adam`.
      nesterov: False is `adam`.
      momentum_decay: :math:`\psi` of `scale_by_nadam`, 0.004 in PyTorch; None for a
        constant momentum.
      mask: which leaves are rescaled; the others take gradient steps.
      state_dtype: dtype of both moments, float32 by default.

    Returns:
      An optimiser; two slots.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = nadam(0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.147  0.147]

    References:
      Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """
    scale = _scale(
        momentum_decay,
        nesterov,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        mask=mask,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
    momentum_decay: ScalarOrSchedule | None = None,
    schedule: ScalarOrSchedule | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Nadam with decoupled weight decay, as `adamw` has it.

    .. math:: w \leftarrow w - \alpha_t (u_t + \lambda w)
        \quad\text{or, with a schedule,}\quad w - \eta_t (\alpha u_t + \lambda w)

    with :math:`u_t` of `nadam`.

    Helps against L2 in the gradient, which the second moment divides away where gradients
    are large. Hurts as `nadam` does, where Adam's rate is at its limit.

    Args:
      learning_rate: :math:`\alpha`, a number, an array or a schedule.
      b1: see `scale_by_adam`.
      b2: see `scale_by_adam`.
      eps: see `scale_by_adam`.
      eps_root: see `scale_by_adam`.
      mu_dtype: see `scale_by_adam`.
      weight_decay: :math:`\lambda` >= 0; 0 gives `nadam`.
      mask: which leaves decay, e.g. `no_bias_or_norm`; all by default.
      nesterov: False is `adamw`.
      momentum_decay: see `nadam`.
      schedule: see `adamw`.
      state_dtype: dtype of both moments, float32 by default.

    Returns:
      An optimiser; two slots. Its update needs the parameters.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = nadamw(0.1, weight_decay=0.5)
      >>> w = jnp.array([1.0, 2.0])
      >>> updates, _ = tx.update(jnp.ones(2), tx.init(w), w)
      >>> print([f"{u:.3f}" for u in updates])
      ['-0.197', '-0.247']

    References:
      Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """
    scale = _scale(
        momentum_decay,
        nesterov,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        state_dtype=state_dtype,
    )
    return decay_and_descend(
        scale, learning_rate, weight_decay=weight_decay, mask=mask, schedule=schedule
    )


def _scale(
    momentum_decay: ScalarOrSchedule | None, nesterov: bool, **moments: Any
) -> optax.GradientTransformationExtraArgs:
    if momentum_decay is None:
        return scale_by_adam(nesterov=nesterov, **moments)
    if not nesterov:
        raise ValueError(
            "momentum_decay must be None with nesterov=False, got "
            f"{momentum_decay!r}: it is the pace of Nesterov's momentum."
        )
    return scale_by_nadam(momentum_decay=momentum_decay, **moments)

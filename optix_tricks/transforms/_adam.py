"""Adam and AdamW: momentum divided by the running root mean square."""

from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import Mask, PyTree
from optix_tricks.transforms._decoupled import decay_and_descend
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate
from optix_tricks.transforms._moments import by_moments, first, root


class ScaleByAdamState(NamedTuple):
    """State of `scale_by_adam`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # b1, b2, eps, eps_root
    mu: PyTree  # like the parameters: average of gradients
    nu: PyTree  # like the parameters: average of squared gradients


def scale_by_adam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale gradients as Adam does.

    .. math::
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t), \quad \hat v_t = v_t / (1 - \beta_2^t) \\
        u_t &= \hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    With `nesterov`, :math:`\hat m_t = \beta_1 m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1)
    g_t / (1 - \beta_1^t)` (Dozat, 2016).

    Moments are kept in float32 whatever the gradients' dtype: in bfloat16
    :math:`\beta_2 = 0.999` rounds to 1 and the second moment would never decay.

    Helps where gradient scales differ between parameters, as each is divided by its own.
    Hurts where an element's gradients are noise alone, which is brought to the same
    scale.

    Args:
      b1: :math:`\beta_1` in [0, 1).
      b2: :math:`\beta_2` in [0, 1).
      eps: :math:`\epsilon` >= 0, outside the root.
      eps_root: :math:`\bar\epsilon` >= 0, inside the root; 1e-8 makes the update
        differentiable at zero gradients.
      mu_dtype: dtype of the first moment alone; None for `state_dtype`.
      nesterov: Nadam's first moment.
      mask: which leaves are rescaled; the others pass unchanged and have no slots.
      state_dtype: dtype of both moments; bfloat16 halves the state.

    Returns:
      A transformation; two slots. It equals `optax.scale_by_adam` in float32.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = scale_by_adam()
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [ 1. -1.]

    References:
      Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 1.
      Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """

    def direction(g: Array, m: Array, v: Array, s: Any) -> tuple[Array]:
        return (first(g, m, s, nesterov) / root(v / s.correct2, s),)

    return by_moments(
        direction,
        ScaleByAdamState,
        hyperparams={"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root},
        mask=mask,
        mu_dtype=mu_dtype,
        state_dtype=state_dtype,
    )


def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam: :math:`w \leftarrow w - \eta_t u_t` with :math:`u_t` of `scale_by_adam`.

    Helps where gradient scales differ between parameters (attention, embeddings), and
    needs little tuning. On convolutional networks with batch normalisation, momentum SGD
    usually ends better.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      b1: see `scale_by_adam`.
      b2: see `scale_by_adam`.
      eps: see `scale_by_adam`.
      eps_root: see `scale_by_adam`.
      mu_dtype: see `scale_by_adam`.
      nesterov: Nadam.
      mask: which leaves are rescaled; the others take gradient steps.
      state_dtype: dtype of both moments.

    Returns:
      An optimiser; two slots.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = adam(0.1)
      >>> updates, _ = tx.update(jnp.array([1.0, -100.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(3))
      [-0.1  0.1]

    References:
      Kingma and Ba, Adam: a method for stochastic optimization, 2015.
    """
    scale = scale_by_adam(
        b1,
        b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
        mask=mask,
        state_dtype=state_dtype,
    )
    return chain_in_float32(scale, scale_by_learning_rate(learning_rate))


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    schedule: ScalarOrSchedule | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam with decoupled weight decay.

    .. math:: w \leftarrow w - \alpha_t (u_t + \lambda w)
        \quad\text{or, with a schedule,}\quad w - \eta_t (\alpha u_t + \lambda w)

    with :math:`u_t` of `scale_by_adam`. In the first form, that of PyTorch and Optax,
    the decay is multiplied by the whole learning rate: whoever doubles the rate doubles
    the decay. In the second, the paper's, both are multiplied by the schedule alone and
    can be tuned apart. With :math:`\lambda = \alpha \lambda'` the second is the first
    with :math:`\lambda'` and the rate :math:`\alpha \eta_t`: a decay of 0.01 behind a
    rate of 0.001 is 1e-5 there.

    Helps against L2 in the gradient, which Adam divides away where gradients are large:
    noisy weights would decay least.

    Args:
      learning_rate: :math:`\alpha`, a number, an array or a schedule.
      b1: see `scale_by_adam`.
      b2: see `scale_by_adam`.
      eps: see `scale_by_adam`.
      eps_root: see `scale_by_adam`.
      mu_dtype: see `scale_by_adam`.
      weight_decay: :math:`\lambda` >= 0; 0 gives `adam`.
      mask: which leaves decay, e.g. `no_bias_or_norm`; all by default.
      nesterov: Nadam's first moment.
      schedule: :math:`\eta_t` of the paper's form, a schedule, a number or an array;
        None for the other.
      state_dtype: dtype of both moments.

    Returns:
      An optimiser; two slots. Its update needs the parameters.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = adamw(0.1, weight_decay=0.5)
      >>> w = jnp.array([1.0, 2.0])
      >>> updates, _ = tx.update(jnp.ones(2), tx.init(w), w)
      >>> print(updates.round(3))
      [-0.15 -0.2 ]
      >>> tx = adamw(0.1, weight_decay=0.5, schedule=lambda count: 1.0)
      >>> updates, _ = tx.update(jnp.ones(2), tx.init(w), w)
      >>> print(updates.round(3))
      [-0.6 -1.1]

    References:
      Loshchilov and Hutter, Decoupled weight decay regularization, 2019, algorithm 2.
    """
    scale = scale_by_adam(
        b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, state_dtype=state_dtype
    )
    return decay_and_descend(
        scale, learning_rate, weight_decay=weight_decay, mask=mask, schedule=schedule
    )

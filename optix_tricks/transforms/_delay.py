"""Delayed gradients: what asynchronous workers would hand in."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks._hyperparams import as_key
from optix_tricks._leafwise import Queue, leafwise
from optix_tricks._tree import Mask, PyTree


class DelayedGradientsState(NamedTuple):
    """State of `delayed_gradients`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    waiting: tuple[PyTree, ...]  # gradients like the parameters, the oldest first; with
    # a key a worker's each


def delayed_gradients(
    steps: int,
    *,
    key: Array | int | None = None,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Use the gradient of some steps ago, as many each time or at random.

    .. math:: u_t = g_{t-k}, \qquad u_t = 0 \text{ for } t \le k

    With a `key` there are :math:`k + 1` workers, and at each step one of them, any as
    likely as another, hands in its gradient and takes the parameters of now: the delay is
    geometric with mean :math:`k`,

    .. math:: P(u_t = g_{t-d}) = \frac{1}{k+1} \left(\frac{k}{k+1}\right)^d, \qquad
        d = 0, 1, \dots

    and a worker that has none yet hands in zero. So finish workers whose times are
    exponential. In the mean over the draws it is the running average
    :math:`\bar u_t = \frac{k}{k+1} \bar u_{t-1} + \frac{1}{k+1} g_t` where the gradient
    is linear: asynchrony begets momentum.

    A model of asynchronous or pipelined training, where :math:`k` other workers have
    moved the parameters since the gradient was taken. Hurts, on purpose: it shows what
    staleness costs. On a curvature :math:`h` plain descent is stable up to
    :math:`\eta h = 2 \sin \frac{\pi}{2 (2k + 1)}`: 2 without delay, 1 for one step, about
    :math:`\pi / (2k + 1)` for many. Momentum adds to the delay.

    Args:
      steps: :math:`k` >= 0; 0 is the identity.
      key: a JAX key or a seed, which makes the delays random; the same for all leaves.
        The worker of a step depends on the key and the step alone.
      mask: which leaves are delayed; the others pass unchanged and have no slot.
      state_dtype: dtype of the waiting gradients, float32 by default.

    Returns:
      A transformation; `steps` slots, one more with a key, all of which move each step.

    Raises:
      ValueError: if `steps` is negative or no whole number.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = delayed_gradients(2)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 2.0, 3.0, 4.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      ...     print(updates)
      [0.]
      [0.]
      [1.]
      [2.]

    References:
      Zinkevich, Langford and Smola, Slow learners are fast, 2009. Random delays:
      Mitliagkas, Zhang, Hadjis and Ré, Asynchrony begets momentum, 2016, theorem 3.
    """
    check_count("steps", steps)
    if key is not None:
        return _random_delays(steps + 1, as_key(key), mask, state_dtype)

    def rule(g: Array, w: Array | None, waiting: tuple) -> tuple[Array, tuple]:
        line = (*waiting, g)
        return line[0], line[1:]

    return leafwise(
        rule,
        DelayedGradientsState,
        slots={"waiting": Queue(steps)},
        mask=mask,
        state_dtype=state_dtype,
    )


def _random_delays(
    workers: int, key: Array, mask: Mask | None, state_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    def worker_of(step: Array) -> Array:
        return jax.random.randint(jax.random.fold_in(key, step), (), 0, workers)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        # Who handed in last has just computed the gradient that comes now.
        return {"begins": worker_of(count - 1), "ends": worker_of(count)}

    def rule(
        g: Array, w: Array | None, waiting: tuple, *, begins: Array, ends: Array
    ) -> tuple[Array, tuple]:
        held = tuple(jnp.where(begins == i, g, x) for i, x in enumerate(waiting))
        handed = held[0]
        for i, x in enumerate(held[1:], start=1):
            handed = jnp.where(ends == i, x, handed)
        return handed, held

    return leafwise(
        rule,
        DelayedGradientsState,
        slots={"waiting": Queue(workers)},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
    )

"""Averages of the parameters over the steps, kept beside them for evaluation."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_decay
from optix_tricks._hyperparams import ScalarOrSchedule, as_scalar
from optix_tricks._leafwise import PARAMETER, leafwise
from optix_tricks._paths import Arrays, is_hole, unbox
from optix_tricks._slots import Form, take
from optix_tricks._storage import load
from optix_tricks._tree import Mask, PyTree, is_none
from optix_tricks.transforms._bias_correction import bias_correction
from optix_tricks.transforms._lookahead import LookaheadState


class EmaOfParamsState(NamedTuple):
    """State of `ema_of_params`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # decay
    average: PyTree  # like the parameters


class SwaState(NamedTuple):
    """State of `swa`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    average: PyTree  # like the parameters
    averaged_models: Float[Array, ""]  # how many weights it is the mean of

    def report(self) -> dict[str, PyTree]:
        """What has been averaged."""
        return {"averaged_models": self.averaged_models}


def ema_of_params(
    decay: ScalarOrSchedule = 0.999,
    *,
    debias: bool = True,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep an exponential moving average of the parameters; the last link of a chain.

    .. math::
        \bar w_t = d_t \bar w_{t-1} + (1 - d_t) \, w_t, \qquad
        d_t = 1 - \frac{1 - d}{1 - d^t}

    where :math:`w_t` are the parameters after the step, their present value plus the
    updates that this link sees and passes on. Read it with `averaged_params`.

    With `debias` the weights of :math:`w_1 \dots w_t` fall off by :math:`d` and add up to
    one: a plain mean at first, and the initial parameters are forgotten at once. Without
    it :math:`d_t = d`, and they still weigh :math:`d^t`, 37 % after 1,000 steps of 0.999.

    Helps when the rate is high at the end: the average of a noisy path is often better
    than its last point. After a decay to zero it lags behind and can hurt. The network's
    batch statistics are not those of the average: compute them anew, by a pass over
    training data, before evaluating it.

    Args:
      decay: :math:`d` in [0, 1); 0 keeps the parameters themselves. The average reaches
        over about 1 / (1 - d) steps.
      debias: as above.
      mask: which parameters are averaged.
      state_dtype: dtype of the average, float32 by default. Every evaluation sees its
        rounding: 0.4 % of each weight in bfloat16, 3 % in int8.

    Returns:
      A transformation that leaves the updates as they are; one slot; needs the
      parameters; three operations per element.

    Raises:
      ValueError: if `decay` is out of range or the parameters are not given.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = optax.chain(ot.sgd(1.0), ema_of_params(0.5))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...     updates, state = tx.update(jnp.full(1, -3.0), state, w)
      ...     w = optax.apply_updates(w, updates)
      >>> print(w, averaged_params(state, w))  # (3 / 2 + 6) / (1 / 2 + 1)
      [6.] [5.]

      TensorFlow's warm-up by `num_updates`, whose average reaches over a ninth of the
      steps so far, and PyTorch's start from the first update:

      >>> tensorflow = ema_of_params(
      ...     lambda n: jnp.minimum(0.999, (1 + n) / (10 + n)), debias=False
      ... )
      >>> torch = ema_of_params(lambda n: jnp.where(n == 0, 0, 0.999), debias=False)

    References:
      Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
      Tarvainen and Valpola, Mean teachers are better role models, 2017.
    """
    check_decay("decay", decay)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        d = h["decay"]
        return {"decay": 1 - (1 - d) / bias_correction(d, count) if debias else d}

    def rule(u: Array, w: Array, average: Array, *, decay: Array) -> tuple[Array, Array]:
        return u, _mix(w + u, average, decay)

    return leafwise(
        rule,
        EmaOfParamsState,
        hyperparams={"decay": decay},
        slots={"average": PARAMETER},
        prepare=prepare,
        mask=mask,
        state_dtype=state_dtype,
        needs_params=True,
    )


def swa(
    start_step: int,
    every_steps: int = 1,
    *,
    mask: Mask | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep the equal average of the parameters from a step on; the last link of a chain.

    .. math:: \bar w = \frac{1}{n} \sum_{i=0}^{n-1} w_{s + i c}

    where :math:`w_t` are the parameters after :math:`t` steps, :math:`w_0` the initial
    ones. Until :math:`s` steps are done the average is the parameters themselves. Read it
    with `averaged_params`.

    Helps when from :math:`s` on the rate stays high, constant or cyclical, so that the
    path wanders around a flat region whose centre it never visits. After a decay to zero
    there is nothing to average. The network's batch statistics are not those of the
    average: compute them anew, by a pass over training data, before evaluating it.

    Args:
      start_step: :math:`s` >= 0, the steps after which the first weights are taken.
      every_steps: :math:`c` >= 1, steps from one to the next; the paper takes an epoch,
        or a cycle of the rate.
      mask: which parameters are averaged.
      state_dtype: dtype of the average, float32 by default; see `ema_of_params`.

    Returns:
      A transformation that leaves the updates as they are; one slot; needs the
      parameters; reports `averaged_models`, :math:`n`.

    Raises:
      ValueError: if an argument is out of range or the parameters are not given.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = optax.chain(ot.sgd(1.0), swa(2, 2))
      >>> w, state = jnp.zeros(1), tx.init(jnp.zeros(1))
      >>> for _ in range(5):
      ...     updates, state = tx.update(-jnp.ones(1), state, w)
      ...     w = optax.apply_updates(w, updates)
      >>> print(w, averaged_params(state, w))  # (2 + 4) / 2
      [5.] [3.]

    References:
      Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, Averaging weights leads to wider
      optima and better generalization, 2018, algorithm 1.
    """
    check_count("start_step", start_step)
    check_count("every_steps", every_steps, minimum=1)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        since = count - start_step
        models = as_scalar(jnp.where(since < 0, 0, since // every_steps + 1))
        return {
            "averaged_models": models,
            "decay": jnp.maximum(models - 1, 0) / jnp.maximum(models, 1),
            "taken": (since < 0) | (since % every_steps == 0),
        }

    def rule(
        u: Array, w: Array, average: Array, *, decay: Array, taken: Array
    ) -> tuple[Array, Array]:
        return u, jnp.where(taken > 0, _mix(w + u, average, decay), average)

    return leafwise(
        rule,
        SwaState,
        slots={"average": PARAMETER},
        prepare=prepare,
        reports=("averaged_models",),
        mask=mask,
        state_dtype=state_dtype,
        needs_params=True,
    )


def _mix(w: Array, average: Array, decay: Array) -> Array:
    # Not d a + (1 - d) w: this is w for d = 0, and constant weights stay what they are.
    return w + decay * (average - w)


def averaged_params(opt_state: PyTree, params: Arrays) -> PyTree:
    """Return the averaged parameters that an optimiser's state holds.

    Those of `ema_of_params` and `swa`, or the slow weights of `lookahead`, wherever they
    stand in the state. Batch statistics belong to the parameters with which they were
    gathered: compute them anew before evaluating.

    Args:
      opt_state: the state of any chain, wrapper or partition.
      params: the present parameters, plain or packed.

    Returns:
      A tree like `params`, in the dtypes of `params`. Parameters that a mask left out of
      the average are the present ones.

    Raises:
      ValueError: if the state holds no average, or two of the same parameter.

    Examples:
      >>> tx = ema_of_params(0.9)
      >>> w = {"kernel": jnp.ones(2, jnp.bfloat16)}
      >>> print(averaged_params(tx.init(w), w)["kernel"])
      [1 1]
    """
    averages = list(_averages(unbox(opt_state)))
    if not averages:
        raise ValueError(
            "opt_state holds no averaged parameters: put ema_of_params or swa last in "
            "the chain, or wrap the chain in lookahead."
        )

    def chosen(w: Any, *slots: Any) -> Any:
        held = [s for s in slots if not is_hole(s)]
        if len(held) > 1:
            raise ValueError(
                "opt_state holds more than one average of the same parameter: give the "
                "part of the state that you mean, such as opt_state[-1]."
            )
        # A copy: state and parameters may be donated while the average is in use.
        if held:
            return jnp.array(load(held[0], jnp.result_type(w)))
        return None if w is None else jnp.array(w)

    pure = Form(unbox(params))
    try:
        slots = [take(PARAMETER, average, pure) for average in averages]
        if any(isinstance(x, dict | list) for each in slots for x in each):
            raise ValueError("an array stands for several")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            "params must have the structure of the parameters whose average opt_state"
            f" holds: {error}"
        ) from error
    leaves = jax.tree.leaves(params, is_leaf=is_none)
    new = [chosen(*of_leaf) for of_leaf in zip(leaves, *slots, strict=True)]
    return Form(params).boxed.unflatten(new)


def _averages(tree: PyTree) -> Iterator[PyTree]:
    def is_average(node: Any) -> bool:
        return isinstance(node, (EmaOfParamsState, SwaState, LookaheadState))

    for node in jax.tree.leaves(tree, is_leaf=is_average):
        if isinstance(node, LookaheadState):
            yield node.slow
            yield from _averages(node.inner_state)
        elif is_average(node):
            yield node.average

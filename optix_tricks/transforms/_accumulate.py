"""Gradient accumulation: the optimiser runs once for several micro-batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from optix_tricks._hyperparams import (
    ScalarOrSchedule,
    as_scalar,
    current_values,
    first_values,
)
from optix_tricks._paths import is_hole
from optix_tricks._tree import PyTree, is_inexact, is_none, wide_dtype, widen
from optix_tricks.transforms._in_float32 import in_float32
from optix_tricks.transforms._wrapper import as_steps, update_if


class AccumulateState(NamedTuple):
    """State of `accumulate`."""

    count: Any  # int32 [], micro-steps done
    hyperparams: dict[str, Any]  # every_steps
    mini_step: Int[Array, ""]  # micro-steps since the last inner update
    gradient_step: Int[Array, ""]  # inner updates done
    acc_grads: PyTree  # like the parameters, float32: the sum of their gradients;
    # MaskedNode where they are no numbers of 16 bits or more
    inner_state: Any  # of the wrapped transformation

    def report(self) -> dict[str, PyTree]:
        """Where in the big batch the last micro-step stood."""
        return {
            "mini_step": self.mini_step,
            "gradient_step": self.gradient_step,
            "applied": (self.mini_step == 0) & (self.count > 0),
        }


def accumulate(
    inner: optax.GradientTransformation,
    every_steps: int | ScalarOrSchedule,
    *,
    mean: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Run the inner transformation once for every :math:`k` gradients.

    .. math::
        s_i = s_{i-1} + g_i, \qquad
        u_i = \begin{cases} \mathrm{inner}(s_k / k) & i = k \\ 0 & i < k \end{cases}

    and :math:`s` starts at zero again. For a loss that is a mean over examples this is
    the step on the :math:`k` micro-batches as one batch: normalisation layers alone see
    the difference. The sum is float32, so that 16-bit gradients do not lose their small
    ones, and what the inner transformation returns is rounded once.

    Between its updates the inner transformation is not run: its state, step count and
    schedules stand still, and so does its decay. `optax.MultiSteps` goes the same way
    and computes the inner update in every micro-step; its running mean takes one
    division per micro-step, this sum one per update.

    Helps where the batch does not fit: memory of a micro-batch, step of a large batch.
    Hurts nothing but the clock; a batch that fits is faster in one piece.

    Args:
      inner: any transformation.
      every_steps: :math:`k` >= 1, micro-steps for one update; 1 gives `inner` itself. A
        schedule is read at the number of inner updates done.
      mean: False gives `inner` the sum, for losses that are sums.

    Returns:
      A transformation; one float32 slot beside the inner state, one addition per element
      and micro-step. Updates between are zeros. Reports `mini_step`, `gradient_step` and
      `applied`.

    Raises:
      ValueError: if `every_steps` is no whole number of at least 1.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = accumulate(ot.sgd(0.1), 2)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 3.0, 5.0):
      ...     updates, state = tx.update(jnp.full(1, g), state)
      ...     print(updates, ot.report(state)["applied"])
      [0.] False
      [-0.2] True
      [0.] False

    References:
      Ott, Edunov, Grangier and Auli, Scaling neural machine translation, 2018.
    """
    hyperparams = {"every_steps": as_steps("every_steps", every_steps, minimum=1)}
    inner = in_float32(inner)

    def init(params: PyTree) -> AccumulateState:
        def zeros(w: Any) -> Any:
            if not is_inexact(w):
                return optax.MaskedNode()
            dtype = wide_dtype(jnp.result_type(w))
            return jnp.zeros_like(w, dtype=dtype)

        return AccumulateState(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(hyperparams),
            mini_step=jnp.zeros((), jnp.int32),
            gradient_step=jnp.zeros((), jnp.int32),
            acc_grads=jax.tree.map(zeros, params),
            inner_state=inner.init(params),
        )

    def update(
        updates: PyTree,
        state: AccumulateState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, AccumulateState]:
        def add(g: Any, s: Any) -> Any:
            return g if g is None or is_hole(s) else s + widen(jnp.asarray(g))

        def divide(s: Any) -> Any:
            return s / gathered.astype(s.dtype) if is_inexact(s) else s

        total = jax.tree.map(add, updates, state.acc_grads, is_leaf=is_none)
        values = current_values(hyperparams, state.hyperparams, state.gradient_step)
        gathered = state.mini_step + 1
        applied = as_scalar(gathered) >= values["every_steps"]

        def step() -> tuple[PyTree, Any]:
            gradients = jax.tree.map(divide, total) if mean else total
            return inner.update(gradients, state.inner_state, params, **extra_args)

        new_updates, inner_state = update_if(applied, step, updates, state.inner_state)
        done = optax.safe_increment(state.gradient_step)
        return new_updates, AccumulateState(
            count=optax.safe_increment(state.count),
            hyperparams=values,
            mini_step=jnp.where(applied, 0, gathered),
            gradient_step=jnp.where(applied, done, state.gradient_step),
            acc_grads=jax.tree.map(
                lambda old, s: (
                    old
                    if s is None or is_hole(old)
                    else jnp.where(applied, 0, s).astype(old.dtype)
                ),
                state.acc_grads,
                total,
                is_leaf=is_hole,
            ),
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)

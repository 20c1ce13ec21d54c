"""L-BFGS: BFGS with a short memory."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from optix_tricks._checks import check_count, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import PyTree
from optix_tricks.transforms._bfgs import WOLFE
from optix_tricks.transforms._full_batch import in_one_dtype, search_report
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class LBFGSState(NamedTuple):
    """State of `lbfgs`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    inner_state: Any  # of Optax's L-BFGS, of the rate, of the line search

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return search_report(self.inner_state[-1])


def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: optax.GradientTransformationExtraArgs | None = WOLFE,
) -> optax.GradientTransformationExtraArgs:
    r"""L-BFGS: `optax.lbfgs` in float32, with a report.

    BFGS whose matrix is rebuilt in each step from the last pairs :math:`(s, y)`; see
    `bfgs` for the formula. Equal to Optax's in float32 and float64; parameters in 16 bits
    keep their pairs and products in float32, where Optax rounds them to 16 bits.

    Helps on smooth full-batch problems of any size, as the first choice: convex models,
    physics informed networks, fine fits. Hurts under mini-batch noise, which goes
    straight into the pairs. Call it under `jax.jit`: an eager call compiles the line
    search anew.

    Args:
      learning_rate: a factor of the direction, a number, an array or a schedule; 1 by
        default, the line search then finds the length.
      memory_size: how many pairs are kept.
      scale_init_precond: whether the matrix starts from :math:`(y^\top s / y^\top y) I`
        of the last pair instead of the identity.
      linesearch: an Optax line search; None takes the direction as it is and needs no
        `value_fn`. If it fails its last trial is taken, and `decrease_error` is positive.

    Returns:
      An optimiser whose update needs `params`, `value`, `grad` and `value_fn`;
      `optax.value_and_grad_from_state` saves one evaluation a step. `2 memory_size + 3`
      slots, some `4 memory_size` multiplications per element, and one evaluation of value
      and gradient for each of `linesearch_steps`. Reports them, `step_size` and
      `decrease_error`.

    Raises:
      ValueError: if an argument is out of range, or missing in the update.

    Examples:
      >>> import jax
      >>> def loss(w):
      ...     return jnp.sum(w**2)
      >>> tx = lbfgs()
      >>> w = jnp.array([1.0, 2.0, 3.0])
      >>> value, grad = jax.value_and_grad(loss)(w)
      >>> updates, state = tx.update(
      ...     grad, tx.init(w), w, value=value, grad=grad, value_fn=loss
      ... )
      >>> print(loss(optax.apply_updates(w, updates)) < value)
      True

    References:
      Liu and Nocedal, On the limited memory BFGS method for large scale optimization,
      1989. Nocedal and Wright, Numerical optimization, 2006, algorithm 7.5.
    """
    check_count("memory_size", memory_size, minimum=1)
    if learning_rate is None:
        rate: optax.GradientTransformation = optax.scale(-1.0)
    else:
        check_nonnegative("learning_rate", learning_rate)
        rate = scale_by_learning_rate(learning_rate)
    chained = optax.with_extra_args_support(
        optax.chain(
            optax.scale_by_lbfgs(memory_size, scale_init_precond),
            rate,
            optax.identity() if linesearch is None else linesearch,
        )
    )

    def init_fn(params: PyTree) -> LBFGSState:
        return LBFGSState(jnp.zeros((), jnp.int32), {}, chained.init(params))

    def update_fn(
        updates: PyTree, state: LBFGSState, params: PyTree | None = None, **given: Any
    ) -> tuple[PyTree, LBFGSState]:
        step, inner = chained.update(updates, state.inner_state, params, **given)
        return step, LBFGSState(optax.safe_increment(state.count), {}, inner)

    return in_one_dtype(
        "lbfgs",
        optax.GradientTransformationExtraArgs(init_fn, update_fn),
        needs_value_fn=linesearch is not None,
    )

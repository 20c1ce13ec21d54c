"""BFGS with a dense inverse Hessian, and L-BFGS with a short memory."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from optix_tricks._checks import check_count, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._tree import PyTree, safe_divide, safe_sqrt
from optix_tricks.transforms._full_batch import (
    Loss,
    common_dtype,
    dot,
    in_one_dtype,
    without_rise,
)
from optix_tricks.transforms._learning_rate import scale_by_learning_rate

MOST_PARAMETERS = 10_000
WOLFE = optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one")


class BFGSState(NamedTuple):
    """State of `bfgs`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    params: PyTree  # where the last step started
    updates: PyTree  # like the parameters: the gradient there
    inverse_hessian: Float[Array, "n n"]
    pairs: Int[Array, ""]  # pairs (s, y) gathered since the last restart
    skipped: Int[Array, ""]  # pairs left out for want of positive curvature
    linesearch: Any  # of the line search; has `value` and `grad` at the point reached

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"pairs": self.pairs, "skipped": self.skipped} | _said(self.linesearch)


class LBFGSState(NamedTuple):
    """State of `lbfgs`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    inner_state: Any  # of Optax's L-BFGS, of the rate, of the line search

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return _said(self.inner_state[-1])


def bfgs(
    *, linesearch: optax.GradientTransformationExtraArgs = WOLFE
) -> optax.GradientTransformationExtraArgs:
    r"""BFGS with the inverse Hessian as a dense matrix.

    .. math::
        w_{t+1} &= w_t - \alpha_t H_t g_t, \quad s_t = w_{t+1} - w_t, \quad
        y_t = g_{t+1} - g_t, \quad \rho_t = 1 / y_t^\top s_t \\
        H_{t+1} &= (I - \rho_t s_t y_t^\top) H_t (I - \rho_t y_t s_t^\top)
        + \rho_t s_t s_t^\top

    The first direction has length at most one; before the first pair :math:`H =
    (y^\top s / y^\top y) I`. Pairs without positive curvature, :math:`y^\top s \le
    \varepsilon |y| |s|`, are left out: under the Wolfe conditions of the line search
    there are none but by rounding. Should :math:`-H g` be no descent, or the search fail
    and end higher, in which case no step is taken, :math:`H` starts anew from the
    identity.

    Helps on small smooth full-batch problems, for which it needs the fewest evaluations
    and no tuning, and where the inverse Hessian is wanted itself. Hurt by mini-batch
    noise, which goes straight into :math:`H`. Call it under `jax.jit`: an eager call
    compiles the line search anew.

    Args:
      linesearch: an Optax line search that starts from one.

    Returns:
      An optimiser whose update needs `params`, `value`, `grad` and `value_fn`, as that
      of `optax.lbfgs`; `optax.value_and_grad_from_state` saves one evaluation a step.
      :math:`n^2 + 3n` numbers of state (4 MB for 1,000 parameters, 400 MB for 10,000),
      some :math:`8 n^2` operations a step; one evaluation of value and gradient for each
      of `linesearch_steps`. Reports them, `pairs`, `skipped`, `step_size` and
      `decrease_error`.

    Raises:
      ValueError: for more than 10,000 parameters, or if an argument of the update is
        missing.

    Examples:
      >>> def loss(w):
      ...     return 50 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
      >>> tx = bfgs()
      >>> @jax.jit
      ... def step(w, state):
      ...     value, grad = jax.value_and_grad(loss)(w)
      ...     updates, state = tx.update(
      ...         grad, state, w, value=value, grad=grad, value_fn=loss
      ...     )
      ...     return optax.apply_updates(w, updates), state
      >>> w = jnp.array([-1.0, 1.0])
      >>> state = tx.init(w)
      >>> for _ in range(25):
      ...     w, state = step(w, state)
      >>> print(w.round(3))
      [1. 1.]

    References:
      Nocedal and Wright, Numerical optimization, 2006, algorithm 6.1 and equation 6.20.
    """

    def init_fn(params: PyTree) -> BFGSState:
        n = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
        if n > MOST_PARAMETERS:
            raise ValueError(
                f"bfgs keeps a matrix of all pairs of parameters and takes at most "
                f"{MOST_PARAMETERS:,} of them, got {n:,}: use lbfgs or newton_cg."
            )
        dtype = common_dtype(params)
        return BFGSState(
            count=jnp.zeros((), jnp.int32),
            hyperparams={},
            params=jax.tree.map(jnp.zeros_like, params),
            updates=jax.tree.map(jnp.zeros_like, params),
            inverse_hessian=jnp.eye(n, dtype=dtype),
            pairs=jnp.zeros((), jnp.int32),
            skipped=jnp.zeros((), jnp.int32),
            linesearch=linesearch.init(params),
        )

    def update_fn(
        updates: PyTree,
        state: BFGSState,
        params: PyTree | None = None,
        *,
        value: Array,
        grad: PyTree,
        value_fn: Loss,
    ) -> tuple[PyTree, BFGSState]:
        g, unravel = ravel_pytree(updates)
        s, _ = ravel_pytree(optax.tree.sub(params, state.params))
        y, _ = ravel_pytree(optax.tree.sub(updates, state.updates))
        identity = jnp.eye(g.size, dtype=g.dtype)

        def norm(x: Array) -> Array:
            return safe_sqrt(dot(x, x))

        ys = dot(y, s)
        curved = ys > jnp.finfo(g.dtype).eps * norm(y) * norm(s)
        curved = curved & (state.count > 0)
        H = state.inverse_hessian
        scaled = jnp.where(state.pairs == 0, safe_divide(ys, dot(y, y)) * identity, H)
        H = jnp.where(curved, _with_pair(scaled, s, y), H)
        pairs = state.pairs + curved.astype(jnp.int32)

        d = -dot(H, g)
        descends = dot(g, d) < 0
        H = jnp.where(descends, H, identity)
        pairs = jnp.where(descends, pairs, 0)
        shortened = -g / jnp.maximum(norm(g), 1.0)
        d = jnp.where(pairs == 0, shortened, d)
        step, search = linesearch.update(
            unravel(d),
            state.linesearch,
            params,
            value=value,
            grad=grad,
            value_fn=value_fn,
        )
        step, search, refused = without_rise(step, search, value)
        return step, BFGSState(
            count=optax.safe_increment(state.count),
            hyperparams={},
            params=params,
            updates=updates,
            inverse_hessian=jnp.where(refused, identity, H),
            pairs=jnp.where(refused, 0, pairs),
            skipped=state.skipped + (~curved & (state.count > 0)).astype(jnp.int32),
            linesearch=search,
        )

    return in_one_dtype("bfgs", optax.GradientTransformationExtraArgs(init_fn, update_fn))


def _with_pair(H: Array, s: Array, y: Array) -> Array:
    """The product of the update, multiplied out: symmetric to the last bit."""
    rho, Hy = safe_divide(jnp.ones_like(s[0]), dot(y, s)), dot(H, y)
    mixed = jnp.outer(Hy, s) + jnp.outer(s, Hy)
    return H + rho * ((1 + rho * dot(y, Hy)) * jnp.outer(s, s) - mixed)


def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    *,
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


def _said(search: Any) -> dict[str, PyTree]:
    if not hasattr(search, "info"):
        return {}
    return {
        "step_size": search.learning_rate,
        "linesearch_steps": search.info.num_linesearch_steps,
        "decrease_error": search.info.decrease_error,
    }

"""BFGS with a dense inverse Hessian."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from optix_tricks._tree import PyTree, safe_divide, safe_sqrt
from optix_tricks.transforms._full_batch import (
    Loss,
    common_dtype,
    dot,
    in_one_dtype,
    search_report,
    without_rise,
)

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
    steepest: Float[Array, ""]  # the largest |y| / |s| since the last restart
    skipped: Int[Array, ""]  # pairs left out as rounding
    linesearch: Any  # of the line search; has `value` and `grad` at the point reached

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"pairs": self.pairs, "skipped": self.skipped} | search_report(
            self.linesearch
        )


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
    (y^\top s / y^\top y) I`. Pairs that are rounding are left out: those without positive
    curvature, :math:`y^\top s \le \varepsilon |y| |s|`, of which the Wolfe conditions of
    the line search allow none, and those next to the minimum, where the rounding of
    :math:`w`, through curvature and :math:`H`, is a good part of the step,
    :math:`|s| \le 4 \varepsilon |w| |H| \sqrt{\kappa |y| / |s|}` with :math:`\kappa`
    the largest :math:`|y| / |s|` met. So :math:`H` stays what it is after
    convergence. Should :math:`-H g` be no descent, or the search fail and end higher, in
    which case no step is taken, :math:`H` starts anew from the identity; not if a
    decrease of less than :math:`10 \varepsilon |f|` was expected.

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
            steepest=jnp.zeros((), dtype),
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

        ys, H, info = dot(y, s), state.inverse_hessian, jnp.finfo(g.dtype)
        slope = safe_divide(norm(y), norm(s))
        steepest = jnp.where(state.count > 0, jnp.maximum(state.steepest, slope), 0.0)
        amplified = norm(H.ravel()) * safe_sqrt(steepest * slope)
        rounding = 4 * info.eps * norm(ravel_pytree(params)[0]) * amplified
        curved = ys > jnp.maximum(info.eps * norm(y) * norm(s), info.tiny / info.eps)
        curved = curved & (norm(s) > rounding) & (state.count > 0)
        scaled = jnp.where(state.pairs == 0, safe_divide(ys, dot(y, y)) * identity, H)
        H = jnp.where(curved, _with_pair(scaled, s, y), H)
        pairs = state.pairs + curved.astype(jnp.int32)

        size = jnp.max(jnp.abs(g), initial=0)
        unit = safe_divide(g, size)  # whose products do not underflow
        d = -dot(H, unit)
        descends = dot(unit, d) <= 0
        d = size * d
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
        lost = refused & (-dot(g, d) / 2 > 10 * info.eps * jnp.abs(value))
        return step, BFGSState(
            count=optax.safe_increment(state.count),
            hyperparams={},
            params=params,
            updates=updates,
            inverse_hessian=jnp.where(lost, identity, H),
            pairs=jnp.where(lost, 0, pairs),
            steepest=jnp.where(lost, 0.0, steepest),
            skipped=state.skipped + (~curved & (state.count > 0)).astype(jnp.int32),
            linesearch=search,
        )

    return in_one_dtype("bfgs", optax.GradientTransformationExtraArgs(init_fn, update_fn))


def _with_pair(H: Array, s: Array, y: Array) -> Array:
    """The product of the update, multiplied out: symmetric to the last bit."""
    rho, Hy = safe_divide(jnp.ones_like(s[0]), dot(y, s)), dot(H, y)
    mixed = jnp.outer(Hy, s) + jnp.outer(s, Hy)
    return H + rho * ((1 + rho * dot(y, Hy)) * jnp.outer(s, s) - mixed)

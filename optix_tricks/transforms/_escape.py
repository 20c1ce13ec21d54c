"""Leaving saddles along the most negative curvature."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._checks import check_count, check_nonnegative, check_positive
from optix_tricks._hyperparams import (
    ScalarOrSchedule,
    as_key,
    current_values,
    first_values,
)
from optix_tricks._tree import PyTree, check_floating, global_norm
from optix_tricks.transforms._full_batch import (
    cast,
    check_given,
    common_dtype,
    dot,
    loss_in_one_dtype,
    with_zeros,
    without_weak_types,
)
from optix_tricks.transforms._in_float32 import in_float32, round_like
from optix_tricks.transforms._smallest_eigenpair import smallest_eigenpair

SEARCHES = (optax.ScaleByZoomLinesearchState, optax.ScaleByBacktrackingLinesearchState)


class EscapeSaddleState(NamedTuple):
    """State of `escape_saddle`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # gradient_tolerance, curvature_tolerance, radius
    inner_state: Any  # of the optimiser
    examined: Bool[Array, ""]  # whether the last step looked at the Hessian
    escaped: Bool[Array, ""]  # whether the last step was an escape
    escapes: Int[Array, ""]  # how many there were
    lambda_min: Float[Array, ""]  # of the last examination, zero before the first
    residual: Float[Array, ""]  # |Hv - lambda v| of the last examination

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {name: getattr(self, name) for name in self._fields[3:]}


def escape_saddle(
    inner: optax.GradientTransformation,
    key: Array | int,
    *,
    gradient_tolerance: ScalarOrSchedule = 1e-3,
    curvature_tolerance: ScalarOrSchedule = 1e-3,
    radius: ScalarOrSchedule = 1.0,
    lanczos_steps: int = 20,
    max_backtracking_steps: int = 20,
) -> optax.GradientTransformationExtraArgs:
    r"""Run an optimiser, and leave saddles along the most negative curvature.

    Where :math:`|g| \le \epsilon_g`, Lanczos' method finds :math:`\lambda, v` with
    :math:`H v \approx \lambda v`, the smallest eigenvalue, and :math:`g^\top v \le 0`.
    Along :math:`v` the steps :math:`t = r, -r, r/2, -r/2, \dots` are tried:

    .. math::
        f(w + t v) \le f(w) + \begin{cases}
        \lambda t^2 / 4 & \lambda < -\epsilon_H \quad \text{(a saddle)} \\
        -|t| |g| & |\lambda| \le \epsilon_H \quad \text{(flat)} \end{cases}

    The first that holds is taken in place of the inner optimiser's update, whose state
    then stays as it was. In all other cases the inner update passes unchanged.

    At a saddle a short enough step always does: :math:`\lambda` is the curvature
    :math:`v^\top H v` itself, so that one below :math:`-\epsilon_H` is negative however
    large the residual. Where the curvature vanishes along :math:`v` nothing is known: a
    degenerate saddle (:math:`x^3 - 3 x y^2`, a deep linear network of three or more
    layers at zero) or a flat minimum. There :math:`v` is a random direction among the
    flat ones, another one in each step, and a step is taken if the loss falls by more
    than a convex one can. An even degenerate saddle such as the network of four layers
    needs some steps until a direction goes down.

    Helps full-batch and deterministic runs from symmetric or zero starts, and methods
    that are drawn to saddles. Mini-batch noise leaves strict saddles by itself and keeps
    the gradient's norm above any small tolerance: there it does nothing, at the cost of a
    norm. Call it under `jax.jit`: an eager call compiles its branches anew.

    Args:
      inner: the optimiser; it gets all extra arguments.
      key: a JAX key or a seed, of the random start; that of step :math:`t` is folded in.
      gradient_tolerance: :math:`\epsilon_g` >= 0, below which the Hessian is looked at;
        0 does so at exact stationary points alone.
      curvature_tolerance: :math:`\epsilon_H` >= 0.
      radius: :math:`r` > 0, the first length tried, in the units of the parameters.
      lanczos_steps: Hessian-vector products per look, less one; exact if there are as
        many as parameters.
      max_backtracking_steps: trials per look, each one evaluation of the loss.

    Returns:
      A transformation whose update needs `params`, `value`, `grad` and `value_fn`, as
      that of `optax.lbfgs`. Away from stationary points it costs a norm; near one
      `lanczos_steps + 1` Hessian-vector products, as many copies of the parameters, and
      the trials. Reports `examined`, `escaped`, `escapes`, `lambda_min` and `residual`.
      Neutral at `gradient_tolerance=0` away from stationary points.

    Raises:
      ValueError: if an argument is out of range, or missing in the update.

    Examples:
      >>> def loss(w):
      ...     return w[0] ** 2 - w[1] ** 2 + w[1] ** 4
      >>> tx = escape_saddle(optax.sgd(0.1), jax.random.key(0))
      >>> @jax.jit
      ... def step(w, state):
      ...     value, grad = jax.value_and_grad(loss)(w)
      ...     updates, state = tx.update(
      ...         grad, state, w, value=value, grad=grad, value_fn=loss
      ...     )
      ...     return optax.apply_updates(w, updates), state
      >>> w = jnp.zeros(2)
      >>> state = tx.init(w)
      >>> for _ in range(50):
      ...     w, state = step(w, state)
      >>> print(loss(w).round(4), state.escapes)
      -0.25 1

    References:
      Goldfarb, Curvilinear path steplength algorithms for minimization which use
      directions of negative curvature, 1980. Jin, Ge, Netrapalli, Kakade and Jordan, How
      to escape saddle points efficiently, 2017. Dauphin et al., Identifying and attacking
      the saddle point problem in high-dimensional non-convex optimization, 2014.
    """
    check_nonnegative("gradient_tolerance", gradient_tolerance)
    check_nonnegative("curvature_tolerance", curvature_tolerance)
    check_positive("radius", radius)
    check_count("lanczos_steps", lanczos_steps, minimum=1)
    check_count("max_backtracking_steps", max_backtracking_steps, minimum=1)
    key = as_key(key)
    given = {
        "gradient_tolerance": gradient_tolerance,
        "curvature_tolerance": curvature_tolerance,
        "radius": radius,
    }
    inner = in_float32(inner)

    def init_fn(params: PyTree) -> EscapeSaddleState:
        check_floating(params)
        dtype = common_dtype(params)
        return EscapeSaddleState(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(given),
            inner_state=inner.init(params),
            examined=jnp.zeros((), bool),
            escaped=jnp.zeros((), bool),
            escapes=jnp.zeros((), jnp.int32),
            lambda_min=jnp.zeros((), dtype),
            residual=jnp.zeros((), dtype),
        )

    def update_fn(
        updates: PyTree,
        state: EscapeSaddleState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad: PyTree | None = None,
        value_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[PyTree, EscapeSaddleState]:
        check_floating(updates)
        needed = {"params": params, "value": value, "grad": grad, "value_fn": value_fn}
        check_given("escape_saddle", **needed)
        loss_of_tree = loss_in_one_dtype(value_fn, params, updates, extra_args)
        inner_updates, inner_state = inner.update(
            updates, state.inner_state, **needed, **extra_args
        )

        dtype = common_dtype(params)
        w, unravel = ravel_pytree(cast(params, dtype))
        g, _ = ravel_pytree(cast(with_zeros(updates, params), dtype))
        values = current_values(given, state.hyperparams, state.count)
        near, flat, radius = (values[name].astype(w.dtype) for name in given)

        def loss(w: Array) -> Array:
            return loss_of_tree(unravel(w))

        def look() -> tuple[Array, Array, Array, Array]:
            start, rest = jax.random.split(jax.random.fold_in(key, state.count))
            eigenvalue, v, residual = smallest_eigenpair(
                jax.linearize(jax.grad(loss), w)[1],
                jax.random.normal(start, w.shape, w.dtype),
                rest,
                lanczos_steps,
            )
            v = jnp.where(dot(g, v) > 0, -v, v)
            here = jnp.asarray(value, w.dtype)
            here = here - 10 * jnp.finfo(w.dtype).eps * jnp.abs(here)  # rounding

            def goes_on(trial: tuple) -> Array:
                _, lower, trials = trial
                tries = (eigenvalue <= flat) & (trials < max_backtracking_steps)
                return tries & ~lower

            def shorter(trial: tuple) -> tuple:
                t, _, trials = trial
                t = jnp.where(t > 0, -t, -t / 2)
                change = jnp.where(
                    eigenvalue < -flat,
                    eigenvalue * t**2 / 4,
                    -jnp.abs(t) * jnp.linalg.norm(g),
                )
                return t, loss(w + t * v) < here + change, trials + 1

            first = (-2 * radius, jnp.zeros((), bool), jnp.zeros((), jnp.int32))
            t, lower, _ = lax.while_loop(goes_on, shorter, first)
            return t * v, lower, eigenvalue, residual

        def do_not_look() -> tuple[Array, Array, Array, Array]:
            no = jnp.zeros((), bool)
            return jnp.zeros_like(w), no, state.lambda_min, state.residual

        examined = global_norm(g) <= near
        step, escaped, lambda_min, residual = lax.cond(examined, look, do_not_look)
        new_updates, inner_state = lax.cond(
            escaped,
            lambda: (
                round_like(unravel(step), inner_updates),
                _without_value(state.inner_state),
            ),
            lambda: (inner_updates, inner_state),
        )
        new_state = EscapeSaddleState(
            count=optax.safe_increment(state.count),
            hyperparams=values,
            inner_state=inner_state,
            examined=examined,
            escaped=escaped,
            escapes=state.escapes + escaped.astype(jnp.int32),
            lambda_min=lambda_min,
            residual=residual,
        )
        return round_like(new_updates, updates), without_weak_types(new_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _without_value(inner_state: Any) -> Any:
    """Make line searches forget the loss of the point that was left.

    `optax.value_and_grad_from_state` then evaluates it anew.
    """

    def forget(node: Any) -> Any:
        if not isinstance(node, SEARCHES):
            return node
        return node._replace(value=jnp.full_like(node.value, jnp.inf))

    return jax.tree.map(forget, inner_state, is_leaf=lambda x: isinstance(x, SEARCHES))

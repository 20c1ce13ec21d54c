"""Nonlinear conjugate gradients with a Wolfe line search."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from optix_tricks._tree import PyTree
from optix_tricks.transforms._full_batch import (
    Loss,
    common_dtype,
    in_one_dtype,
    without_rise,
)

Beta = Literal["polak_ribiere", "fletcher_reeves", "hestenes_stiefel", "dai_yuan"]
WOLFE = optax.scale_by_zoom_linesearch(20, curv_rtol=0.1, initial_guess_strategy="one")


class NonlinearCGState(NamedTuple):
    """State of `nonlinear_cg`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    updates: PyTree  # like the parameters: the last gradient
    direction: PyTree  # like the parameters: the last direction
    slope: Float[Array, ""]  # of the loss along the last direction, at its start
    step_size: Float[Array, ""]  # how many directions the last step took
    beta: Float[Array, ""]  # the last direction's share of the one before
    restarted: Bool[Array, ""]  # whether the last step went down the gradient instead
    linesearch: Any  # of the line search; has `value` and `grad` at the point reached

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {
            "step_size": self.step_size,
            "beta": self.beta,
            "restarted": self.restarted,
            "linesearch_steps": self.linesearch.info.num_linesearch_steps,
            "decrease_error": self.linesearch.info.decrease_error,
        }


def nonlinear_cg(
    beta: Beta = "polak_ribiere",
    *,
    linesearch: optax.GradientTransformationExtraArgs = WOLFE,
) -> optax.GradientTransformationExtraArgs:
    r"""Nonlinear conjugate gradients.

    .. math::
        d_t = -g_t + \beta_t d_{t-1}, \qquad w_{t+1} = w_t + \alpha_t d_t, \qquad
        y_t = g_t - g_{t-1}

    =====================  =========================================================
    `polak_ribiere`        :math:`\max(0, g_t^\top y_t / g_{t-1}^\top g_{t-1})`
    `fletcher_reeves`      :math:`g_t^\top g_t / g_{t-1}^\top g_{t-1}`
    `hestenes_stiefel`     :math:`\max(0, g_t^\top y_t / d_{t-1}^\top y_t)`
    `dai_yuan`             :math:`g_t^\top g_t / d_{t-1}^\top y_t`
    =====================  =========================================================

    With exact searches on a quadratic all are the same, and end in as many steps as there
    are distinct eigenvalues. A direction that is no descent is replaced by :math:`-g_t`.
    The search for :math:`\alpha_t` is Optax's zoom under the strong Wolfe conditions with
    curvature 0.1. A trial at :math:`\alpha_{t-1} \min(10, g_{t-1}^\top d_{t-1} /
    g_t^\top d_t)`, the first at a step of length one, gives the slope there, and the
    search starts from where the secant of both slopes is zero: on a quadratic that is the
    exact minimum, whatever the condition. If the search fails and ends higher, no step is
    taken and the next direction is :math:`-g_t`.

    Helps on full batches when memory is short: two slots, where L-BFGS keeps twenty.
    Hurt by mini-batch noise, which destroys conjugacy and the line search alike. L-BFGS
    usually needs fewer evaluations. Call it under `jax.jit`: an eager call compiles the
    line search anew.

    Args:
      beta: one of the four formulas.
      linesearch: `optax.scale_by_zoom_linesearch` in another setting; it must start
        from one and be free to grow.

    Returns:
      An optimiser whose update needs `params`, `value`, `grad` and `value_fn`, as that
      of `optax.lbfgs`; `optax.value_and_grad_from_state` saves one evaluation a step.
      Three slots with that of the search; one gradient for the secant, and one evaluation
      of value and gradient for each of `linesearch_steps`. Reports them, `step_size`,
      `beta`, `restarted` and `decrease_error`.

    Raises:
      ValueError: if `beta` is not one of the four, or an argument of the update is
        missing.

    Examples:
      >>> def loss(w):
      ...     return w[0] ** 2 + 10 * w[1] ** 2
      >>> tx = nonlinear_cg()
      >>> @jax.jit
      ... def step(w, state):
      ...     value, grad = jax.value_and_grad(loss)(w)
      ...     updates, state = tx.update(
      ...         grad, state, w, value=value, grad=grad, value_fn=loss
      ...     )
      ...     return optax.apply_updates(w, updates), state
      >>> w = jnp.array([1.0, 1.0])
      >>> state = tx.init(w)
      >>> for _ in range(10):
      ...     w, state = step(w, state)
      >>> print(jnp.abs(w).max() < 1e-4)
      True

    References:
      Polak and Ribière, Note sur la convergence de méthodes de directions conjuguées,
      1969. Fletcher and Reeves, Function minimization by conjugate gradients, 1964.
      Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems,
      1952. Dai and Yuan, A nonlinear conjugate gradient method with a strong global
      convergence property, 1999. Nocedal and Wright, Numerical optimization, 2006,
      section 5.2. Shewchuk, An introduction to the conjugate gradient method without the
      agonizing pain, 1994, appendix B5, for the secant.
    """
    vdot = optax.tree.vdot

    def share(g: PyTree, last: PyTree, d: PyTree) -> Array:
        y = optax.tree.sub(g, last)
        above = vdot(g, y if beta in ("polak_ribiere", "hestenes_stiefel") else g)
        by_gradient = beta in ("polak_ribiere", "fletcher_reeves")
        below = vdot(last, last) if by_gradient else vdot(d, y)
        quotient = jnp.where(below > 0, above / below, 0.0)
        return jnp.maximum(quotient, 0.0)

    def init_fn(params: PyTree) -> NonlinearCGState:
        zero = jnp.zeros((), common_dtype(params))
        return NonlinearCGState(
            count=jnp.zeros((), jnp.int32),
            hyperparams={},
            updates=jax.tree.map(jnp.zeros_like, params),
            direction=jax.tree.map(jnp.zeros_like, params),
            slope=zero,
            step_size=zero,
            beta=zero,
            restarted=jnp.zeros((), bool),
            linesearch=linesearch.init(params),
        )

    def update_fn(
        updates: PyTree,
        state: NonlinearCGState,
        params: PyTree | None = None,
        *,
        value: Array,
        grad: PyTree,
        value_fn: Loss,
    ) -> tuple[PyTree, NonlinearCGState]:
        g = updates
        b = share(g, state.updates, state.direction)
        d = optax.tree.add_scale(optax.tree.scale(-1, g), b, state.direction)
        gg, slope = vdot(g, g), vdot(g, d)
        ascends = ~(slope < 0)
        b = jnp.where(ascends, 0.0, b)
        d = jax.tree.map(lambda d, g: jnp.where(ascends, -g, d), d, g)
        slope = jnp.where(ascends, -gg, slope)

        # Bounded: one step into a minimum makes the quotient of the slopes huge.
        guess = state.step_size * jnp.minimum(state.slope / slope, 10.0)
        length_one = jnp.where(gg > 0, 1 / jnp.sqrt(gg), 1.0)
        guess = jnp.where(guess > 0, guess, length_one)
        there = jax.grad(value_fn)(optax.tree.add_scale(params, guess, d))
        guess = guess * _to_the_zero_of_the_secant(slope, vdot(there, d))
        step, search = linesearch.update(
            optax.tree.scale(guess, d),
            state.linesearch,
            params,
            value=value,
            grad=grad,
            value_fn=value_fn,
        )
        step, search, refused = without_rise(step, search, value)
        return step, NonlinearCGState(
            count=optax.safe_increment(state.count),
            hyperparams={},
            updates=g,
            direction=jax.tree.map(lambda d: jnp.where(refused, 0.0, d), d),
            slope=slope,
            step_size=jnp.where(refused, 0.0, guess * search.learning_rate),
            beta=b,
            restarted=ascends & (state.count > 0),
            linesearch=search,
        )

    return in_one_dtype(
        "nonlinear_cg", optax.GradientTransformationExtraArgs(init_fn, update_fn)
    )


def _to_the_zero_of_the_secant(slope: Array, slope_there: Array) -> Array:
    """By how much a trial step is to be longer; 1 where the slope does not rise."""
    rise = slope_there - slope
    factor = -slope / jnp.where(rise > 0, rise, 1.0)
    return jnp.where(rise > 0, jnp.clip(factor, 1e-3, 1e3), 1.0)

"""Methods that evaluate the loss themselves."""

import functools

import jax
import optax

import optix_tricks as ot
from cases.row import Case, with_a_loss


def optax_lbfgs() -> optax.GradientTransformationExtraArgs:
    """Optax's, which refuses arguments that it does not know."""
    tx = optax.lbfgs(memory_size=3)

    def update(grads, state, params, *, grad_fn=None, **known):
        del grad_fn
        return tx.update(grads, state, params, **known)

    return with_a_loss(optax.GradientTransformationExtraArgs(tx.init, update))


LINKS: list[Case] = []

OPTIMISERS: list[Case] = []

ROWS = [
    Case(
        "newton_cg",
        ot.newton_cg,
        {"max_radius": 100.0, "min_ratio": 0.05, "forcing": 0.1},
        {"initial_radius": 0.5, "max_cg_steps": 50},
    ),
    # A secant's step divides by a difference of slopes, here a sixtieth of them.
    Case(
        "nonlinear_cg",
        ot.nonlinear_cg,
        {},
        roundings={"float64_is_kept": 10.0, "packed_form_follows_the_tree": 2.0},
    ),
    Case("bfgs", ot.bfgs, {}),
    Case(
        "lbfgs",
        ot.lbfgs,
        {},
        {"memory_size": 3},
        twin=optax_lbfgs,
    ),
    Case(
        "escape_saddle",
        functools.partial(ot.escape_saddle, ot.sgd(0.1), jax.random.key(0)),
        {"gradient_tolerance": 0.01, "curvature_tolerance": 0.01, "radius": 0.5},
        {"lanczos_steps": 10, "max_backtracking_steps": 10},
        twin=lambda: ot.sgd(0.1),
    ),
]

SECOND_ORDER = [case._replace(compiled=True, looks_ahead=True) for case in ROWS]

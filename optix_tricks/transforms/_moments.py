"""What Adam and its kin share: two averages, corrected for their start at zero."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._storage import check_state_dtype
from optix_tricks._tree import Mask, safe_sqrt
from optix_tricks.transforms._bias_correction import bias_correction


def squares(v: Array, g: Array, s: SimpleNamespace) -> Array:
    """The average of squared gradients."""
    return s.b2 * v + s.new2 * jnp.square(g)


def by_moments(
    direction: Callable[..., tuple],
    state: Callable[..., Any],
    *,
    hyperparams: Mapping[str, ScalarOrSchedule],
    second: Callable[..., Array] = squares,
    more_slots: tuple[str, ...] = (),
    prepare: Callable[[dict, Array], dict[str, Array]] | None = None,
    reports: tuple[str, ...] = (),
    mask: Mask | None = None,
    mu_dtype: Any = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Lift a direction, made of the moments of one array, to trees.

    Args:
      direction: `direction(g, m, v, *more_slots, s) -> (update, *more_slots)` with
        :math:`m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t`, the second moment and this
        step's scalars: hyperparameters, `new1` and `new2`, :math:`1 - \beta`;
        `correct1`, `correct2` and `correct1_next`, :math:`1 - \beta^t`; and what
        `prepare` makes.
      state: the state's class, with the slots `mu`, `nu` and `more_slots`.
      hyperparams: `b1` and `b2` in [0, 1), all others zero or positive.
      second: `second(v, g, s)`, the new second moment.
      more_slots: slots that begin at zero.
      prepare: `prepare(hyperparams, count)`, more scalars.
      reports: the names among them that are state fields.
      mask: which leaves; the others pass unchanged and have no slots.
      mu_dtype: dtype of `mu`; None for `state_dtype`.
      state_dtype: dtype of all slots.
    """
    for name, value in hyperparams.items():
        (check_decay if name in ("b1", "b2") else check_nonnegative)(name, value)
    check_state_dtype(mu_dtype, "mu_dtype")

    def prepared(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {
            "new1": 1 - h["b1"],
            "new2": 1 - h["b2"],
            "correct1": bias_correction(h["b1"], count),
            "correct1_next": bias_correction(h["b1"], count + 1),
            "correct2": bias_correction(h["b2"], count),
        } | (prepare(h, count) if prepare else {})

    def rule(
        g: Array, w: Array | None, m: Array, v: Array, *more: Array, **scalars: Array
    ) -> tuple[Array, ...]:
        s = SimpleNamespace(**scalars)
        m = s.b1 * m + s.new1 * g
        v = second(v, g, s)
        u, *more_new = direction(g, m, v, *more, s)
        return u, m, v, *more_new

    return leafwise(
        rule,
        state,
        hyperparams=hyperparams,
        slots=dict.fromkeys(("mu", "nu", *more_slots), 0.0),
        slot_dtypes={"mu": mu_dtype},
        prepare=prepared,
        reports=reports,
        mask=mask,
        state_dtype=state_dtype,
    )


def first(g: Array, m: Array, s: SimpleNamespace, nesterov: bool) -> Array:
    """The corrected first moment, Adam's or Nadam's."""
    if nesterov:
        return s.b1 * (m / s.correct1_next) + s.new1 * (g / s.correct1)
    return m / s.correct1


def root(square: Array, s: SimpleNamespace) -> Array:
    """The root of a second moment, with both epsilons."""
    return safe_sqrt(square + s.eps_root) + s.eps

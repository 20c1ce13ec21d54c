"""Dynamic loss scaling: small gradients survive float16, and overflows are left out."""

import functools
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._checks import check_fraction, check_positive
from optix_tricks._hyperparams import (
    Scalar,
    ScalarOrSchedule,
    as_scalar,
    current_values,
    first_values,
)
from optix_tricks._paths import unbox
from optix_tricks._tree import PyTree, is_inexact, widen
from optix_tricks.transforms._in_float32 import in_float32
from optix_tricks.transforms._skip_nonfinite import all_finite
from optix_tricks.transforms._wrapper import as_steps, update_if


class DynamicLossScaleState(NamedTuple):
    """State of `dynamic_loss_scale`."""

    count: Any  # int32 [], steps done, left out or not
    hyperparams: dict[str, Any]  # growth and backoff, see there
    loss_scale: Float[Array, ""]  # for the next loss
    good_steps: Int[Array, ""]  # since the scale last changed or a step was left out
    last_finite: Bool[Array, ""]  # whether the last gradients were finite
    total_notfinite: Int[Array, ""]  # steps left out
    inner_state: Any  # of the wrapped transformation

    def report(self) -> dict[str, PyTree]:
        """The scale for the next step, and what the last gradients were."""
        return {
            "loss_scale": self.loss_scale,
            "last_finite": self.last_finite,
            "total_notfinite": self.total_notfinite,
        }


def dynamic_loss_scale(
    inner: optax.GradientTransformation,
    *,
    init_scale: Scalar = 2.0**15,
    growth_steps: int | ScalarOrSchedule = 2000,
    growth_factor: ScalarOrSchedule = 2.0,
    backoff_factor: ScalarOrSchedule = 0.5,
    min_scale: ScalarOrSchedule = 1.0,
    max_scale: ScalarOrSchedule = 2.0**24,
) -> optax.GradientTransformationExtraArgs:
    r"""Undo the scale of the loss, and choose the next one.

    .. math::
        u = \begin{cases} \mathrm{inner}(g / S) \\ 0 \end{cases} \qquad
        S \leftarrow \begin{cases}
        S \text{, every } n \text{ steps } \min(\gamma S, S_{\max})
        & \text{all of } g \text{ is finite} \\
        \max(\beta S, S_{\min}) & \text{otherwise} \end{cases}

    float16 ends at 6e-8, and gradients below become zero. A loss multiplied by :math:`S`
    has gradients :math:`S` times as large; the step multiplies it, this wrapper divides
    again, in float32, where the small ones fit. If a gradient overflowed the step is left
    out: the inner transformation is not run and its state stands still. The rule is that
    of `torch.amp.GradScaler`, within bounds and from 2^15 where that begins at 2^16.

    ::

        def step(params, opt_state, batch):
            scale = loss_scale(opt_state)
            grads = jax.grad(lambda p: scale * loss(p, batch))(params)
            updates, opt_state = tx.update(grads, opt_state, params)

    The loss is in float32: float16 would hold no scale above 65,504.

    The order is

    ::

        clipped = optax.chain(clip_by_global_norm(1.0), adam(1e-3))
        tx = dynamic_loss_scale(accumulate(clipped, 4))

    so that everything below sees gradients as they are: a clip outside of it clips what
    is :math:`S` times too large, and an accumulation outside of it loses a whole batch to
    one overflow and adds up gradients of different scales. `master_weights` goes
    outside: what it returns must not be rounded. The extra arguments `value`, `grad`,
    `value_fn` and `grad_fn` are divided as well, so that `sam` works inside; its second
    gradients may overflow too: `dynamic_loss_scale(sam(skip_nonfinite(inner)))`.

    Helps in float16. Does nothing in bfloat16 and float32, whose range is that of
    float32.

    Args:
      inner: any transformation.
      init_scale: the first :math:`S`, between the bounds.
      growth_steps: :math:`n` >= 1, good steps in a row before the scale grows.
      growth_factor: :math:`\gamma` >= 1; 1 keeps the scale from growing.
      backoff_factor: :math:`\beta` in [0, 1].
      min_scale: :math:`S_{\min}` > 0. If the gradients overflow there too, the error lies
        elsewhere, and every step is left out: watch `loss_scale` and `total_notfinite`.
      max_scale: :math:`S_{\max}`.

    Returns:
      A transformation; no slots; reads each gradient once more, one division per element.
      Reports `loss_scale` (of the next step), `last_finite` and `total_notfinite`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = dynamic_loss_scale(ot.sgd(1.0), init_scale=512.0)
      >>> w = jnp.ones(1, jnp.float16)
      >>> state = tx.init(w)
      >>> for factor in (1.0, 1e5):
      ...     grads = jax.grad(lambda w: loss_scale(state) * factor * w.sum())(w)
      ...     updates, state = tx.update(grads, state, w)
      ...     print(grads, updates, loss_scale(state))
      [512.] [-1.] 512.0
      [inf] [0.] 256.0

    References:
      Micikevicius et al., Mixed precision training, 2018, section 3.2.
    """
    check_positive("init_scale", init_scale)
    check_positive("growth_factor", growth_factor)
    check_fraction("backoff_factor", backoff_factor)
    check_positive("min_scale", min_scale)
    check_positive("max_scale", max_scale)
    _check_order("growth_factor", growth_factor, "1", 1)
    _check_order("init_scale", init_scale, "min_scale", min_scale)
    _check_order("max_scale", max_scale, "init_scale", init_scale)
    hyperparams = {
        "growth_steps": as_steps("growth_steps", growth_steps, minimum=1),
        "growth_factor": growth_factor,
        "backoff_factor": backoff_factor,
        "min_scale": min_scale,
        "max_scale": max_scale,
    }
    inner = in_float32(inner)

    def init(params: PyTree) -> DynamicLossScaleState:
        return DynamicLossScaleState(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(hyperparams),
            loss_scale=as_scalar(init_scale),
            good_steps=jnp.zeros((), jnp.int32),
            last_finite=jnp.ones((), bool),
            total_notfinite=jnp.zeros((), jnp.int32),
            inner_state=inner.init(params),
        )

    def update(
        updates: PyTree,
        state: DynamicLossScaleState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, DynamicLossScaleState]:
        h = current_values(hyperparams, state.hyperparams, state.count)
        scale = state.loss_scale
        finite = all_finite(updates)

        def unscaled(g: Any) -> Any:
            if not is_inexact(g):
                return g
            g = widen(jnp.asarray(g))  # what float16 holds times S may not fit without
            return g / scale.astype(g.dtype)

        def step() -> tuple[PyTree, Any]:
            gradients = jax.tree.map(unscaled, updates)
            offered = _unscaled_arguments(extra_args, unscaled)
            return inner.update(gradients, state.inner_state, params, **offered)

        new_updates, inner_state = update_if(finite, step, updates, state.inner_state)
        good_steps = jnp.where(finite, state.good_steps + 1, 0)
        grows = as_scalar(good_steps) >= h["growth_steps"]
        larger = jnp.minimum(h["growth_factor"] * scale, h["max_scale"])
        smaller = jnp.maximum(h["backoff_factor"] * scale, h["min_scale"])
        in_all = optax.safe_increment(state.total_notfinite)
        return new_updates, DynamicLossScaleState(
            count=optax.safe_increment(state.count),
            hyperparams=h,
            loss_scale=jnp.where(finite, jnp.where(grows, larger, scale), smaller),
            good_steps=jnp.where(grows, 0, good_steps),
            last_finite=finite,
            total_notfinite=jnp.where(finite, state.total_notfinite, in_all),
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def loss_scale(opt_state: PyTree, *, default: Scalar | None = None) -> Array:
    """Return the factor by which to multiply the next loss.

    Args:
      opt_state: the state of any chain or wrapper with `dynamic_loss_scale` in it.
      default: the factor where the state holds no scale; None raises.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: if the state holds no scale and there is no default, or more than one.

    Examples:
      >>> import optix_tricks as ot
      >>> print(loss_scale(dynamic_loss_scale(ot.sgd(0.1)).init(jnp.zeros(2))))
      32768.0
    """

    def is_scaled(node: Any) -> bool:
        return isinstance(node, DynamicLossScaleState)

    nodes = jax.tree.leaves(unbox(opt_state), is_leaf=is_scaled)
    scales = [node.loss_scale for node in nodes if is_scaled(node)]
    if not scales and default is not None:
        return as_scalar(default)
    if len(scales) != 1:
        raise ValueError(
            f"opt_state must hold one loss scale, got {len(scales)}: wrap the whole "
            "optimiser in dynamic_loss_scale once."
        )
    return scales[0]


def _unscaled_arguments(
    given: Mapping[str, Any], unscaled: Callable[[Any], Array]
) -> dict[str, Any]:
    """Extra arguments as they would be had the loss not been multiplied."""
    offered = dict(given)
    for name in {"value", "grad"} & given.keys():
        offered[name] = jax.tree.map(unscaled, given[name])
    for name in {"value_fn", "grad_fn"} & given.keys():
        offered[name] = _then(given[name], unscaled)
    return offered


def _then(function: Callable, last: Callable[[Any], Array]) -> Callable:
    @functools.wraps(function)  # its signature is read by those who call it
    def both(*args: Any, **kwargs: Any) -> PyTree:
        return jax.tree.map(last, function(*args, **kwargs))

    return both


def _check_order(name: str, value: Any, bound_name: str, bound: Any) -> None:
    both = isinstance(value, numbers.Real) and isinstance(bound, numbers.Real)
    if both and value < bound:
        raise ValueError(f"{name} must be at least {bound_name}, got {value} < {bound}.")

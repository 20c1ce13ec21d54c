"""Steps whose gradients are NaN or infinite are left out."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from optix_tricks._hyperparams import (
    ScalarOrSchedule,
    as_scalar,
    current_values,
    first_values,
)
from optix_tricks._paths import unbox
from optix_tricks._tree import PyTree, is_inexact
from optix_tricks.transforms._in_float32 import in_float32
from optix_tricks.transforms._wrapper import as_steps, update_if


class SkipNonfiniteState(NamedTuple):
    """State of `skip_nonfinite`."""

    count: Any  # int32 [], steps done, left out or not
    hyperparams: dict[str, Any]  # max_consecutive
    last_finite: Bool[Array, ""]  # whether the last gradients were finite
    notfinite_count: Int[Array, ""]  # how many have not been, in a row up to the last
    total_notfinite: Int[Array, ""]  # and in all
    inner_state: Any  # of the wrapped transformation

    def report(self) -> dict[str, PyTree]:
        """What the last gradients were."""
        return {
            "last_finite": self.last_finite,
            "notfinite_count": self.notfinite_count,
            "total_notfinite": self.total_notfinite,
        }


def skip_nonfinite(
    inner: optax.GradientTransformation,
    *,
    max_consecutive: int | ScalarOrSchedule | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Leave a step out if a gradient in it is NaN or infinite.

    .. math::
        u = \begin{cases} \mathrm{inner}(g) & \text{all of } g \text{ is finite, or }
        c > m \\ 0 & \text{otherwise} \end{cases}

    with :math:`c` the number of gradients in a row, this one included, that are not
    finite. One such element in one leaf leaves out the whole step: the inner
    transformation is not run, and its state, counts and schedules stand still. The first
    :math:`m` in a row are left out; the next ones pass, NaN and all, so that a run that
    is broken shows it instead of standing still for ever. :math:`c` starts again at the
    next finite gradient.

    Helps against rare overflows, of a bad batch or of half precision. Hurts where it
    hides that the network diverges: watch `total_notfinite`. It is
    `optax.apply_if_finite` in float32, with the same counts under the same names.

    In `jax.pmap` and `jax.shard_map` average the gradients first: each device decides for
    itself.

    Args:
      inner: any transformation.
      max_consecutive: :math:`m` >= 0, the most steps in a row to leave out; 0 gives
        `inner` itself, None sets no limit.

    Returns:
      A transformation; no slots; reads each gradient once more. Reports `last_finite`,
      `notfinite_count` in a row and `total_notfinite`.

    Raises:
      ValueError: if `max_consecutive` is negative or no whole number.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = skip_nonfinite(ot.sgd(0.1))
      >>> g = {"a": jnp.ones(2), "b": jnp.array([jnp.nan])}
      >>> updates, state = tx.update(g, tx.init(g))
      >>> print(updates["a"], updates["b"], state.total_notfinite)
      [0. 0.] [0.] 1

    References:
      Micikevicius et al., Mixed precision training, 2018, section 3.2.
    """
    limit = float("inf")
    if max_consecutive is not None:
        limit = as_steps("max_consecutive", max_consecutive, minimum=0)
    hyperparams = {"max_consecutive": limit}
    inner = in_float32(inner)

    def init(params: PyTree) -> SkipNonfiniteState:
        return SkipNonfiniteState(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(hyperparams),
            last_finite=jnp.ones((), bool),
            notfinite_count=jnp.zeros((), jnp.int32),
            total_notfinite=jnp.zeros((), jnp.int32),
            inner_state=inner.init(params),
        )

    def update(
        updates: PyTree,
        state: SkipNonfiniteState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, SkipNonfiniteState]:
        values = current_values(hyperparams, state.hyperparams, state.count)
        finite = all_finite(updates)
        in_a_row = jnp.where(finite, 0, optax.safe_increment(state.notfinite_count))
        in_all = optax.safe_increment(state.total_notfinite)
        new_updates, inner_state = update_if(
            finite | (as_scalar(in_a_row) > values["max_consecutive"]),
            lambda: inner.update(updates, state.inner_state, params, **extra_args),
            updates,
            state.inner_state,
        )
        return new_updates, SkipNonfiniteState(
            count=optax.safe_increment(state.count),
            hyperparams=values,
            last_finite=finite,
            notfinite_count=in_a_row,
            total_notfinite=jnp.where(finite, state.total_notfinite, in_all),
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def skips_steps(opt_state: PyTree) -> bool:
    """Whether an optimiser leaves out steps whose gradients are not finite.

    Args:
      opt_state: the state of any chain or wrapper: of `skip_nonfinite`,
        `dynamic_loss_scale` or `optax.apply_if_finite`, at any depth.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = optax.chain(ot.clip(1.0), skip_nonfinite(ot.sgd(0.1)))
      >>> skips_steps(tx.init(jnp.zeros(2))), skips_steps(ot.sgd(0.1).init(jnp.zeros(2)))
      (True, False)
    """

    def counts(node: Any) -> bool:
        return hasattr(node, "total_notfinite")

    return any(map(counts, jax.tree.leaves(unbox(opt_state), is_leaf=counts)))


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Tell whether no element of any leaf is NaN or infinite.

    >>> print(all_finite({"a": jnp.ones(2), "b": jnp.array([0.0, jnp.inf])}))
    False
    """
    numbers = filter(is_inexact, jax.tree.leaves(tree))
    return jnp.array([jnp.isfinite(x).all() for x in numbers], bool).all()

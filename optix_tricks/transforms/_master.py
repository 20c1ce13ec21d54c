"""Master weights: float32 copies of 16-bit parameters, to which the updates are added."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optix_tricks._tree import PyTree, is_inexact, is_none, widen
from optix_tricks.transforms._in_float32 import in_float32
from optix_tricks.transforms._rounding import is_16_bit, round_to_nearest


class MasterWeightsState(NamedTuple):
    """State of `master_weights`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none
    master: PyTree  # like the parameters, float32; MaskedNode where they are wide
    inner_state: Any  # of the wrapped transformation


def master_weights(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Add the updates to a float32 copy; the parameters are its rounding.

    .. math::
        m \leftarrow m + \mathrm{inner}(g, m), \qquad u = \mathrm{round}(m) - w

    for each parameter :math:`w` in bfloat16 or float16. The inner transformation sees
    the masters as its parameters, and gradients in float32. In 16 bits a step below half
    a unit in the last place is lost every time: in bfloat16 1 - 0.001 is 1. Here such
    steps add up until the parameter moves.

    **The updates leave in float32**, whatever the gradients came in, and
    `optax.apply_updates` gives exactly :math:`\mathrm{round}(m)`: the difference of two
    16-bit numbers :math:`w, v` is exact in float32 as long as :math:`|w| < 2^{12} |v|`
    (and in subnormal float16, as long as it is below 1), and where it is not exact
    because :math:`v` is the larger one, the sum still rounds to :math:`v`. What remains
    is a parameter that falls by a factor of 4,096 or more in one step: there float32 has
    no more digits either, and the parameter may be off by :math:`2^{-24} |w|`.

    In 16 bits the updates would be rounded again: this is the outermost wrapper,
    `master_weights(dynamic_loss_scale(...))`, and no link comes after it.

    A parameter that is not the rounding of its master has been changed from outside
    (restored, averaged, clipped): its master starts anew from it, and the change stays.

    Helps wherever parameters are kept in 16 bits. A network that computes in bfloat16
    from float32 parameters has no need of it. `round_stochastically` needs no memory.

    Beside others: `policy(...)._replace(param=jnp.bfloat16).optimizer(tx)` adds the
    masters by itself.

    Args:
      inner: any transformation.

    Returns:
      A transformation; needs the parameters; four bytes per element of a 16-bit
      parameter. float32 and float64 parameters have no copy and take the inner updates.

    Raises:
      ValueError: if the parameters are not given.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = master_weights(ot.sgd(0.001))
      >>> w = jnp.ones(1, jnp.bfloat16)
      >>> state = tx.init(w)
      >>> for _ in range(2):
      ...     updates, state = tx.update(jnp.ones(1, jnp.bfloat16), state, w)
      ...     w = optax.apply_updates(w, updates)
      ...     print(w, state.master)
      [1] [0.999]
      [0.996094] [0.998]

    References:
      Micikevicius et al., Mixed precision training, 2018, section 3.1.
    """
    inner = in_float32(inner)

    def init(params: PyTree) -> MasterWeightsState:
        return MasterWeightsState(
            count=jnp.zeros((), jnp.int32),
            hyperparams={},
            master=jax.tree.map(_first_master, params),
            inner_state=inner.init(params),
        )

    def update(
        updates: PyTree,
        state: MasterWeightsState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, MasterWeightsState]:
        if params is None:
            raise ValueError(
                "params must be given to master_weights: call update(updates, state, "
                "params)."
            )
        masters = jax.tree.map(_present_master, params, state.master)
        wide, inner_state = inner.update(
            updates, state.inner_state, masters, **extra_args
        )
        treedef: Any
        us, treedef = jax.tree.flatten(wide, is_leaf=is_none)
        trees = (params, masters, state.master)
        leaves = zip(us, *(treedef.flatten_up_to(tree) for tree in trees), strict=True)
        moved = [_move(*leaf) for leaf in leaves]
        return treedef.unflatten(u for u, _ in moved), MasterWeightsState(
            count=optax.safe_increment(state.count),
            hyperparams={},
            master=treedef.unflatten(m for _, m in moved),
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _first_master(w: Any) -> Any:
    if not is_16_bit(w):
        return optax.MaskedNode()
    if isinstance(w, jax.ShapeDtypeStruct):
        return jnp.zeros_like(w, jnp.float32)
    return jnp.array(w, jnp.float32)


def _present_master(w: Any, master: Any) -> Any:
    if not is_inexact(w):
        return w
    wide = widen(jnp.asarray(w))
    if isinstance(master, optax.MaskedNode):
        return wide
    is_ours = round_to_nearest(master, jnp.result_type(w)) == wide
    return jnp.where(is_ours, master, wide)


def _move(u: Any, w: Any, present: Any, kept: Any) -> tuple[Any, Any]:
    """The update of one parameter, and its master after it."""
    if u is None or isinstance(kept, optax.MaskedNode):
        return u, kept
    master = (present + u).astype(jnp.float32)
    wide = widen(jnp.asarray(w))
    return round_to_nearest(master, jnp.result_type(w)) - wide, master

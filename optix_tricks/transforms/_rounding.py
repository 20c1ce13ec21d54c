"""Stochastic rounding: steps below half a unit in the last place count on average."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, UInt32

from optix_tricks._hyperparams import as_key
from optix_tricks._leafwise import look_at
from optix_tricks._paths import path_numbers
from optix_tricks._tree import Mask, PyTree, is_inexact, widen

FLOAT16_UNIT = 2.0**-24  # the distance of neighbours below the smallest normal number


class RoundStochasticallyState(NamedTuple):
    """State of `round_stochastically`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # none


def round_stochastically(
    key: Array | int, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Round the sum of parameter and update up or down by chance; the last link.

    .. math::
        w + u' = \begin{cases}
        \lceil x \rceil & \text{with probability }
        (x - \lfloor x \rfloor) / (\lceil x \rceil - \lfloor x \rfloor) \\
        \lfloor x \rfloor & \text{otherwise} \end{cases}
        \qquad x = w + u, \quad \mathrm{E}[w + u'] = w + u

    where :math:`\lfloor x \rfloor, \lceil x \rceil` are the neighbours of :math:`x` in
    the parameter's dtype, bfloat16 or float16. `optax.apply_updates` rounds to the
    nearest, and a step below half a unit in the last place is lost every time: in
    bfloat16 1 - 0.001 is 1. Rounded by chance it is 1 or 0.9961, and 0.999 on average.

    **The updates leave in float32**, whatever they came in: `apply_updates` adds them in
    float32 and rounds to :math:`w + u'`, which is in the dtype already. In 16 bits they
    would be rounded again, so that this link stands last, outside of every wrapper. A
    zero update leaves the parameter as it is.

    Helps where memory for float32 parameters is short: no bytes at all, where
    `master_weights` takes four per parameter. Hurts a little at the end of training:
    the noise is of half a unit per step, :math:`|w| / 512` in bfloat16, and does not
    shrink with the rate.

    The sum is formed in float32, and chance has 16 bits: steps below 2e-6 :math:`|w|`
    (float16: 6e-8) are seen in part. Beyond the largest finite number the neighbour is
    infinity. Where :math:`w + u` is smaller than :math:`w` by a factor of :math:`2^{12}`
    or more, float32 may miss the neighbour by :math:`2^{-24} |w|`.

    Args:
      key: a JAX key or a seed. The bits of a step come from the key, the step and the
        parameter's path: a restored state goes on as the run that was interrupted would
        have, and so does a packed one.
      mask: which leaves are rounded by chance; the others take their updates.

    Returns:
      A transformation; no slots; needs the parameters; 16 random bits per element, which
      cost more than Adam on a CPU. float32 and float64 parameters take their updates as
      they are.

    Raises:
      ValueError: if the parameters are not given.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = optax.chain(ot.sgd(1.0), round_stochastically(jax.random.key(0)))
      >>> w = jnp.ones(10_000, jnp.bfloat16)
      >>> updates, _ = tx.update(jnp.full(10_000, 0.001), tx.init(w), w)
      >>> print(jnp.unique(optax.apply_updates(w, updates)))
      [0.996094 1]
      >>> print(f"{updates.mean():.4f}")
      -0.0010

    References:
      Gupta, Agrawal, Gopalakrishnan and Narayanan, Deep learning with limited numerical
      precision, 2015, section 3.
      Zamirai, Zhang, Aberger and De Sa, Revisiting bfloat16 training, 2020.
    """
    key = as_key(key)

    def init(params: PyTree) -> RoundStochasticallyState:
        look_at(params, mask)
        return RoundStochasticallyState(jnp.zeros((), jnp.int32), {})

    def update(
        updates: PyTree,
        state: RoundStochasticallyState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, RoundStochasticallyState]:
        del extra_args
        if params is None:
            raise ValueError(
                "params must be given to round_stochastically: call update(updates, "
                "state, params)."
            )
        step_key = jax.random.fold_in(key, state.count)
        us, form, *looks = look_at(updates, mask, path_numbers, like=params)

        def by_chance(leaf: Any, u: Array, w: Array) -> tuple[Array]:
            chance = jax.random.bits(
                jax.random.fold_in(step_key, leaf.label), u.shape, jnp.uint16
            )
            wide = widen(w)
            x = (wide + u).astype(jnp.float32)
            return (round_by_chance(x, w.dtype, chance.astype(jnp.uint32)) - wide,)

        def rounded(u: Any, w: Any, kept: bool, layer: Any) -> Any:
            if not is_inexact(u):
                return u
            u = widen(jnp.asarray(u))
            if not (kept and is_16_bit(w)):
                return u
            return layer.map(by_chance, u, jnp.asarray(w))[0]

        leaves = zip(us, form.boxed.flatten_up_to(params), *looks, strict=True)
        new_updates = [rounded(*leaf) for leaf in leaves]
        count = optax.safe_increment(state.count)
        return form.boxed.unflatten(new_updates), RoundStochasticallyState(count, {})

    return optax.GradientTransformationExtraArgs(init, update)


def is_16_bit(x: Any) -> bool:
    """Tell whether an array or a shape is bfloat16 or float16."""
    return getattr(x, "dtype", None) in (jnp.bfloat16, jnp.float16)


def round_by_chance(
    x: Float[Array, "*shape"], dtype: Any, chance: UInt32[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return a neighbour of `x` in a 16-bit dtype, as float32.

    Args:
      x: float32.
      dtype: bfloat16 or float16.
      chance: uniform in [0, 2^16).
    """
    dropped = 23 - jnp.finfo(dtype).nmant
    bits = lax.bitcast_convert_type(x, jnp.uint32) + (chance >> (16 - dropped))
    rounded = lax.bitcast_convert_type(bits >> dropped << dropped, jnp.float32)
    if dtype == jnp.float16:
        share = jnp.abs(x) / FLOAT16_UNIT
        below = jnp.floor(share)
        up = chance / jnp.float32(1 << 16) < share - below
        subnormal = jnp.copysign((below + up) * FLOAT16_UNIT, x)
        rounded = jnp.where(_is_subnormal(x), subnormal, rounded)
    return jnp.where(jnp.isfinite(x), rounded, x)


def round_to_nearest(x: Float[Array, "*shape"], dtype: Any) -> Float[Array, "*shape"]:
    """Return the nearest value in a 16-bit dtype, ties to even, as float32.

    A cast there and back could be taken for a detour and left out by the compiler.
    """
    info = jnp.finfo(dtype)
    rounded = lax.reduce_precision(x, info.nexp, info.nmant)
    if dtype == jnp.float16:  # whose subnormal numbers are reduced to zero
        subnormal = jnp.round(x / FLOAT16_UNIT) * FLOAT16_UNIT
        rounded = jnp.where(_is_subnormal(x), subnormal, rounded)
    return rounded


def _is_subnormal(x: Array) -> Array:
    return jnp.abs(x) < jnp.finfo(jnp.float16).tiny

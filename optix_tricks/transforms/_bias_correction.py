"""The weight that a zero-initialised moving average has gathered."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def bias_correction(decay: Float[Array, ""], count: Int[Array, ""]) -> Float[Array, ""]:
    r"""Return :math:`1 - \beta^t`, right to rounding even where beta is close to 1.

    Written as :math:`-\mathrm{expm1}(t \, \mathrm{log1p}(-(1 - \beta)))`: the direct form
    cancels, and is wrong by 1e-5 for :math:`\beta = 0.999, t = 2` in float32.

    >>> print(f"{bias_correction(jnp.float32(0.999), jnp.int32(1)):.8f}")
    0.00099999

    That is one minus the float32 nearest to 0.999: the averages are formed with the same
    rounded decay, so that the quotient is exact.
    """
    return -jnp.expm1(count.astype(decay.dtype) * jnp.log1p(-(1 - decay)))

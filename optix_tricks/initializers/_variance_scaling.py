"""JAX's initialiser whose variance is that of a fan."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
from jax.nn import initializers as jax_init

from optix_tricks.initializers._standard import Initializer, drawn_in_float32

Axes: TypeAlias = int | Sequence[int]


@drawn_in_float32
def variance_scaling(
    scale: Any,
    mode: Any,
    distribution: Any,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Sequence[int] = (),
    dtype: jax.typing.DTypeLike | None = None,
) -> Initializer:
    """Draw with a variance that is divided by a fan.

        Var w = scale / n,    n the fan of `mode`

    Kernels are [..., in, out], and a fan is the product of that axis and all but the
    other one: at stride or in grouped convolutions the fan out is counted too large.

    Helps deep nets, with a scale for their nonlinearity. Does little where a norm follows
    each layer: the scale of the weights does not change the output, only the effective
    step. Cost: one draw an element.

    Beside others: before a norm, kernels twice as large take effective steps four times
    smaller at the same learning rate. `lsuv` finds the scale that a nonlinearity needs.

    Args:
        scale: positive.
        mode: "fan_in", "fan_out", "fan_avg" or "fan_geo_avg".
        distribution: "truncated_normal", widened by 1 / 0.8796 so that the variance
            holds, "normal", which is not cut, or "uniform".
        in_axis: of the inputs, one or more.
        out_axis: of the outputs, likewise.
        batch_axis: which count in neither fan.
        dtype: of the values, where the call does not say.

    Returns:
        `init(key, shape, dtype, out_sharding)`.

    Examples:
        >>> init = variance_scaling(2.0, "fan_out", "normal")
        >>> w = init(jax.random.key(0), (3, 3, 64, 64))
        >>> print(f"{w.var() * 9 * 64:.1f}")
        2.0

    Source: `jax.nn.initializers.variance_scaling`; "Delving Deep into Rectifiers", He et
    al., 2015.
    """
    return jax_init.variance_scaling(
        scale, mode, distribution, in_axis, out_axis, batch_axis, dtype
    )

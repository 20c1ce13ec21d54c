"""Class indices as distributions over the classes."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Number
from optix_tricks.losses._labels import as_index, check_classes


def one_hot(
    labels: Array,
    num_classes: int,
    *,
    on_value: Number = 1.0,
    off_value: Number = 0.0,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "*batch classes"]:
    """Return class indices as dense labels.

        y_k = on_value     where k is the label
            = off_value    elsewhere

    Smoothed labels have on_value = 1 - s + s / K and off_value = s / K; they are what
    `optax.smooth_labels` makes of a dense array. Differs from `jax.nn.one_hot` in the two
    values, and outside [0, K): such a label is an error where it is known and a row of
    NaN where it is traced, not a row without a label.

    Helps where a loss wants dense labels or labels are to be mixed. Does little for
    `cross_entropy`, which takes the integers. Cost: K values an example.

    Args:
        labels: [*batch], integers in [0, K).
        num_classes: K >= 1.
        on_value: of the label, a number or a scalar array.
        off_value: of the other classes.
        dtype: of the result, floating.

    Returns:
        Dense labels, as `cross_entropy` and `mean_squared_error` take them.

    Raises:
        ValueError: if `labels` are not integers, a known one is outside [0, K), a value
            is not finite, or `dtype` is not floating.

    Examples:
        >>> print(one_hot(jnp.array([0, 2]), 4))
        [[1. 0. 0. 0.]
         [0. 0. 1. 0.]]
        >>> print(one_hot(jnp.array([2]), 4, on_value=0.7, off_value=0.1))
        [[0.1 0.1 0.7 0.1]]

    Source: "tf.one_hot", TensorFlow, 2015, for the two values.
    """
    check_count("num_classes", num_classes, minimum=1)
    check_number("on_value", on_value)
    check_number("off_value", off_value)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels must be integers, got {labels.dtype}{list(labels.shape)}; floating"
            " labels are dense already."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"dtype must be floating, got {jnp.dtype(dtype)}; the losses take integers"
            " for class indices."
        )
    check_classes(labels, num_classes)
    index = as_index(labels, num_classes)
    hot = jax.nn.one_hot(index, num_classes, dtype=bool)
    dense = jnp.where(hot, on_value, off_value)
    return jnp.where((index < num_classes)[..., None], dense, jnp.nan).astype(dtype)

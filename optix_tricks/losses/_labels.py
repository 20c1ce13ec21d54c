"""What the classification losses share: checks of labels, and sums over them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

Logits = Float[Array, "*batch classes"]
Labels = Integer[Array, "*batch"] | Float[Array, "*batch classes"]


def check_labels(
    logits: Array, labels: Array, *, names: tuple[str, str] = ("logits", "labels")
) -> None:
    """Raise unless `labels` are class indices or distributions for `logits`.

    Class indices are compared with the number of classes where their values are known,
    that is outside of `jit`, `vmap` and `scan`; see `at_label` for the others.
    """
    scores, targets = names
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"{scores} must be floating, got {logits.dtype}{list(logits.shape)};"
            " pass the scores before softmax."
        )
    if logits.ndim == 0:
        raise ValueError(f"{scores} must have the classes as last axis, got a scalar.")
    if jnp.issubdtype(labels.dtype, jnp.integer):
        wanted, way_out = logits.shape[:-1], "one-hot labels must be floating"
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        wanted, way_out = logits.shape, "class indices must be integers"
    else:
        raise ValueError(
            f"{targets} must be integers or floating,"
            f" got {labels.dtype}{list(labels.shape)}; convert them with astype."
        )
    if labels.shape != wanted:
        raise ValueError(
            f"{targets} of {labels.dtype} must have shape {list(wanted)} for {scores} of"
            f" shape {list(logits.shape)}, got {list(labels.shape)}; {way_out}."
        )
    if jnp.issubdtype(labels.dtype, jnp.integer):
        check_classes(labels, logits.shape[-1], name=targets)


def check_classes(labels: Array, classes: int, *, name: str = "labels") -> None:
    """Raise if a class index whose value is known is outside [0, classes)."""
    if isinstance(labels, jax.core.Tracer):
        return
    if isinstance(labels, jax.Array) and not labels.is_fully_addressable:
        return
    known = np.asarray(labels)
    outside = known[(known < 0) | (known >= classes)]
    if outside.size:
        raise ValueError(
            f"{name} must be in [0, {classes}), got {outside[0]}; replace it by 0 and"
            " leave its loss out with jnp.where."
        )


def as_index(labels: Integer[Array, "*batch"], classes: int) -> Integer[Array, "*batch"]:
    """Return labels as indices, `classes` in place of what is outside [0, classes)."""
    index = labels.astype(int)  # before comparing: uint8 cannot hold a count of 300
    return jnp.where((index < 0) | (index >= classes), classes, index)


def at_label(values: Logits, labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Return each example's value at its label, NaN where that is no class."""
    index = as_index(labels, values.shape[-1])[..., None]
    return jnp.take_along_axis(values, index, axis=-1, mode="fill")[..., 0]


def expectation(values: Logits, labels: Labels) -> Float[Array, "*batch"]:
    """Return Σ_k q_k values_k for labels q, where 0 times infinity is 0."""
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return at_label(values, labels)
    q = labels.astype(values.dtype)
    return jnp.sum(jnp.where(q == 0, 0, q * values), axis=-1)

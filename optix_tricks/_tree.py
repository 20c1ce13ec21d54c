"""Parameter paths, masks over a tree, and norms that do not overflow in low precision."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any
Mask = PyTree | Callable[[PyTree], PyTree]

NOT_DECAYED = frozenset({"bias", "scale", "gamma", "beta"})
LAST_LAYERS = frozenset({"head", "lm_head", "classifier", "logits", "fc", "output_layer"})


def is_none(x: Any) -> bool:
    """Tell whether `x` is None: such leaves stand for "no gradient" and are kept."""
    return x is None


def path_name(path: tuple) -> str:
    """Write a key path the way people do.

    >>> paths = jax.tree_util.tree_flatten_with_path({"a": [1, {"b": 2}]})[0]
    >>> [path_name(path) for path, _ in paths]
    ['a/0', 'a/1/b']
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def mask_by_path(pattern: str) -> Callable[[PyTree], PyTree]:
    """Build a mask that is True where `pattern` is found in the parameter's path.

    >>> mask_by_path("conv.*/kernel$")({"conv1": {"kernel": 1, "bias": 2}, "head": 3})
    {'conv1': {'bias': False, 'kernel': True}, 'head': False}
    """
    search = re.compile(pattern).search
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: search(path_name(path)) is not None, tree
    )


def mask_by_rank(min_rank: int) -> Callable[[PyTree], PyTree]:
    """Build a mask that is True for arrays of at least `min_rank` axes.

    >>> mask_by_rank(2)({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)})
    {'bias': False, 'kernel': True}
    """
    return lambda tree: jax.tree.map(lambda x: jnp.ndim(x) >= min_rank, tree)


def no_bias_or_norm(tree: PyTree) -> PyTree:
    """Mask out biases and the scales and shifts of normalisation layers.

    False for every array of fewer than two axes and for every leaf called `bias`,
    `scale`, `gamma` or `beta`; True for the rest: kernels and embeddings. The usual
    mask of weight decay and of layer-wise rates (Goyal et al., 2017; He et al., 2018).

    >>> no_bias_or_norm({"conv": jnp.ones((3, 3, 1, 8)), "norm": {"scale": jnp.ones(8)}})
    {'conv': True, 'norm': {'scale': False}}
    """
    _refuse_count("no_bias_or_norm", tree)
    return jax.tree_util.tree_map_with_path(
        lambda path, x: (
            jnp.ndim(x) >= 2 and path_name(path[-1:]).lower() not in NOT_DECAYED
        ),
        tree,
    )


def no_last_layer(tree: PyTree) -> PyTree:
    """Mask out the layer that makes the logits, by its usual names.

    False for every leaf below a node called `head`, `lm_head`, `classifier`, `logits`,
    `fc` or `output_layer`; True for the rest. The mask of adaptive gradient clipping
    (Brock et al., 2021). Where the layer has another name, say `top`, use
    `mask_by_path("^(?!top/)")`.

    >>> no_last_layer({"conv": {"kernel": 1}, "head": {"kernel": 2, "bias": 3}})
    {'conv': {'kernel': True}, 'head': {'bias': False, 'kernel': False}}
    """
    _refuse_count("no_last_layer", tree)
    return jax.tree_util.tree_map_with_path(
        lambda path, _: LAST_LAYERS.isdisjoint(path_name(path).lower().split("/")), tree
    )


def _refuse_count(mask: str, tree: PyTree) -> None:
    if jax.tree_util.all_leaves([tree]) and jnp.issubdtype(
        jnp.result_type(tree), jnp.integer
    ):
        raise ValueError(
            f"{mask} is a mask and was called as a schedule: name `mask` in static_args "
            "of optax.inject_hyperparams."
        )


def resolve_labels(
    labels: Any, tree: PyTree, *, name: str = "labels", kind: str = "labels"
) -> list:
    """Return one label for each leaf of `tree`, None leaves included.

    Args:
      labels: a tree of labels, a prefix of one, or a function of the tree.
      tree: arrays or shapes.
      name: the argument's name in the error.
      kind: what it holds, for the error.

    Raises:
      ValueError: if the labels' structure is no prefix of the tree's.
    """
    # A callable that is a tree itself (a module of parameters) is no function.
    if callable(labels) and jax.tree_util.all_leaves([labels]):
        labels = labels(tree)
    try:
        full = jax.tree.map(
            lambda label, branch: jax.tree.map(lambda _: label, branch, is_leaf=is_none),
            labels,
            tree,
            is_leaf=is_none,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must be a tree of {kind} shaped like the parameters (or a prefix of "
            f"it), or a function that returns one: {error}"
        ) from error
    return jax.tree.leaves(full, is_leaf=is_none)


def resolve_mask(mask: Mask | None, tree: PyTree) -> list[bool]:
    """Return one bool for each leaf of `tree`, None leaves included.

    Raises:
      ValueError: if the mask's structure is no prefix of the tree's or holds something
        other than True and False.
    """
    leaves = jax.tree.leaves(tree, is_leaf=is_none)
    if mask is None:
        return [True] * len(leaves)
    flags = resolve_labels(mask, tree, name="mask", kind="bools")
    for flag, x in zip(flags, leaves, strict=True):
        is_bool = isinstance(flag, bool) or getattr(flag, "dtype", "") == "bool"
        if x is not None and not (is_bool and jnp.ndim(flag) == 0):
            raise ValueError(f"mask must hold True or False, got {flag!r}.")
    return [bool(flag) for flag in flags]


def check_floating(tree: PyTree) -> None:
    """Raise unless every leaf of `tree` is real floating point, or None.

    Raises:
      ValueError: naming the first other leaf by its path.
    """
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        dtype = jnp.result_type(x)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"gradients and parameters must be real floating-point arrays, got "
                f"{dtype} at '{path_name(path)}': mask such leaves out with "
                "optax.masked, or split complex ones with "
                "optax.contrib.split_real_and_imaginary."
            )


def wide_dtype(*dtypes: Any) -> np.dtype:
    """Return float64 if one of the dtypes is, else float32.

    Not `jnp.promote_types`, which refuses 16 bits under strict promotion.

    >>> print(wide_dtype(jnp.bfloat16, jnp.float32))
    float32
    """
    wide = any(jnp.result_type(dtype) == jnp.float64 for dtype in dtypes)
    return jnp.dtype(jnp.float64 if wide else jnp.float32)


def widen(x: Array) -> Array:
    """Cast 16-bit floats to float32; leave float32 and float64 as they are."""
    return x.astype(wide_dtype(x.dtype))


@jax.jit  # traced once a shape, not once a leaf
def safe_sqrt(x: Array) -> Array:
    """Square root whose derivative at 0 is 0, not infinite: of norms and their kin.

    The derivative of a norm |x| at x = 0 is then 0 and not 0 / 0, that of g / (|g| + eps)
    is 1 / eps. Nothing is added to the computation of the root itself.

    >>> print(jax.grad(lambda x: safe_sqrt(jnp.sum(x**2)))(jnp.zeros(2)))
    [0. 0.]
    """
    return _sqrt(x)


@jax.custom_jvp
def _sqrt(x: Array) -> Array:
    return jnp.sqrt(x)


@_sqrt.defjvp
def _sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = _sqrt(*primals)
    slope = jnp.where(y == 0, 0.0, 0.5 / jnp.where(y == 0, 1.0, y))
    return y, slope * tangents[0]


@jax.jit
def safe_divide(x: Array, size: Array) -> Array:
    """Return x / size, or 0 where `size` is 0, with derivatives that are finite there.

    >>> print(safe_divide(jnp.array([3.0, 0.0]), jnp.array([2.0, 0.0])))
    [1.5 0. ]
    """
    return jnp.where(size == 0, 0.0, x / jnp.where(size == 0, 1.0, size))


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, summed in float32 or wider.

    |x| = sqrt(sum_i x_i^2). Unlike `optax.tree.norm` it does not square in the leaves'
    own dtype: four values of 200 in float16 have norm 400, not infinity.

    >>> print(global_norm({"a": jnp.full(4, 200, jnp.float16)}))
    400.0
    """
    squares = [jnp.sum(jnp.square(widen(x))) for x in jax.tree.leaves(tree)]
    return safe_sqrt(sum(squares, start=jnp.zeros(())))

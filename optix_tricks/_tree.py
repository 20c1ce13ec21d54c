"""Masks over a tree, kinds of leaves, and norms that do not overflow in low precision."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from typing_extensions import TypeAliasType

from optix_tricks._paths import PyTree, named_leaves, unbox

Mask = TypeAliasType("Mask", PyTree | Callable[[PyTree], PyTree])


def is_none(x: Any) -> bool:
    """Tell whether `x` is None: such leaves stand for "no gradient" and are kept."""
    return x is None


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
        try:
            labels = labels(tree)
        except TypeError as error:
            raise TypeError(
                f"{name} must be a function of a tree of parameters: {error}"
            ) from error
    try:
        full = jax.tree.map(
            lambda label, branch: jax.tree.map(lambda _: label, branch, is_leaf=is_none),
            unbox(labels),  # a mask of the boxed tree serves the pure one
            unbox(tree),
            is_leaf=is_none,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must be a tree of {kind} shaped like the parameters (or a prefix of "
            f"it), or a function that returns one: {error}"
        ) from error
    flat = jax.tree.leaves(full, is_leaf=is_none)
    if any(isinstance(label, jax.core.Tracer) for label in flat):
        raise TypeError(f"{name} must be known when a function is traced, got tracers.")
    return flat


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


def is_inexact(x: Any) -> bool:
    """Tell whether `x` has real or complex numbers of at least 16 bits.

    Other leaves (integers, bools, keys, float0, float8, functions) are nothing that is
    averaged, widened or divided: whoever does not own them hands them on.
    """
    dtype = jnp.float32 if isinstance(x, float) else getattr(x, "dtype", bool)
    return jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits >= 16


def only_inexact(mask: Mask | None = None) -> Callable[[PyTree], PyTree]:
    """The mask `mask`, less the leaves on which there is nothing to compute."""

    def narrowed(tree: PyTree) -> PyTree:
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_none)
        flags = zip(leaves, resolve_mask(mask, tree), strict=True)
        return jax.tree.unflatten(treedef, [flag and is_inexact(x) for x, flag in flags])

    return narrowed


def check_floating(tree: PyTree, keep: Sequence[bool] | None = None) -> None:
    """Raise unless every leaf of `tree` is real floating point, or None.

    Args:
      tree: arrays or shapes.
      keep: which leaves matter, one bool for each, None leaves included; all by default.

    Raises:
      ValueError: naming the first other leaf by its path.
    """
    leaves = jax.tree.leaves(tree, is_leaf=is_none)
    for place, x in enumerate(leaves):
        is_real = is_inexact(x) and not jnp.iscomplexobj(x)
        if is_real or x is None or not (keep is None or keep[place]):
            continue
        name = named_leaves(tree, is_none)[place].name
        raise ValueError(
            "gradients and parameters must be real floating-point arrays of at least 16 "
            f"bits, got {getattr(x, 'dtype', type(x).__name__)} at '{name}': leave such "
            "leaves out by `mask` or optax.masked, or split complex ones with "
            "optax.contrib.split_real_and_imaginary."
        )


def check_arrays(name: str, tree: PyTree) -> None:
    """Raise unless the leaves of `tree` have values, as those of `jax.eval_shape` do not.

    Raises:
      ValueError: naming the first other leaf by its path.
    """
    for place, x in enumerate(jax.tree.leaves(tree)):
        if not hasattr(x, "shape"):
            raise ValueError(
                f"{name} must hold arrays, got {x!r} at"
                f" '{named_leaves(tree)[place].name}': make an array of it."
            )
        if isinstance(x, jax.ShapeDtypeStruct):
            raise ValueError(
                f"{name} must hold arrays, got a shape without values,"
                f" {x.dtype}{list(x.shape)} at '{named_leaves(tree)[place].name}': make"
                " the model itself and not by eval_shape, or call this within"
                " jax.eval_shape too."
            )


def wide_dtype(*dtypes: Any) -> np.dtype:
    """Return the least dtype of 32 bits or more that holds all, strict promotion or not.

    >>> print(wide_dtype(jnp.bfloat16, jnp.float32), wide_dtype(jnp.complex64))
    float32 complex64
    """
    given = [jnp.result_type(dtype) for dtype in dtypes]
    floats = [dtype for dtype in given if jnp.issubdtype(dtype, jnp.inexact)]
    return functools.reduce(np.promote_types, floats, np.dtype(np.float32))


def widen(x: Array) -> Array:
    """Cast 16-bit floats to float32; leave float32 and float64 as they are."""
    return cast(x, wide_dtype(x.dtype))


def cast(x: Array, dtype: Any) -> Array:
    """Cast, and write no operation where there is nothing to cast."""
    is_weak = getattr(x, "weak_type", False)
    return x if x.dtype == dtype and not is_weak else x.astype(dtype)


@functools.partial(jax.jit, inline=True)  # traced once a shape, not once a leaf
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


SHORT = 4096  # elements: reading so many takes an accelerator less than a launch


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, summed in float32 or wider.

    |x| = sqrt(sum_i x_i^2). Unlike `optax.tree.norm` it does not square in the leaves'
    own dtype: four values of 200 in float16 have norm 400, not infinity. The short leaves
    are laid end to end first, as one sum costs less than a hundred.

    >>> print(global_norm({"a": jnp.full(4, 200, jnp.float16)}))
    400.0
    """
    leaves = [widen(x) for x in jax.tree.leaves(tree)]
    short = [jnp.ravel(x) for x in leaves if jnp.size(x) <= SHORT]
    long = [x for x in leaves if jnp.size(x) > SHORT]
    parts = [jnp.concatenate(short), *long] if short else long
    squares = [jnp.sum(jnp.square(x)) for x in parts]
    return safe_sqrt(sum(squares, start=jnp.zeros(())))


def map_states(change: Callable[[Any], Any], kind: type, opt_state: PyTree) -> PyTree:
    """Change each state of a kind in an optimiser's, at any depth; None without one."""

    def is_ours(node: Any) -> bool:
        return isinstance(node, kind)

    if not any(map(is_ours, jax.tree.leaves(opt_state, is_leaf=is_ours))):
        return None
    return jax.tree.map(
        lambda node: change(node) if is_ours(node) else node, opt_state, is_leaf=is_ours
    )

"""From an annotation to what it asks of an argument: a test, and the words for it."""

import collections.abc
import inspect
import os
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Union

import jax
import jaxtyping
import numpy as np
import optax
from jax.typing import ArrayLike, DTypeLike
from typing_extensions import TypeAliasType

from optix_tricks._paths import Arrays, Examples, Number, Whole
from optix_tricks._predicates import (
    ANY_SIZE,
    ARRAYS,
    COUNTS,
    described,
    has_dtype,
    is_callable,
    is_dtype,
    is_examples,
    is_jax_number,
    is_known_array,
    is_real,
    is_real_array,
    is_scalar,
    is_schedule,
    is_transformation,
    is_tree_of_arrays,
    is_whole,
)

DTYPES = {  # what jaxtyping's names of dtypes are called in a sentence
    "Float": "floats",
    "Int": "integers",
    "Integer": "integers",
    "UInt8": "uint8",
    "Bool": "booleans",
    "Num": "numbers",
}


class Kind(NamedTuple):
    """A kind of argument."""

    words: tuple[str, ...]  # what it is, each an alternative
    holds: Callable[[Any], bool]
    at_once: tuple[type, ...] = ()  # exact types that hold, found without a call
    choices: bool = False  # some words are strings to choose from

    def refuses(self, value: Any) -> bool:
        """Whether a value is of another kind."""
        return type(value) not in self.at_once and not self.holds(value)

    def refusal(self, name: str, value: Any) -> TypeError | ValueError:
        """Say what an argument must be and what it was."""
        *others, last = self.words
        wanted = f"{', '.join(others)} or {last}" if others else last
        error = ValueError if self.choices and isinstance(value, str) else TypeError
        got = f"got {described(value)}.{_way_out(self, value)}"
        return error(f"{name} must be {wanted}, {got}")


def _way_out(kind: Kind, value: Any) -> str:
    if isinstance(value, (list, tuple)) and any("array" in word for word in kind.words):
        return " Make an array of it with jax.numpy.asarray."
    if isinstance(value, jax.core.Tracer) and "True or False" in kind.words:
        return " It is decided when the function is traced: make it a static argument."
    if "a whole number" in kind.words and is_whole(value):
        return " JAX counts in 32 bits."
    if "a number" in kind.words and is_whole(value, ANY_SIZE):
        return " Write it with a point: JAX counts in 32 bits."
    if "an iterable" in kind.words and isinstance(value, (dict, *ARRAYS)):
        return " Write [it] for a single one."
    if inspect.isfunction(value) and "a gradient transformation" in kind.words:
        return " Call it first."
    return ""


def kind_of(annotation: Any) -> Kind | None:
    """Return what an annotation asks for, or None if that is anything.

    >>> kind_of(int | None).words
    ('a whole number', 'None')
    """
    if annotation in (Any, inspect.Parameter.empty):
        return None
    if annotation is None or annotation is type(None):
        return Kind(("None",), lambda x: x is None, (type(None),))
    try:
        known = SIMPLE.get(annotation)
    except TypeError:  # an annotation that cannot be hashed
        known = None
    if known is not None:
        return known
    if _is_array_annotation(annotation):
        return _array_kind(annotation)
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _any_of(typing.get_args(annotation))
    if origin is Annotated:
        return kind_of(annotation.__origin__)
    if isinstance(annotation, TypeAliasType):
        return kind_of(annotation.__value__)
    if origin is typing.Literal:
        choices = typing.get_args(annotation)
        words = tuple(map(repr, choices))
        return Kind(words, lambda x: isinstance(x, str) and x in choices, choices=True)
    if origin is not None:
        return _container(origin, typing.get_args(annotation))
    if getattr(annotation, "_is_protocol", False):
        return FUNCTION if "__call__" in vars(annotation) else _protocol(annotation)
    if inspect.isclass(annotation):
        name = annotation.__name__
        word = f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
        return Kind((word,), lambda x: isinstance(x, annotation))
    return None


def _protocol(annotation: Any) -> Kind:
    own = {"__init__", "__subclasshook__"}  # what every protocol has
    named = {n for n, x in vars(annotation).items() if inspect.isfunction(x)} - own
    word = f"a {annotation.__name__}, with {' and '.join(sorted(named))}"

    def has_all(x: Any) -> bool:  # an array without axes has __len__, and no length
        return all(hasattr(x, n) for n in named) and getattr(x, "ndim", 1) != 0

    return Kind((word,), has_all)


def _any_of(annotations: tuple[Any, ...]) -> Kind | None:
    left, known = list(annotations), []
    for members, kind in UNIONS.items():
        if set(members) <= set(left):
            known.append(kind)
            left = [annotation for annotation in left if annotation not in members]
    for annotation in left:
        alternative = kind_of(annotation)
        if alternative is None:
            return None
        known.append(alternative)
    words = dict.fromkeys(word for kind in known for word in kind.words)
    at_once = tuple(exact for kind in known for exact in kind.at_once)
    choices = any(kind.choices for kind in known)
    return Kind(
        tuple(words), lambda x: any(kind.holds(x) for kind in known), at_once, choices
    )


def _container(origin: Any, args: tuple[Any, ...]) -> Kind | None:
    if origin is collections.abc.Callable:
        return FUNCTION
    if origin is type:
        return Kind(("a class",), inspect.isclass)
    if origin is os.PathLike:
        return Kind(("a path",), lambda x: isinstance(x, os.PathLike))
    if not inspect.isclass(origin) or not issubclass(origin, collections.abc.Iterable):
        return None
    if issubclass(origin, collections.abc.Mapping):
        of_values = kind_of(args[-1])
        return Kind(
            ("a dict",),
            lambda x: (
                isinstance(x, collections.abc.Mapping)
                and (of_values is None or all(map(of_values.holds, x.values())))
            ),
        )
    inner = [kind_of(arg) for arg in args if arg is not ...]
    length = len(inner) if origin is tuple and ... not in args else None
    what = _plural(inner[0]) if inner and inner[0] else ""
    if origin in (collections.abc.Iterable, collections.abc.Iterator):
        of_each = inner[0].holds if inner and inner[0] else None
        return Kind((f"an iterable{what}",), lambda x: _is_iterable(x, of_each))

    def holds(x: Any) -> bool:
        if not isinstance(x, (collections.abc.Sequence, np.ndarray)):
            return False
        if isinstance(x, (str, bytes)) or getattr(x, "ndim", 1) != 1:
            return False
        if length is None:
            return not inner or inner[0] is None or all(map(inner[0].holds, x))
        pairs = zip(inner, x, strict=False)
        return len(x) == length and all(
            kind is None or kind.holds(y) for kind, y in pairs
        )

    size = "" if length is None else f" of length {length}"
    return Kind((f"a sequence{size}{what}",), holds)


def _plural(kind: Kind) -> str:
    words = {
        "a whole number": "whole numbers",
        "a number": "numbers",
        "a string": "names",
        "a function": "functions",
        "a Device": "JAX devices",
    }
    said = [words.get(word, "") for word in kind.words]
    return f" of {' or '.join(said)}" if all(said) else ""


def _is_iterable(x: Any, of_each: Callable[[Any], bool] | None) -> bool:
    has_axis = getattr(x, "shape", None) != ()
    if not hasattr(x, "__iter__") or not has_axis or isinstance(x, (str, bytes, type)):
        return False
    can_be_read_again = isinstance(x, (collections.abc.Collection, *ARRAYS))
    return of_each is None or not can_be_read_again or all(map(of_each, x))


def _is_array_annotation(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray)


def _array_kind(annotation: Any) -> Kind:
    """Of jaxtyping's annotation: the dtype, the number of axes and fixed sides.

    The names of axes bind nothing, so that one argument is looked at at a time.
    """
    axes = annotation.dim_str.split()
    open_ended = any(axis.startswith("*") or axis == "..." for axis in axes)
    fixed = [axis for axis in axes if not axis.startswith("*") and axis != "..."]
    sides = {place: int(axis) for place, axis in enumerate(axes) if axis.isdigit()}
    is_key = annotation.dtypes in (("prng_key",), ("uint32",))
    name = annotation.__name__.partition("[")[0]
    wanted = f"an array of {DTYPES.get(name, name)} [{', '.join(axes)}]"

    def holds(x: Any) -> bool:
        if not isinstance(x, ARRAYS):
            return False
        if annotation.array_type is np.ndarray and not is_known_array(x):
            return False
        ndim = len(x.shape)
        if ndim < len(fixed) or (ndim > len(fixed) and not open_ended):
            return False
        if any(x.shape[place] != side for place, side in sides.items()):
            return False
        return has_dtype(annotation.dtypes, x.dtype)

    return Kind(("a JAX key, such as jax.random.key(0)" if is_key else wanted,), holds)


SCALAR = Kind(("a number",), is_scalar, (float,))
SCHEDULE = Kind(
    ("a number", "a schedule"), lambda x: is_scalar(x) or is_schedule(x), (float,)
)
NUMBER = Kind(("a number",), is_real, (float,))
NUMBERS = Kind(
    ("a number", "an array"), lambda x: is_jax_number(x) or is_real_array(x), (float,)
)
FUNCTION = Kind(("a function",), is_callable)
DTYPE = Kind(("a dtype",), is_dtype)
TRANSFORMATION = Kind(("a gradient transformation",), is_transformation)


def check_made(name: str, made: Any) -> None:
    """Raise unless what a function returned is a gradient transformation."""
    if TRANSFORMATION.refuses(made):
        wanted = TRANSFORMATION.words[0]
        raise TypeError(f"{name} must return {wanted}, got {described(made)}.")


SIMPLE = {
    bool: Kind(("True or False",), lambda x: isinstance(x, (bool, np.bool_)), (bool,)),
    int: Kind(("a whole number",), lambda x: is_whole(x, COUNTS)),
    Whole: Kind(("a whole number",), lambda x: is_whole(x, ANY_SIZE)),
    Number: SCALAR,
    Arrays: Kind(("a tree of arrays",), is_tree_of_arrays),
    Examples: Kind(("a tree of arrays [batch, ...]",), is_examples),
    float: NUMBER,
    str: Kind(("a string",), lambda x: isinstance(x, str), (str,)),
    bytes: Kind(("bytes",), lambda x: isinstance(x, bytes)),
    jax.Array: Kind(("an array",), lambda x: isinstance(x, ARRAYS)),
    np.ndarray: Kind(("an array of numbers that are known",), is_known_array),
    np.dtype: DTYPE,
    optax.GradientTransformation: TRANSFORMATION,
    optax.GradientTransformationExtraArgs: TRANSFORMATION,
}
UNIONS = {  # of the members of a union those that are one kind together
    typing.get_args(ArrayLike): NUMBERS,
    typing.get_args(DTypeLike): DTYPE,
    (int, float, jax.Array, Callable[[Any], Any]): SCHEDULE,
    (int, float, jax.Array): SCALAR,
}

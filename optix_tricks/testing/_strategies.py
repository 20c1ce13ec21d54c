"""Trees of parameters and of gradients, for tests by Hypothesis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOATS = ("float32", "bfloat16", "float16")
LARGEST = 64.0


def params(
    *,
    dtypes: tuple[str, ...] = ("float32",),
    max_side: int = 4,
    max_leaves: int = 5,
    none: bool = True,
) -> Any:
    """Return a strategy of trees of parameters: dicts and lists of arrays and None.

    Shapes have up to three axes, some without elements; numbers lie within 64 of zero and
    are multiples of 1/64, so that no sum of a few of them is rounded in float32.

    Args:
      dtypes: those that leaves may have.
      max_side: the longest axis.
      max_leaves: about how many leaves a tree has at most.
      none: whether leaves may be None.

    >>> import hypothesis
    >>> @hypothesis.given(params())
    ... def test(tree):
    ...     assert all(x.ndim <= 3 for x in jax.tree.leaves(tree))
    >>> test()
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as arrays

    shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=max_side)
    made = st.tuples(shapes, st.sampled_from(dtypes)).flatmap(lambda x: _arrays(*x))
    leaf = st.one_of(st.none(), made) if none else made
    names = st.sampled_from(["kernel", "bias", "scale", "layer", "head"])
    return st.recursive(
        leaf,
        lambda tree: st.one_of(
            st.dictionaries(names, tree, max_size=3), st.lists(tree, max_size=3)
        ),
        max_leaves=max_leaves,
    ).map(lambda tree: {"params": tree})


def grads(params: Any, *, nonfinite: bool = False) -> Any:
    """Return a strategy of gradients: trees like `params`, of the same shapes and dtypes.

    Args:
      params: a tree of arrays, such as one that the other strategy gave.
      nonfinite: whether some gradients may be NaN or infinite.

    >>> import hypothesis
    >>> @hypothesis.given(grads({"w": jnp.ones((2, 3)), "none": None}))
    ... def test(tree):
    ...     assert tree["w"].shape == (2, 3)
    >>> test()
    """
    from hypothesis import strategies as st

    leaves, kind = jax.tree.flatten(params)
    drawn = [_arrays(x.shape, str(x.dtype), nonfinite=nonfinite) for x in leaves]
    return st.tuples(*drawn).map(lambda leaves: jax.tree.unflatten(kind, leaves))


def _arrays(shape: Any, dtype: str, *, nonfinite: bool = False) -> Any:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as arrays

    most = int(LARGEST * 64)
    numbers = st.integers(-most, most).map(lambda x: x / 64)
    if nonfinite:
        numbers = st.one_of(numbers, st.sampled_from([np.nan, np.inf, -np.inf]))
    made = arrays.arrays(np.float32, shape, elements=numbers)
    return made.map(lambda x: jnp.asarray(x).astype(dtype))

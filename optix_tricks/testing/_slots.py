"""What a state keeps for each parameter, found by the end of its path and its shape."""

from typing import Any

import jax
import numpy as np

from optix_tricks._paths import Arrays


def slots(state: Any, params: Arrays) -> list[tuple[str, Any, Any]]:
    """Return path in the state, what lies there, and the parameter it is kept for.

    >>> import jax.numpy as jnp, optax
    >>> params = {"w": jnp.ones(3)}
    >>> state = optax.trace(0.9).init(params)
    >>> for name, x, _ in slots(state, params):
    ...     print(name, x.shape)
    .trace['w'] (3,)
    """
    own = jax.tree_util.tree_leaves_with_path(params)
    return [
        (jax.tree_util.keystr(path), x, param)
        for path, x in jax.tree_util.tree_leaves_with_path(state)
        for end, param in own
        if path[len(path) - len(end) :] == end and x.shape == np.shape(param) and x.ndim
    ]

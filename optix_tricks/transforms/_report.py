"""What the last step decided, read from the optimiser state."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import GetAttrKey
from jaxtyping import Array

from optix_tricks._paths import PyTree, named_leaves, path_name, unbox


def report(opt_state: PyTree, *, per_layer: bool = True) -> dict[str, Array]:
    """Gather what a step used and did as a flat dict of scalars.

    Every hyperparameter in the value last used (a schedule's value, not its function),
    and what transformations decided: `clip_factor`, `global_norm`, `trust_ratio`. The
    state holds them anyway, so this costs nothing and works inside `jit`.

    Args:
      opt_state: the state of any chain, ours and Optax's links mixed.
      per_layer: include numbers per layer, as `name/path/of/the/parameter`; a packed
        tree has none.

    Returns:
      Scalars by name. A name that stands in several links is prefixed by the link's
      place in the state: `0.decay`, `2.decay`.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from optix_tricks import add_decayed_weights, sgd
      >>> tx = optax.chain(add_decayed_weights(0.5), sgd(0.1))
      >>> w = jnp.ones(2)
      >>> _, state = tx.update(w, tx.init(w), w)
      >>> {name: float(f"{x:.3f}") for name, x in report(state).items()}
      {'weight_decay': 0.5, 'learning_rate': 0.1}
    """
    found: list[tuple[str, str, Array]] = []

    def read(tree: PyTree, above: tuple) -> None:
        nodes = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_says_something)[0]
        for path, node in nodes:
            if not _says_something(node):
                continue
            said = node.report() if hasattr(node, "report") else {}
            place = ".".join(path_name((key,)) for key in above + path)
            for name, value in (dict(node.hyperparams) | said).items():
                for sub, x, _ in named_leaves(value):
                    if jnp.ndim(x) == 0 and (per_layer or not sub):
                        found.append((place, f"{name}/{sub}" if sub else name, x))
            if hasattr(node, "inner_state"):
                read(node.inner_state, (*above, *path, GetAttrKey("inner_state")))

    read(unbox(opt_state), ())
    times = Counter(name for _, name, _ in found)
    return {
        f"{place}.{name}" if place and times[name] > 1 else name: x
        for place, name, x in found
    }


def _says_something(node: Any) -> bool:
    return isinstance(node, tuple) and hasattr(node, "hyperparams")

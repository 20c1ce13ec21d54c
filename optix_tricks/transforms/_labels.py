"""Labels of parameters by their paths, and a table of who has which."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from optix_tricks._layout import per_buffer
from optix_tricks._masks import warn_of_unfound
from optix_tricks._paths import Arrays, Leaf, map_named, named_leaves
from optix_tricks._tree import PyTree, is_none, resolve_labels


def label_by_path(patterns: Mapping[str, Any]) -> Callable[[PyTree], PyTree]:
    """Build a function that labels each leaf by the first pattern found in its path.

    For `scale_by_group`, `optax.partition` and, with whole numbers for labels,
    `layerwise_learning_rate_decay`.

    Args:
      patterns: regular expressions, in the order in which they are tried, and the label
        that each gives. The pattern "" is found in every path.

    Returns:
      A function from a tree of arrays to the tree of labels. It raises a ValueError that
      names the first path in which no pattern is found, and warns of patterns that are
      found in no path.

    Examples:
      >>> labels = label_by_path({"^head/": "head", "bias$": "biases", "": "rest"})
      >>> labels({"conv": {"kernel": 1, "bias": 2}, "head": {"bias": 3}})
      {'conv': {'bias': 'biases', 'kernel': 'rest'}, 'head': {'bias': 'head'}}
      >>> depths = {"^embed": 0} | {f"^block{i}/": 1 + i for i in range(2)}
      >>> label_by_path(depths)({"embed": 1, "block0": {"w": 2}, "block1": {"w": 3}})
      {'block0': {'w': 1}, 'block1': {'w': 2}, 'embed': 0}
    """
    searches = [(re.compile(p).search, label) for p, label in patterns.items()]

    def label_of(leaf: Leaf) -> Any:
        for search, label in searches:
            if search(leaf.name):
                return label
        raise ValueError(
            f"patterns must cover every path, got {list(patterns)}, and '{leaf.name}' "
            'has none of them: add one; "" is found in every path.'
        )

    @per_buffer
    def labels(tree: PyTree) -> PyTree:
        warn_of_unfound("label_by_path", list(patterns), tree)
        return map_named(label_of, tree)

    return labels


def group_table(labels: Any, params: Arrays) -> str:
    """Write which parameter is in which group: what decays, and what does not.

    Args:
      labels: a mask or labels, as a tree, a prefix of one, or a function of the tree.
      params: arrays or their shapes, as a plain tree.

    Returns:
      Lines of group, path, shape and number of elements, sorted by group and path, with a
      line of sums below each group.

    Raises:
      ValueError: if the labels' structure is no prefix of the tree's.

    Examples:
      >>> import jax.numpy as jnp
      >>> from optix_tricks import no_bias_or_norm
      >>> params = {"conv": {"kernel": jnp.ones((3, 3, 1, 8)), "bias": jnp.ones(8)}}
      >>> print(group_table(no_bias_or_norm, params))
      False  conv/bias    (8,)             8
      False  1 array                       8
      True   conv/kernel  (3, 3, 1, 8)    72
      True   1 array                      72
    """
    named = resolve_labels(labels, params)
    groups: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for label, leaf in zip(named, named_leaves(params, is_none), strict=True):
        if leaf.value is not None:
            groups.setdefault(str(label), []).append((leaf.name, leaf.shape))
    rows = []
    for group, held in sorted(groups.items()):
        sizes = [math.prod(shape) for _, shape in held]
        for (name, shape), size in sorted(zip(held, sizes, strict=True)):
            rows.append((group, name, str(shape), f"{size:,}"))
        arrays = f"{len(held)} array{'s' if len(held) > 1 else ''}"
        rows.append((group, arrays, "", f"{sum(sizes):,}"))
    a, b, c, d = (max((len(row[i]) for row in rows), default=0) for i in range(4))
    return "\n".join(
        f"{group:{a}}  {name:{b}}  {shape:{c}}  {size:>{d}}"
        for group, name, shape, size in rows
    )

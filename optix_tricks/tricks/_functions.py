"""What is done to the network as a function of its parameters."""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from optix_tricks._masks import mask_by_path
from optix_tricks._paths import map_named
from optix_tricks._tree import PyTree
from optix_tricks.training import Apply
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

Change = Callable[[Apply], Apply]


def recomputed(apply: Apply) -> Apply:
    """Compute the activations of a training call anew for the gradient.

    Helps where activations do not fit. Hurts the time of a step.

    Cost: a second forward pass; of the activations only the inputs are kept.

    Source: "Training Deep Nets with Sublinear Memory Cost", Chen et al., 2016.
    """

    def call(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Any = None,
    ) -> tuple[PyTree, PyTree]:
        if not train:
            return apply(params, batch_stats, inputs, train=False, key=key)

        @jax.checkpoint
        def in_training(params: PyTree, stats: PyTree, inputs: PyTree) -> Any:
            return apply(params, stats, inputs, train=True, key=key)

        return in_training(params, batch_stats, inputs)

    return call


@trick("applied", calls=recomputed, place="memory")
def remat(context: Context, call: Any) -> Change:
    """Activations are computed again for the gradient, and not kept."""
    return call


def frozen(apply: Apply, *, pattern: str = "^(?!head)") -> Apply:
    """Stop the gradient at parameters whose paths match; spare what only they need."""
    matches = re.compile(pattern)

    def call(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Any = None,
    ) -> tuple[PyTree, PyTree]:
        def stopped(leaf: Any) -> Any:
            fixed = matches.search(leaf.name)
            return jax.lax.stop_gradient(leaf.value) if fixed else leaf.value

        fixed = map_named(stopped, params)
        return apply(fixed, batch_stats, inputs, train=train, key=key)

    return call


@trick("applied", "after", calls=frozen, main="pattern", place="frozen")
def freeze(context: Context, call: Any) -> tuple[Change, optax.GradientTransformation]:
    """Parameters whose paths match stay as they are."""
    fixed = mask_by_path(call.keywords["pattern"])
    return call, optax.masked(optax.set_to_zero(), fixed)

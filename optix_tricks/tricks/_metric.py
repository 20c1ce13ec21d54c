"""Heads that learn distances: they see the labels of what they are trained on.

In training the inputs carry the targets to the head, in a variable of its own; in
evaluation, and on inputs alone, it is a head like any other.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from optix_tricks import losses
from optix_tricks._paths import map_named, named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training import Chosen
from optix_tricks.tricks._context import Context, Network
from optix_tricks.tricks._starts import before_the_last
from optix_tricks.tricks._trick import Level, trick


class Shown(NamedTuple):
    """What a network is trained on where its head sees the targets."""

    inputs: PyTree
    targets: PyTree


class Added(NamedTuple):
    """Outputs, and what each example adds to the loss."""

    outputs: PyTree
    values: Float[Array, " batch"]


class Seen(nnx.Variable):
    """What a head is given for the length of a call, or gives back; [1, 1] outside."""


NOTHING = (1, 1)


class Head(nnx.Module):
    """A head that may see labels; none are there but in training."""

    def __init__(self) -> None:
        self.shown_labels = Seen(jnp.zeros(NOTHING, jnp.int32))

    def labels(self) -> Int[Array, " batch"] | None:
        """Those of this call."""
        shown = self.shown_labels[...]
        return None if shown.shape == NOTHING else shown


class ArcFace(Head):
    """Scaled cosines; in training with a margin in the angle to the own class.

    Args:
      linear: whose kernel has the class weights.
      scale: of the cosines.
      margin: in radians.
    """

    def __init__(self, linear: nnx.Linear, *, scale: float = 64.0, margin: float = 0.5):
        super().__init__()
        self.kernel, self.scale, self.margin = linear.kernel, scale, margin

    def __call__(
        self, x: Float[Array, "batch features"]
    ) -> Float[Array, "batch classes"]:
        """Return logits for cross-entropy."""
        labels = self.labels()
        margin = 0.0 if labels is None else self.margin
        labels = jnp.zeros(len(x), jnp.int32) if labels is None else labels
        return losses.arcface_logits(
            x, self.kernel[...], labels, scale=self.scale, margin=margin
        )


class Centered(Head):
    """A linear head beside the running centres of its inputs, one of each class."""

    def __init__(self, linear: nnx.Linear, *, alpha: float = 0.5):
        super().__init__()
        self.linear, self.alpha = linear, alpha
        shape = (linear.out_features, linear.in_features)
        self.centers = nnx.Variable(jnp.zeros(shape, jnp.float32))
        self.added_to_loss = Seen(jnp.zeros(NOTHING, jnp.float32))

    def __call__(
        self, x: Float[Array, "batch features"]
    ) -> Float[Array, "batch classes"]:
        """Return the logits; in training, move the centres and note the distances."""
        labels = self.labels()
        if labels is not None:
            centers = self.centers[...]
            self.added_to_loss.set_value(losses.center_loss(x, labels, centers))
            fixed = jax.lax.stop_gradient(x)
            moved = losses.update_centers(centers, fixed, labels, alpha=self.alpha)
            self.centers[...] = moved
        return self.linear(x)


def showing(network: Network) -> Network:
    """Hand the targets of `Shown` inputs to the head."""

    def apply(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> tuple[PyTree, PyTree]:
        if not isinstance(inputs, Shown):
            return network.apply(params, batch_stats, inputs, train=train, key=key)

        def with_labels(leaf: Any) -> Any:
            is_place = leaf.name.endswith("shown_labels")
            return inputs.targets if is_place else leaf.value

        def without(leaf: Any) -> Any:
            is_seen = leaf.name.endswith(("shown_labels", "added_to_loss"))
            return jnp.zeros(NOTHING, leaf.value.dtype) if is_seen else leaf.value

        given = map_named(with_labels, batch_stats)
        outputs, after = network.apply(params, given, inputs.inputs, train=train, key=key)
        added = [x for x in named_leaves(after) if x.name.endswith("added_to_loss")]
        if added:
            outputs = Added(outputs, added[0].value)
        return outputs, map_named(without, after)

    return network._replace(apply=apply)


def of_outputs(function: Callable[[Any, Any], Array], *, weight: Any = None) -> Any:
    """Let a loss or a metric take outputs of some examples, or that add something."""

    def call(outputs: Any, targets: Any) -> Array:
        if isinstance(outputs, Chosen):
            own = jax.tree.map(lambda x: x[outputs.indices], targets)
            return function(outputs.outputs, own)
        if not isinstance(outputs, Added):
            return function(outputs, targets)
        values = function(outputs.outputs, targets)
        return values if weight is None else values + weight * outputs.values

    return call


def _show(key: Key[Array, ""], inputs: PyTree, targets: PyTree) -> tuple[Shown, PyTree]:
    del key
    return Shown(inputs, targets), targets


def _head(call: Any, name: str) -> Callable[[nnx.Module, Any], nnx.Module]:
    return lambda model, key: before_the_last(model, call, name)


OF_HEADS: Any = {"place": "head", "needs": ["classes"], "level": Level.MODULE}


@trick(
    "inserted",
    "mix",
    "applied",
    calls=ArcFace,
    about=losses.arcface_logits,
    main="margin",
    **OF_HEADS,
)
def arcface(context: Context, call: Any) -> tuple[Any, Any, Any]:
    """The last linear layer tells angles; the own class has a margin in training."""
    return _head(call, "arcface"), _show, showing


def _centered(*, weight: float = 0.003, alpha: float = 0.5) -> tuple[float, Any]:
    """Add the distance of the last linear layer's inputs to the centre of their class.

    Args:
      weight: of the distances in the loss.
      alpha: by which centres follow.
    """
    return weight, functools.partial(Centered, alpha=alpha)


@trick(
    "inserted",
    "mix",
    "applied",
    "added",
    calls=_centered,
    about=losses.center_loss,
    main="weight",
    **OF_HEADS,
)
def center_loss(context: Context, call: Any) -> tuple[Any, Any, Any, float]:
    """What the last linear layer gets is drawn to the running centre of its class."""
    weight, make = call()
    return _head(make, "center_loss"), _show, showing, weight

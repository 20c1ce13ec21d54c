"""Masks by the names and shapes of parameters: which decay, which are layers."""

import re
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from optax import MaskedNode

from optix_tricks._layout import per_buffer
from optix_tricks._paths import Leaf, PyTree, is_hole, map_named, named_leaves

LAST_LAYERS = frozenset({"head", "lm_head", "classifier", "logits", "fc", "output_layer"})
WEIGHTS = frozenset({"kernel", "embedding"})
SCALE_OR_SHIFT = re.compile(r"(^|_)(bias|scale|gamma|beta|offset)$")
EMBEDDING = re.compile(r"(^|_)embed(ding)?s?$")
NORM = re.compile(r"(norm(ali[sz]ation)?|(^|_)(bn|ln|gn))_?\d*d?$")


def mask_by_path(pattern: str) -> Callable[[PyTree], PyTree]:
    """Build a mask that is True where `pattern` is found in the parameter's path.

    The path is the framework's own, without the parts of boxes: `conv1/kernel` for an
    `nnx.Variable` and for an array alike. A pattern that is found nowhere gives a
    UserWarning that names three paths.

    >>> mask_by_path("conv.*/kernel$")({"conv1": {"kernel": 1, "bias": 2}, "head": 3})
    {'conv1': {'bias': False, 'kernel': True}, 'head': False}
    """
    search = re.compile(pattern).search

    @per_buffer
    def mask(tree: PyTree) -> PyTree:
        warn_of_unfound("mask_by_path", [pattern], tree)
        return map_named(lambda leaf: search(leaf.name) is not None, tree)

    return mask


def mask_by_rank(min_rank: int) -> Callable[[PyTree], PyTree]:
    """Build a mask that is True for arrays of at least `min_rank` axes.

    >>> mask_by_rank(2)({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)})
    {'bias': False, 'kernel': True}
    """
    return per_buffer(
        lambda tree: map_named(lambda leaf: len(leaf.shape) >= min_rank, tree)
    )


@per_buffer
def no_bias_or_norm(tree: PyTree) -> PyTree:
    """Mask out biases and the scales and shifts of normalisation layers.

        mask = True     for kernels and embeddings
             = False    for biases, scales and shifts

    False for every array of fewer than two axes, whatever its name; for every leaf called
    `bias`, `scale`, `gamma`, `beta`, `offset` or so at its end (`q_bias`); for Haiku's
    `b` beside `w`; and for what lies directly in a normalisation layer, known by its
    name or its class (`norm1`, `ln`, `BatchNorm_0`), but for a `kernel` or an
    `embedding`. True for the rest: kernels and embeddings.

    Helps weight decay and layer-wise rates, whose usual mask it is. Does little in short
    runs. Cost: none.

    Beside others: of `l2`, `l1` and `decoupled_decay`, of `adamw`, `lamb` and `lars`.

    Source: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", Goyal et al.,
    2017; "Bag of Tricks for Image Classification with Convolutional Neural Networks", He
    et al., 2018.

    >>> no_bias_or_norm({"conv": jnp.ones((3, 3, 1, 8)), "norm": {"scale": jnp.ones(8)}})
    {'conv': True, 'norm': {'scale': False}}
    """
    _refuse_count("no_bias_or_norm", tree)
    names = {leaf.name for leaf in named_leaves(tree, is_hole)}

    def is_weight(leaf: Leaf) -> bool:
        *above, name = leaf.name.lower().split("/")
        if len(leaf.shape) < 2 or SCALE_OR_SHIFT.search(name):
            return False
        is_long = sum(n > 1 for n in leaf.shape) > 1
        if name == "b" and (f"{leaf.name[:-1]}w" in names or not is_long):
            return False
        holders = [leaf.owner.lower(), *above[-1:]]
        return name in WEIGHTS or not any(map(NORM.search, holders))

    return map_named(is_weight, tree)


@per_buffer
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
    return map_named(
        lambda leaf: LAST_LAYERS.isdisjoint(leaf.name.lower().split("/")), tree
    )


@per_buffer
def hidden_matrices(tree: PyTree) -> PyTree:
    """Mask out all but the matrices between a network's input and its output.

    True for what `no_bias_or_norm` and `no_last_layer` both leave in, kernels of
    convolutions among it, less embeddings, known by their name (`embedding`,
    `pos_embed`) or their class (`Embedding`). The leaves of `muon` (Jordan et al.,
    2024).

    >>> w = jnp.ones((3, 4))
    >>> params = {"conv": {"kernel": w, "bias": w}, "embed": {"embedding": w}, "fc": w}
    >>> hidden_matrices(params)
    {'conv': {'bias': False, 'kernel': True}, 'embed': {'embedding': False}, 'fc': False}
    """
    _refuse_count("hidden_matrices", tree)

    def is_table(leaf: Leaf) -> bool:
        names = leaf.name.lower().split("/")[-1], leaf.owner.lower()
        return any(map(EMBEDDING.search, names))

    return jax.tree.map(
        lambda is_weight, is_hidden, is_table: is_weight and is_hidden and not is_table,
        no_bias_or_norm(tree),
        no_last_layer(tree),
        map_named(is_table, tree),
    )


def warn_of_unfound(rule: str, patterns: Sequence[str], tree: PyTree) -> None:
    """Warn of patterns that are found in no path of `tree`.

    Says nothing of a tree without paths, or of a part of one, where a wrapper has put
    `MaskedNode` in place of the rest.
    """
    leaves = named_leaves(tree, is_hole)
    names = [leaf.name for leaf in leaves if leaf.name]
    if not names or any(isinstance(leaf.value, MaskedNode) for leaf in leaves):
        return
    unfound = [p for p in patterns if not any(map(re.compile(p).search, names))]
    if unfound:
        few = ", ".join(repr(name) for name in names[:3])
        warnings.warn(
            f"{rule}: {', '.join(map(repr, unfound))} is found in no parameter's path: "
            f"the {len(names)} paths are {few}{', ...' if len(names) > 3 else ''}.",
            stacklevel=3,
        )


def _refuse_count(mask: str, tree: PyTree) -> None:
    if not jax.tree_util.all_leaves([tree]):
        return
    is_number = isinstance(tree, float) or hasattr(tree, "dtype")
    is_text = getattr(getattr(tree, "dtype", None), "kind", "") in ("O", "S", "U")
    if not is_number or is_text or jnp.issubdtype(jnp.result_type(tree), jnp.integer):
        raise ValueError(
            f"tree must be a tree of parameters, got {tree!r}: {mask} is a mask; "
            "if it was called as a schedule, name `mask` in static_args of "
            "optax.inject_hyperparams."
        )

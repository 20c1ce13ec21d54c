"""Groups of parameters: a rate for each, or one that falls from the last layer down."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array

from optix_tricks._checks import check_count, check_fraction, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._paths import named_leaves
from optix_tricks._tree import Mask, PyTree, is_none, resolve_labels


class ScaleByGroupState(NamedTuple):
    """State of `scale_by_group`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # scale_<label> for each label


class LayerwiseDecayState(NamedTuple):
    """State of `layerwise_learning_rate_decay`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # decay
    rate_factor: PyTree  # one float32 per layer: what its updates were multiplied by

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"rate_factor": self.rate_factor}


def scale_by_group(
    scales: Mapping[str, ScalarOrSchedule],
    labels: Any,
    *,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply the updates of each group of parameters by a scale of its own.

    .. math:: u_l = s_{k(l)} \, g_l

    for the label :math:`k(l)` of each leaf. Helps where parts want rates of their own:
    biases, new layers beside pretrained ones. Does little in front of what normalises:
    Adam takes the same step whatever multiplies its gradients. Put it *behind*, where the
    scale is a factor of the learning rate.

    For another decay or momentum in each group, rather than another rate, give each its
    own optimiser: see the example.

    Args:
      scales: :math:`s_k` >= 0 by label: numbers, arrays or schedules. In the state, and
        in `report`, they are called `scale_<label>`.
      labels: a label for each leaf, as a tree, a prefix of one, or a function of the tree
        such as `label_by_path`. `group_table` prints who is in which group.
      mask: which leaves are scaled; the others pass unchanged.

    Returns:
      A transformation; one multiplication per element, no slots. The identity where all
      scales are 1.

    Raises:
      ValueError: if a scale is negative, or a leaf's label is not among them.

    Examples:
      >>> import jax.numpy as jnp
      >>> from optix_tricks import adamw, label_by_path, sgd
      >>> labels = label_by_path({"bias$": "biases", "": "rest"})
      >>> scale = scale_by_group({"biases": 2.0, "rest": 1.0}, labels)
      >>> tx = optax.chain(optax.adam(0.1), scale)
      >>> params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates["kernel"].round(3), updates["bias"].round(3))
      [[-0.1]] [-0.2]

      A momentum and a decay for each group:

      >>> tx = optax.partition(
      ...     {
      ...         "biases": sgd(0.2, momentum=0.5),
      ...         "rest": adamw(0.1, weight_decay=0.01),
      ...     },
      ...     labels,
      ... )
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates["kernel"].round(3), updates["bias"].round(3))
      [[-0.101]] [-0.2]

    References:
      Howard and Ruder, Universal language model fine-tuning for text classification,
      2018, section 3.2.
    """
    for label, scale in scales.items():
        check_nonnegative(f"scales[{label!r}]", scale)

    def known_labels(tree: PyTree) -> PyTree:
        leaves, treedef = _with_labels(labels, tree, "labels", "labels")
        for path, label in leaves:
            if label not in [*scales]:
                raise ValueError(
                    f"scales must have every label, got {sorted(scales)}, and {path} has "
                    f"the label {label!r}: add it, with 1 for leaves that are to stay,"
                    " or correct labels."
                )
        return treedef.unflatten([label for _, label in leaves])

    def rule(g: Array, w: Array | None, *, layer: Any, **scales: Array) -> tuple[Array]:
        return layer.map(lambda leaf, g: (scales[f"scale_{leaf.label}"] * g,), g)

    return leafwise(
        rule,
        ScaleByGroupState,
        hyperparams={f"scale_{label}": scale for label, scale in scales.items()},
        mask=mask,
        labels=known_labels,
        layerwise=True,
    )


def layerwise_learning_rate_decay(
    decay: ScalarOrSchedule, depth: Any, *, mask: Mask | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Let the learning rate fall from the last layer down to the first.

    .. math:: u_l = \gamma^{\max_j d_j - d_l} \, g_l

    for the depth :math:`d_l` of each leaf. As with `scale_by_group`, put it behind what
    normalises: in front of Adam it does nothing.

    Helps fine-tuning, where the first layers are right already: :math:`\gamma` of 0.65 to
    0.9. On networks that start from random weights it only slows the first layers down.

    Args:
      decay: :math:`\gamma` in [0, 1]; 1 is the identity.
      depth: a whole number for each leaf, larger towards the output, as a tree, a prefix
        of one, or a function of the tree such as `label_by_path`. The deepest of the
        leaves that are present has the factor 1.
      mask: which leaves are scaled; the others pass unchanged.

    Returns:
      A transformation; one multiplication per element, no slots but the reported
      `rate_factor`.

    Raises:
      ValueError: if `decay` is out of range or a depth is no whole number >= 0.

    Examples:
      >>> import jax.numpy as jnp
      >>> from optix_tricks import label_by_path
      >>> depth = label_by_path({"^embed": 0, "^block": 1, "^head": 2})
      >>> tx = optax.chain(optax.adam(0.1), layerwise_learning_rate_decay(0.5, depth))
      >>> params = {"embed": jnp.ones(1), "block": jnp.ones(1), "head": jnp.ones(1)}
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> [float(f"{updates[name][0]:.3f}") for name in ("embed", "block", "head")]
      [-0.025, -0.05, -0.1]

    References:
      Clark et al., ELECTRA: pre-training text encoders as discriminators rather than
      generators, 2020.
      Bao et al., BEiT: BERT pre-training of image transformers, 2022.
    """
    check_fraction("decay", decay)

    def below_the_last(tree: PyTree) -> PyTree:
        leaves, treedef = _with_labels(depth, tree, "depth", "whole numbers")
        for path, depth_here in leaves:
            check_count(f"depth of {path}", depth_here)
        deepest = max((int(d) for _, d in leaves), default=0)
        return treedef.unflatten([deepest - int(d) for _, d in leaves])

    def rule(
        g: Array, w: Array | None, _: Array, *, decay: Array, layer: Any
    ) -> tuple[Array, Array]:
        def scale(leaf: Any, g: Array) -> tuple[Array, Array]:
            factor = decay**leaf.label
            return factor * g, factor

        return layer.map(scale, g)

    return leafwise(
        rule,
        LayerwiseDecayState,
        hyperparams={"decay": decay},
        slots={"rate_factor": PER_LAYER},
        mask=mask,
        labels=below_the_last,
        layerwise=True,
    )


def _with_labels(
    labels: Any, tree: PyTree, name: str, kind: str
) -> tuple[list[tuple[str, Any]], Any]:
    """Paths and labels of the leaves of `tree` that are not None, and its structure."""
    found = resolve_labels(labels, tree, name=name, kind=kind)
    pairs = zip(found, named_leaves(tree, is_none), strict=True)
    named = [(f"'{x.name}'", label) for label, x in pairs if x.value is not None]
    return named, jax.tree.structure(tree)

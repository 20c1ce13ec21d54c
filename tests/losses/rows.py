"""The table of public losses, one row a loss and a setting of it.

A row makes its arguments from a NumPy generator, floats in float64, of a batch of 8.
`scores` are the positions of logits, embeddings or weights, which may have any scale;
`differentiable` of those that have a gradient. What a row is held to stands in
test_losses_contract.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from optix_tricks import losses
from optix_tricks._tree import widen

Rng = np.random.Generator


class Row(NamedTuple):
    name: str  # of the function in optix_tricks.losses
    loss: Callable[..., Any]  # takes what `make` returns
    make: Callable[[Rng], tuple]
    shape: tuple[int, ...] = (8,)  # of the loss
    differentiable: tuple[int, ...] = (0,)
    scores: tuple[int, ...] | None = None  # None: those differentiable
    rtol: float = 1e-5  # of float32 results that should be equal but for their order

    @property
    def moved(self) -> tuple[int, ...]:
        return self.differentiable if self.scores is None else self.scores


def integer_labels(rng: Rng) -> tuple:
    return 3 * rng.normal(size=(8, 5)), rng.integers(0, 5, 8).astype(np.int32)


def dense_labels(rng: Rng) -> tuple:
    return 3 * rng.normal(size=(8, 5)), rng.dirichlet(np.ones(5), 8)


def with_teacher(rng: Rng) -> tuple:
    return (*integer_labels(rng), 3 * rng.normal(size=(8, 5)))


def binary_labels(rng: Rng) -> tuple:
    return 3 * rng.normal(size=(8, 5)), rng.integers(0, 2, (8, 5)).astype(np.int32)


def binary_mixtures(rng: Rng) -> tuple:
    return 3 * rng.normal(size=(8, 5)), rng.uniform(size=(8, 5))


def regression(rng: Rng) -> tuple:
    return rng.normal(size=(8, 5)), rng.normal(size=(8, 5))


def parameters(rng: Rng) -> tuple:
    return ({"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)},)


def embeddings(rng: Rng) -> tuple:
    return rng.normal(size=(8, 4)), np.array([0, 0, 2, 2, 2, 0, 1, 2], np.int32)


def pairs(rng: Rng) -> tuple:
    return (*rng.normal(size=(2, 8, 4)), np.arange(8) % 2 == 0)


def anchors_and_positives(rng: Rng) -> tuple:
    return tuple(rng.normal(size=(2, 8, 4)))


def with_centers(rng: Rng) -> tuple:
    return (*embeddings(rng), rng.normal(size=(3, 4)))


def with_class_weights(rng: Rng) -> tuple:
    x, labels = embeddings(rng)
    return x, rng.normal(size=(4, 3)), labels


ALPHA = np.array([0.2, 1.0, 0.5, 2.0, 0.3])

CLASSIFICATION = [
    Row("cross_entropy", losses.cross_entropy, integer_labels),
    Row("cross_entropy", losses.cross_entropy, dense_labels),
    Row(
        "cross_entropy",
        lambda z, y: losses.cross_entropy(z, y, label_smoothing=0.1),
        integer_labels,
    ),
    Row("confidence_penalty", losses.confidence_penalty, integer_labels),
    Row(
        "confidence_penalty",
        lambda z, y: losses.confidence_penalty(z, y, beta=0.3, threshold=0.8),
        dense_labels,
    ),
    Row("focal_loss", losses.focal_loss, integer_labels),
    Row(
        "focal_loss",
        lambda z, y: losses.focal_loss(z, y, gamma=0.5, alpha=ALPHA),
        dense_labels,
    ),
    Row("sigmoid_focal_loss", losses.sigmoid_focal_loss, binary_labels, (8, 5)),
    Row(
        "sigmoid_focal_loss",
        lambda z, y: losses.sigmoid_focal_loss(z, y, alpha=0.25, gamma=0.5),
        binary_mixtures,
        (8, 5),
    ),
    Row(
        "pairwise_confusion",
        lambda z, y: losses.pairwise_confusion(z, y, weight=2.0),
        integer_labels,
    ),
    Row(
        "pairwise_confusion",
        lambda z, y: losses.pairwise_confusion(z, y, weight=2.0),
        dense_labels,
    ),
    Row(
        "distillation",
        lambda z, y, t: losses.distillation(z, y, t, temperature=4.0, alpha=0.1),
        with_teacher,
        scores=(0, 2),
    ),
    Row("mean_squared_error", losses.mean_squared_error, integer_labels),
    Row("mean_squared_error", losses.mean_squared_error, regression),
    Row("one_hot", lambda _, y: losses.one_hot(y, 5), integer_labels, (8, 5), ()),
]

PENALTIES = [
    Row("l1_penalty", losses.l1_penalty, parameters, ()),
    Row("l2_penalty", losses.l2_penalty, parameters, ()),
]

# Losses of embeddings: a batch is [batch, features], and vmap goes over batches.
METRIC_LEARNING = [
    Row(
        "contrastive_loss",
        lambda a, b, same: losses.contrastive_loss(a, b, same, margin=3.0),
        pairs,
        differentiable=(0, 1),
    ),
    Row("triplet_loss", lambda x, y: losses.triplet_loss(x, y, margin=1.0), embeddings),
    Row(
        "triplet_loss",
        lambda x, y: losses.triplet_loss(x, y, margin="soft", mining="semi_hard"),
        embeddings,
    ),
    Row(
        "n_pair_loss",
        lambda x, y: losses.n_pair_loss(x, y, l2_weight=0.1),
        anchors_and_positives,
        differentiable=(0, 1),
    ),
    Row("supervised_contrastive_loss", losses.supervised_contrastive_loss, embeddings),
    Row("center_loss", losses.center_loss, with_centers, scores=(0, 2)),
    Row(
        "update_centers",  # the state keeps its dtype, which should be float32
        lambda x, y, c: losses.update_centers(widen(c), x, y),
        with_centers,
        shape=(3, 4),
        scores=(0, 2),
    ),
    Row(
        "arcface_logits",
        losses.arcface_logits,
        with_class_weights,
        shape=(8, 3),
        differentiable=(0, 1),
    ),
    Row(
        "cosface_logits",
        losses.cosface_logits,
        with_class_weights,
        shape=(8, 3),
        differentiable=(0, 1),
    ),
]

ROWS = [*CLASSIFICATION, *PENALTIES, *METRIC_LEARNING]

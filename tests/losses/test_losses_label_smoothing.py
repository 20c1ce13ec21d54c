"""Label smoothing is one thing in every loss that takes logits and classes."""

import functools
import inspect

import jax.numpy as jnp
import numpy as np

from optix_tricks import losses

RNG = np.random.default_rng(0)
LOGITS, TEACHER = (
    jnp.asarray(3 * RNG.normal(size=(6, 4)), jnp.float32) for _ in range(2)
)
LABELS = jnp.array([0, 1, 2, 3, 1, 0])
SMOOTHED = {
    "cross_entropy": losses.cross_entropy,
    "confidence_penalty": functools.partial(losses.confidence_penalty, threshold=0.8),
    "focal_loss": functools.partial(
        losses.focal_loss, gamma=1.5, alpha=jnp.array([1.0, 0.5, 2.0, 1.5])
    ),
    "distillation": functools.partial(
        losses.distillation, teacher_logits=TEACHER, temperature=2.0, alpha=0.4
    ),
    "pairwise_confusion": functools.partial(losses.pairwise_confusion, weight=0.7),
}


def test_every_loss_of_logits_and_classes_takes_it():
    takes = {
        name
        for name in losses.__all__
        if {"logits", "labels"}
        <= inspect.signature(getattr(losses, name)).parameters.keys()
    }
    assert takes - {"sigmoid_focal_loss"} == set(SMOOTHED)  # no classes there


def test_it_is_the_loss_of_all_classes_in_the_shares_of_the_smoothed_label():
    """Σ_k q_k loss(k), q = (1 - s) y + s / K, but for what does not depend on labels."""
    q = 0.7 * np.eye(4)[np.asarray(LABELS)] + 0.3 / 4
    for name, loss in SMOOTHED.items():
        if name == "pairwise_confusion":  # whose pairs are of the labels as they are
            term = loss(LOGITS, LABELS) - losses.cross_entropy(LOGITS, LABELS)
            loss = functools.partial(losses.cross_entropy)
        else:
            term = 0.0
        of_class = [loss(LOGITS, jnp.full(6, k)) for k in range(4)]
        expected = np.sum(q.T * np.asarray(of_class, np.float64), axis=0) + term
        smoothed = SMOOTHED[name](LOGITS, LABELS, label_smoothing=0.3)
        np.testing.assert_allclose(smoothed, expected, rtol=1e-5, err_msg=name)
        plain = SMOOTHED[name](LOGITS, LABELS)
        without = SMOOTHED[name](LOGITS, LABELS, label_smoothing=0.0)
        np.testing.assert_array_equal(without, plain)
        assert np.abs(smoothed - plain).max() > 0.01


def test_a_class_that_is_masked_out_carries_no_smoothing_of_zero():
    masked = LOGITS.at[:, 3].set(-jnp.inf)
    for name, loss in SMOOTHED.items():
        if name == "distillation":  # the teacher does not mask it
            loss = functools.partial(loss, teacher_logits=masked)
        assert np.isfinite(loss(masked, LABELS % 3, label_smoothing=0.0)).all(), name

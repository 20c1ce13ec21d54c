import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.losses import cross_entropy, one_hot, pairwise_confusion

LABELS = jnp.array([0, 1, 2, 3, 3, 1, 0, 2])  # pairs 0-3, 1-1, 2-0, 3-2


def example():
    rng = np.random.default_rng(0)
    return jnp.asarray(2 * rng.normal(size=(8, 4)), jnp.float32)


def test_pairs_have_the_loss_of_the_source():
    logits = example()
    loss = pairwise_confusion(logits, LABELS, weight=3.0)
    z = np.asarray(logits, np.float64)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    for i in range(4):
        first, second = LABELS[i], LABELS[i + 4]
        expected = -np.log(p[i, first]) - np.log(p[i + 4, second])
        if first != second:
            expected += 3.0 * ((p[i] - p[i + 4]) ** 2).sum()
        np.testing.assert_allclose(loss[i] + loss[i + 4], expected, rtol=1e-5)


def test_both_partners_bear_the_same():
    logits = example()
    borne = pairwise_confusion(logits, LABELS, weight=3.0) - cross_entropy(logits, LABELS)
    np.testing.assert_allclose(borne[:4], borne[4:], atol=1e-6)
    assert borne[1] == 0
    assert (borne[jnp.array([0, 2, 3])] > 0.01).all()


def test_without_weight_or_within_a_class_it_is_cross_entropy():
    logits = example()
    plain = cross_entropy(logits, LABELS)
    np.testing.assert_array_equal(pairwise_confusion(logits, LABELS, weight=0.0), plain)
    same = jnp.tile(LABELS[:4], 2)
    for labels in (same, one_hot(same, 4)):
        np.testing.assert_array_equal(
            pairwise_confusion(logits, labels, weight=5.0), cross_entropy(logits, labels)
        )


def test_mixed_labels_count_by_the_share_that_differs():
    """At one class each the source's 0 and 1, continuous in between."""
    logits = example()
    partners = {0: 0.0, 1: 1.0, 2: 0.25, 3: 1e-3}  # of the first four, by what differs
    mixed = np.zeros((8, 4))
    for i, share in partners.items():
        mixed[i, 0] = 1.0
        mixed[i + 4, 0], mixed[i + 4, 3] = 1 - share, share
    labels = jnp.asarray(mixed, jnp.float32)
    plain = cross_entropy(logits, labels)
    borne = pairwise_confusion(logits, labels, weight=2.0) - plain
    z = np.asarray(logits, np.float64)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    distance = ((p[:4] - p[4:]) ** 2).sum(-1)
    expected = np.array(list(partners.values())) * distance
    np.testing.assert_allclose(borne, np.tile(expected, 2), rtol=1e-4, atol=1e-6)
    hard = pairwise_confusion(logits, LABELS, weight=2.0)
    dense = pairwise_confusion(logits, one_hot(LABELS, 4), weight=2.0)
    np.testing.assert_allclose(dense, hard, rtol=1e-6)


def test_the_gradient_draws_outputs_together_and_is_zero_where_they_are_equal():
    labels = jnp.array([0, 1])

    def term(z):
        loss = pairwise_confusion(z, labels, weight=1.0) - cross_entropy(z, labels)
        return loss.sum()

    apart = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    nearer = apart - 0.1 * jax.grad(term)(apart)
    assert term(nearer) < term(apart)
    np.testing.assert_array_equal(jax.grad(term)(jnp.ones((2, 2))), jnp.zeros((2, 2)))


def test_bad_arguments_raise():
    logits = example()
    with pytest.raises(ValueError, match=r"an even batch, got shape \[7, 4\]; leave"):
        pairwise_confusion(logits[:7], LABELS[:7], weight=1.0)
    unchecked = inspect.unwrap(pairwise_confusion)
    with pytest.raises(ValueError, match=r"must be \[batch, classes\] .*\[2, 4, 4\]"):
        unchecked(logits.reshape(2, 4, 4), LABELS.reshape(2, 4), weight=1.0)
    with pytest.raises(ValueError, match=r"weight must be zero or positive, got -1\.0"):
        pairwise_confusion(logits, LABELS, weight=-1.0)

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import triplet_loss

unchecked = inspect.unwrap(triplet_loss)
MININGS = ["batch_hard", "semi_hard"]
LABELS = jnp.array([7, -3, 7, 7, -3, 2**30, 5, 5])  # the sixth has no positive


def others(labels, a):
    """Positives and negatives of an anchor, as lists of indices."""
    rest = [i for i in range(len(labels)) if i != a]
    positives = [i for i in rest if labels[i] == labels[a]]
    return positives, [i for i in rest if labels[i] != labels[a]]


def hinge(gap, margin):
    return np.log1p(np.exp(gap)) if margin == "soft" else max(0.0, margin + gap)


def batch_hard(x, labels, margin):
    x, labels, out = np.float64(x), np.asarray(labels), []
    for a in range(len(x)):
        positives, negatives = others(labels, a)
        if not positives or not negatives:
            out.append(0.0)
            continue
        farthest = max(np.linalg.norm(x[a] - x[p]) for p in positives)
        nearest = min(np.linalg.norm(x[a] - x[n]) for n in negatives)
        out.append(hinge(farthest - nearest, margin))
    return np.array(out)


def semi_hard(x, labels, margin):
    x, labels, out = np.float64(x), np.asarray(labels), []
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    for a in range(len(z)):
        positives, negatives = others(labels, a)
        terms = []
        for p in positives if negatives else []:
            to_p = ((z[a] - z[p]) ** 2).sum()
            to_negatives = [((z[a] - z[n]) ** 2).sum() for n in negatives]
            farther = [d for d in to_negatives if d > to_p]
            to_n = min(farther) if farther else max(to_negatives)
            terms.append(hinge(to_p - to_n, margin))
        out.append(np.mean(terms) if terms else 0.0)
    return np.array(out)


REFERENCE = {"batch_hard": batch_hard, "semi_hard": semi_hard}


def batch(seed=0, size=8, features=3):
    x = np.random.default_rng(seed).normal(size=(size, features))
    return jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize("margin", [0.3, 1.0, "soft"])
@pytest.mark.parametrize("mining", MININGS)
def test_matches_loops_over_triplets(mining, margin):
    loss = jax.jit(lambda x, y: triplet_loss(x, y, margin=margin, mining=mining))
    for seed in range(5):
        x = batch(seed, size=8)
        expected = REFERENCE[mining](x, LABELS, margin)
        np.testing.assert_allclose(loss(x, LABELS), expected, rtol=2e-5, atol=1e-6)
        assert expected[5] == 0
        assert (expected > 0).sum() >= 2


def test_semi_hard_takes_a_farther_negative_and_else_the_farthest():
    loss_of = jax.jit(lambda x, y: triplet_loss(x, y, margin=3.0, mining="semi_hard"))
    labels = jnp.array([0, 0, 1, 1])
    square = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    # The third is as far as the positive, so the fourth is the first one farther.
    np.testing.assert_array_equal(loss_of(square, labels)[0], 3 + 2 - 4)
    angles = jnp.array([0.0, 2.0, 0.5, 1.0])
    arc = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    expected = 3 + 4 * np.sin(1.0) ** 2 - 4 * np.sin(0.5) ** 2  # chord² = 4 sin²(θ/2)
    np.testing.assert_allclose(loss_of(arc, labels)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", [0.5, "soft"])
def test_anchors_without_a_triplet_have_loss_and_gradient_zero(mining, margin):
    def total(x, labels):
        return triplet_loss(x, labels, margin=margin, mining=mining).sum()

    x = batch(size=4)
    both = jax.jit(jax.value_and_grad(total))
    for labels in (jnp.zeros(4, int), jnp.arange(4)):
        value, gradient = both(x, labels)
        assert value == 0
        np.testing.assert_array_equal(gradient, np.zeros((4, 3)))
    assert triplet_loss(x[:1], jnp.zeros(1, int), margin=margin, mining=mining) == 0


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", [0.5, "soft"])
def test_gradients_are_finite_where_embeddings_coincide(mining, margin):
    def total(x):
        return triplet_loss(x, LABELS, margin=margin, mining=mining).sum()

    slope = jax.jit(jax.grad(total))
    equal, some_equal = jnp.ones((8, 3)), batch().at[1].set(batch()[0])
    for x in (equal, some_equal, jnp.zeros((8, 3)), batch().at[3].set(0.0)):
        assert np.isfinite(slope(x)).all()
    np.testing.assert_allclose(slope(equal), np.zeros((8, 3)), atol=1e-6)


def test_batch_hard_is_optax_on_the_hardest_triplets():
    x = batch(3)
    positives, negatives = [], []
    for a in range(8):
        ps, ns = others(np.asarray(LABELS), a)

        def distance(i, a=a):
            return np.linalg.norm(x[a] - x[i])

        positives.append(max(ps, key=distance, default=a))
        negatives.append(min(ns, key=distance))
    theirs = optax.losses.triplet_margin_loss(
        x, x[np.array(positives)], x[np.array(negatives)], margin=2.0, eps=0.0
    )
    ours = triplet_loss(x, LABELS, margin=2.0)
    keep = np.arange(8) != 5
    np.testing.assert_allclose(ours[keep], theirs[keep], rtol=1e-5)


def test_neighbours_far_from_the_origin_are_told_apart():
    """|x|² is 10⁸ here, with a spacing of 8 in float32."""
    x = 1e4 + jnp.array([[0.0, 0], [1, 0], [0, 3], [0, -2]])
    loss = triplet_loss(x, jnp.array([0, 0, 1, 1]), margin=10.0)
    np.testing.assert_allclose(loss, [9, 11 - 5**0.5, 12, 13], rtol=1e-6)


@pytest.mark.parametrize("mining", MININGS)
def test_neither_pass_keeps_differences_of_all_pairs(mining):
    def total(x):
        return triplet_loss(x, jnp.arange(64) // 4, margin=0.2, mining=mining).sum()

    x = jnp.zeros((64, 128))
    compiled = jax.jit(jax.grad(total)).lower(x).compile()
    pairs, differences = 64 * 64 * 4, 64 * 64 * 128 * 4
    used = compiled.memory_analysis().temp_size_in_bytes
    assert used < 20 * pairs < differences / 6


@pytest.mark.parametrize("mining", MININGS)
def test_invariances(mining):
    loss_of = jax.jit(lambda x, y: triplet_loss(x, y, margin=0.5, mining=mining))

    @given(st.integers(0, 10**6), st.floats(0.1, 10))
    def check(seed, scale):
        rng, x = np.random.default_rng(seed), batch(seed)
        loss = loss_of(x, LABELS)
        order = rng.permutation(8)
        np.testing.assert_allclose(
            loss_of(x[order], LABELS[order]), loss[order], 1e-5, 1e-6
        )
        np.testing.assert_array_equal(loss_of(x, 11 - LABELS), loss)
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
        np.testing.assert_allclose(loss_of(x @ rotation, LABELS), loss, 1e-3, 1e-4)
        if mining == "semi_hard":
            np.testing.assert_allclose(loss_of(scale * x, LABELS), loss, 1e-3, 1e-4)
        else:
            np.testing.assert_allclose(loss_of(x + scale, LABELS), loss, 1e-3, 1e-4)

    check()


@pytest.mark.parametrize("mining", MININGS)
def test_it_parts_two_classes_and_then_rests(mining):
    labels = jnp.array([0, 1, 0, 1, 0, 1])

    def mean(x):
        return triplet_loss(x, labels, margin=0.2, mining=mining).mean()

    both, x = jax.jit(jax.value_and_grad(mean)), batch(size=6)
    before, _ = both(x)
    for _ in range(300):
        x = x - 0.3 * both(x)[1]
    value, gradient = both(x)
    assert before > 0.2
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((6, 3)))


X, Y = jnp.zeros((4, 3)), jnp.zeros(4, int)
BAD_INPUT = [
    (X[0], Y, r"embeddings must be floating .*got float32\[3\]"),
    (X.astype(int), Y, r"embeddings must be floating .*got int32\[4, 3\]"),
    (X, Y[:3], r"labels must be integers of shape \[4\] .*got int32\[3\]"),
    (X, X[:, 0], r"labels must be integers of shape \[4\] .*got float32\[4\]"),
]


@pytest.mark.parametrize(("embeddings", "labels", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda x, y: unchecked(x, y, margin=0.2), embeddings, labels)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="margin must be zero or positive, got -1"):
        triplet_loss(X, Y, margin=-1.0)
    with pytest.raises(ValueError, match="margin must be a number or \"soft\", got 'no'"):
        triplet_loss(X, Y, margin="no")
    with pytest.raises(ValueError, match=r"mining must be 'batch_hard' or .*, got .all"):
        triplet_loss(X, Y, margin=0.2, mining="all")

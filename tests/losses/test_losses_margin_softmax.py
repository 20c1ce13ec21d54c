import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.losses import arcface_logits, cosface_logits, cross_entropy

BOTH = pytest.mark.parametrize("logits_of", [arcface_logits, cosface_logits])
LABELS = jnp.array([0, 4, 2, 2, 1, 3])


def example(seed=0):
    rng = np.random.default_rng(seed)
    x, weights = rng.normal(size=(6, 3)), rng.normal(size=(3, 5))
    return jnp.asarray(x, jnp.float32), jnp.asarray(weights, jnp.float32)


def reference(x, weights, labels, scale, margin, kind):
    x, weights = np.float64(x), np.float64(weights)
    out = np.empty((len(x), weights.shape[1]))
    for i, row in enumerate(x):
        for j, column in enumerate(weights.T):
            cosine = row @ column / np.linalg.norm(row) / np.linalg.norm(column)
            angle = np.arccos(np.clip(cosine, -1, 1))
            if j == labels[i] and kind is cosface_logits:
                cosine -= margin
            elif j == labels[i] and angle <= np.pi - margin:
                cosine = np.cos(angle + margin)
            elif j == labels[i]:
                cosine -= margin * np.sin(margin)
            out[i, j] = scale * cosine
    return out


def test_beyond_pi_less_the_margin_the_cosine_falls_in_a_line():
    own = jnp.array([[-1.0, 0.0]])  # opposite to its class
    logits = arcface_logits(own, jnp.eye(2), jnp.array([0]), scale=10.0, margin=0.5)
    want = 10 * (-1 - 0.5 * np.sin(0.5))
    np.testing.assert_allclose(logits, [[want, 0.0]], rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize("margin", [0.0, 0.35, 1.2])
def test_matches_loops_over_angles(logits_of, margin):
    x, weights = example()
    logits = logits_of(x, weights, LABELS, scale=10.0, margin=margin)
    expected = reference(x, weights, LABELS.tolist(), 10.0, margin, logits_of)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("logits_of", "margin"), [(arcface_logits, 0.5), (cosface_logits, 0.35)]
)
def test_defaults_are_the_papers(logits_of, margin):
    x, weights = example()
    expected = reference(x, weights, LABELS.tolist(), 64.0, margin, logits_of)
    np.testing.assert_allclose(logits_of(x, weights, LABELS), expected, 1e-5, 1e-4)


@BOTH
def test_without_a_margin_it_is_the_normalised_softmax(logits_of):
    x, weights = example()
    logits = logits_of(x, weights, LABELS, scale=7.0, margin=0.0)
    x, weights = x / jnp.linalg.norm(x, axis=1)[:, None], weights.T
    weights = weights / jnp.linalg.norm(weights, axis=1)[:, None]
    np.testing.assert_allclose(logits, 7 * x @ weights.T, rtol=1e-5, atol=1e-5)


def at_angles(angles, margin, scale=1.0):
    """The own class's logit of unit vectors at these angles from its weight."""
    x = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    labels = jnp.zeros(len(angles), int)
    return arcface_logits(x, jnp.eye(2), labels, scale=scale, margin=margin)[:, 0]


@pytest.mark.parametrize("margin", [0.1, 0.5, np.pi / 2])
def test_the_logit_of_the_own_class_falls_with_the_angle_over_all_of_0_to_pi(margin):
    values = np.asarray(at_angles(jnp.linspace(0.0, np.pi, 400), margin))
    assert (np.diff(values) < 1e-6).all()
    assert np.diff(values[::40]).max() < -0.01


@pytest.mark.parametrize(
    ("angle", "margin"),
    [(1e-6, 0.5), (1e-4, 0.5), (1e-2, 0.5), (2.6, 0.5), (np.pi - 1e-3, 1e-4)],
)
def test_angles_near_0_and_pi_are_resolved(angle, margin):
    """1 - cos² has no digit left of an angle below 3e-4 in float32."""
    x = jnp.array([[np.cos(angle), np.sin(angle)]], jnp.float32)
    across = jnp.array([-np.sin(angle), np.cos(angle)], jnp.float32)

    @jax.jit
    @jax.value_and_grad
    def both(x):
        own = jnp.zeros(1, int)
        return arcface_logits(x, jnp.eye(2), own, scale=1.0, margin=margin)[0, 0]

    value, gradient = both(x)
    np.testing.assert_allclose(value, np.cos(angle + margin), rtol=0, atol=2e-7)
    slope = -np.sin(angle + margin)
    np.testing.assert_allclose(gradient[0] @ across, slope, rtol=1e-3, atol=1e-6)


@BOTH
def test_gradients_are_finite_at_the_weight_opposite_to_it_and_at_zero(logits_of):
    _, weights = example()
    labels = jnp.arange(5)

    def total(x, weights):
        return cross_entropy(logits_of(x, weights, labels), labels).sum()

    slopes = jax.jit(jax.value_and_grad(total, (0, 1)))
    for x in (weights.T, -weights.T, 3 * weights.T, 0 * weights.T):
        for w in (weights, weights.at[:, 0].set(0.0)):
            assert all(np.isfinite(z).all() for z in jax.tree.leaves(slopes(x, w)))


@BOTH
@pytest.mark.parametrize("label", [-1, 5, 100])
def test_a_label_that_is_no_class(logits_of, label):
    x, weights = example()
    bad = LABELS.at[1].set(label)
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 5\), got {label}"):
        logits_of(x, weights, bad)

    def losses(x, labels):
        return cross_entropy(logits_of(x, weights, labels), labels)

    assert np.isnan(jax.jit(losses)(x, bad)).tolist() == [0, 1, 0, 0, 0, 0]

    @jax.jit
    @jax.grad
    def slope(x, labels):
        return jnp.where(labels == label, 0, losses(x, labels)).sum()

    assert np.isfinite(slope(x, bad)).all()


@BOTH
def test_invariances(logits_of):
    traced = jax.jit(lambda x, w, y: logits_of(x, w, y, scale=5.0, margin=0.3))

    @given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
    def check(seed, scale):
        rng, (x, weights) = np.random.default_rng(seed), example(seed)
        logits = traced(x, weights, LABELS)
        order, classes = rng.permutation(6), rng.permutation(5)
        shuffled = traced(x[order], weights, LABELS[order])
        np.testing.assert_allclose(shuffled, logits[order], 1e-5, 1e-5)
        renamed = traced(x, weights[:, classes], jnp.argsort(classes)[LABELS])
        np.testing.assert_allclose(renamed, logits[:, classes], 1e-5, 1e-5)
        lengths = scale * jnp.arange(1.0, 7.0)[:, None]
        scaled = traced(lengths * x, scale * weights, LABELS)
        np.testing.assert_allclose(scaled, logits, 1e-4, 1e-4)
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
        rotated = traced(x @ rotation, rotation.T @ weights, LABELS)
        np.testing.assert_allclose(rotated, logits, 1e-4, 1e-4)

    check()


@BOTH
def test_the_margin_parts_what_the_softmax_alone_leaves(logits_of):
    """A correct embedding near the boundary: the margin's loss still presses on it."""
    x = jnp.array([[1.0, 0.8]])

    def loss(x, margin):
        logits = logits_of(x, jnp.eye(2), jnp.array([0]), scale=64.0, margin=margin)
        return cross_entropy(logits, jnp.array([0]))[0]

    both = jax.jit(jax.value_and_grad(loss))
    (plain, plain_slope), (pressed, slope) = both(x, 0.0), both(x, 0.3)
    assert plain < 1e-3 < 1 < pressed
    assert slope[0, 1] > 1000 * plain_slope[0, 1] > 0
    settled, _ = both(jnp.array([[1.0, 0.0]]), 0.3)
    assert settled < 1e-6


X, W, Y = jnp.zeros((4, 3)), jnp.zeros((3, 5)), jnp.zeros(4, int)
BAD_INPUT = [
    (X[0], W, Y, r"embeddings must be floating .*got float32\[3\]"),
    (X, W.T, Y, r"class_weights must .*\[3, classes\] .*got float32\[5, 3\]; a class"),
    (X, W.astype(int), Y, r"class_weights must be floating .*got int32\[3, 5\]"),
    (X, W, Y[:3], r"labels must be integers of shape \[4\] .*got int32\[3\]"),
    (X, W, X[:, 0], r"labels must be integers of shape \[4\] .*got float32\[4\]"),
]


@BOTH
@pytest.mark.parametrize(("x", "weights", "labels", "message"), BAD_INPUT)
def test_bad_input_raises_when_traced(logits_of, x, weights, labels, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(inspect.unwrap(logits_of), x, weights, labels)


@BOTH
def test_bad_arguments_raise(logits_of):
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        logits_of(X, W, Y, scale=0.0)
    with pytest.raises(ValueError, match=r"margin must be zero or positive, got -0\.1"):
        logits_of(X, W, Y, margin=-0.1)
    if logits_of is arcface_logits:
        with pytest.raises(ValueError, match=r"margin must be in \[0, π/2\] .*got 2\.0"):
            logits_of(X, W, Y, margin=2.0)


@BOTH
def test_classes_may_be_sharded_over_an_explicit_axis_of_their_own(logits_of):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(8, 3)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
    labels = jnp.arange(8) % 4
    explicit = (jax.sharding.AxisType.Explicit,) * 2
    mesh = jax.make_mesh((4, 2), ("data", "classes"), axis_types=explicit)
    with jax.set_mesh(mesh):
        logits = jax.jit(logits_of)(
            jax.device_put(x, jax.P("data")),
            jax.device_put(weights, jax.P(None, "classes")),
            jax.device_put(labels, jax.P("data")),
        )
    assert logits.sharding.spec == jax.P("data", "classes")
    np.testing.assert_allclose(logits, logits_of(x, weights, labels), atol=2e-5)

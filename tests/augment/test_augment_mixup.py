import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from optix_tricks.augment import Mixed, mixup
from optix_tricks.losses import cross_entropy

KEY = jax.random.key(3)
LABELS = jnp.arange(16) % 5

# Most of the time here goes to the compiler.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
mix = quick_jit(mixup)


def images_of(dtype, shape=(16, 5, 6, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape), dtype)


def lams(alpha, batch=4000):
    return mix(KEY, jnp.zeros((batch, 1, 1, 1)), jnp.zeros(batch, int), alpha=alpha).lam


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_matches_a_loop_in_float64(dtype):
    images = images_of(dtype)
    x, y_a, y_b, lam = mix(KEY, images, LABELS, alpha=1.0)
    assert x.dtype == dtype
    assert lam.dtype == jnp.float32
    assert len(set(np.asarray(lam))) == 16
    order = np.asarray(jax.random.permutation(jax.random.split(KEY)[1], 16))
    np.testing.assert_array_equal(y_a, LABELS)
    np.testing.assert_array_equal(y_b, LABELS[order])
    source = np.asarray(images, np.float64)
    for i in range(16):
        share = np.float64(lam[i])
        blend = share * source[i] + (1 - share) * source[order[i]]
        tolerance = {"uint8": 0.5001, "bfloat16": 0.51, "float16": 0.063, "float32": 1e-4}
        result = np.asarray(x[i], np.float64)
        np.testing.assert_allclose(result, blend, rtol=0, atol=tolerance[x.dtype.name])


def test_float64_is_kept():
    with jax.enable_x64(True):
        images = jnp.asarray(images_of(jnp.float32), jnp.float64) / 3
        mixed = mix(KEY, images, LABELS, alpha=1.0)
        assert mixed.images.dtype == mixed.lam.dtype == jnp.float64
        order = jax.random.permutation(jax.random.split(KEY)[1], 16)
        share = np.asarray(mixed.lam)[:, None, None, None]
        expected = share * np.asarray(images) + (1 - share) * np.asarray(images)[order]
        np.testing.assert_allclose(mixed.images, expected, rtol=1e-14)


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 2.0, 30.0])
def test_lam_is_beta(alpha):
    values = np.asarray(lams(alpha), np.float64)
    assert np.isfinite(values).all()
    assert stats.kstest(values, stats.beta(alpha, alpha).cdf).pvalue > 0.001


@pytest.mark.parametrize("alpha", [1e-4, 0.01, 0.05])
def test_small_alpha_is_finite_and_nearly_a_coin(alpha):
    values = np.asarray(lams(alpha), np.float64)
    assert ((values >= 0) & (values <= 1)).all()
    beta = stats.beta(alpha, alpha)
    for bound in (0.01, 0.3, 0.7, 0.99):  # where float32 still tells values apart
        share, expected = (values <= bound).mean(), beta.cdf(bound)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)


def test_no_alpha_is_the_identity_also_where_it_is_traced():
    images = images_of(jnp.float32)
    for alpha in (0.0, jnp.float32(0)):
        mixed = mix(KEY, images, LABELS, alpha=alpha)
        np.testing.assert_array_equal(mixed.images, images)
        np.testing.assert_array_equal(mixed.lam, 1)
        np.testing.assert_array_equal(mixed.dense(5), jax.nn.one_hot(LABELS, 5))
        logits = jax.random.normal(KEY, (16, 5))
        loss = mixed.loss(cross_entropy, logits)
        np.testing.assert_array_equal(loss, cross_entropy(logits, LABELS))


def test_partners_are_a_uniform_permutation():
    keys = jax.random.split(KEY, 2000)
    images, places = jnp.zeros((4, 1, 1, 1)), jnp.arange(4)
    partners = np.asarray(jax.vmap(mix, (0, None, None))(keys, images, places).labels_b)
    assert (np.sort(partners, axis=1) == np.arange(4)).all()
    _, counts = np.unique(partners @ (4 ** np.arange(4)), return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.001


def test_gradient_is_that_of_both_partners():
    images, order = (
        images_of(jnp.float32),
        jax.random.permutation(jax.random.split(KEY)[1], 16),
    )
    lam, weights = mix(KEY, images, LABELS).lam, jnp.arange(16.0)

    def total(x):
        out = mixup(KEY, x, LABELS).images
        return jnp.sum(weights[:, None, None, None] * out)

    expected = np.asarray(weights * lam)
    np.add.at(expected, np.asarray(order), np.asarray(weights * (1 - lam)))
    gradient = quick_jit(jax.grad(total))(images)
    np.testing.assert_allclose(gradient[:, 0, 0, 0], expected, rtol=1e-5, atol=1e-5)


def test_loss_is_the_mixed_loss_and_that_of_the_dense_labels():
    mixed = mix(KEY, images_of(jnp.uint8), LABELS, alpha=1.0)
    logits = 3 * jax.random.normal(jax.random.key(0), (16, 5))
    for smoothing in (0.0, 0.1):
        loss = functools.partial(cross_entropy, label_smoothing=smoothing)
        a = np.float64(loss(logits, mixed.labels_a))
        b = np.float64(loss(logits, mixed.labels_b))
        lam = np.float64(mixed.lam)
        np.testing.assert_allclose(
            mixed.loss(loss, logits), lam * a + (1 - lam) * b, rtol=1e-6
        )
        by_distribution = loss(logits, mixed.dense(5))
        np.testing.assert_allclose(mixed.loss(loss, logits), by_distribution, rtol=1e-5)


def test_labels_may_be_distributions():
    images = images_of(jnp.uint8)
    by_index = mix(KEY, images, LABELS, alpha=1.0)
    dense = mix(KEY, images, jax.nn.one_hot(LABELS, 5, dtype=jnp.bfloat16), alpha=1.0)
    assert dense.labels_b.dtype == jnp.bfloat16
    assert dense.dense(5).dtype == jnp.float32
    np.testing.assert_array_equal(dense.dense(5), by_index.dense(5))
    logits = jax.random.normal(KEY, (16, 5))
    losses = [mixed.loss(cross_entropy, logits) for mixed in (by_index, dense)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_mixed_batch_is_a_tree_that_unpacks():
    mixed = Mixed(
        jnp.zeros((2, 1, 1, 1)), jnp.array([0, 1]), jnp.array([1, 2]), jnp.ones(2)
    )
    x, y_a, y_b, lam = mixed
    assert (x.shape, lam.shape) == ((2, 1, 1, 1), (2,))
    assert (y_b - y_a == 1).all()
    assert len(jax.tree.leaves(mixed)) == 4
    traced = jax.jit(lambda m: m.dense(3))(mixed)
    np.testing.assert_array_equal(traced, np.eye(3)[[0, 1]])
    assert isinstance(jax.jit(lambda m: m)(mixed), Mixed)


@pytest.mark.parametrize("label", [-1, 5, 100])
def test_labels_out_of_range_raise_or_are_nan_where_they_are_traced(label):
    labels = LABELS.at[3].set(label)
    mixed = mix(KEY, images_of(jnp.uint8), labels, alpha=1.0)
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 5\), got {label}; p"):
        mixed.dense(5)
    dense = np.asarray(jax.jit(lambda m: m.dense(5))(mixed))
    bad = np.asarray((mixed.labels_a == label) | (mixed.labels_b == label))
    assert 1 <= bad.sum() <= 2
    np.testing.assert_array_equal(np.isnan(dense).all(1), bad)
    np.testing.assert_allclose(dense[~bad].sum(1), 1, rtol=1e-6)


def test_a_mixture_shows_between_the_classes_only_where_lam_is_between():
    """The point: on two flat images, brightness is the share of the bright class."""
    images = jnp.repeat(jnp.array([0.0, 1.0]), 8).reshape(16, 1, 1, 1)
    labels = jnp.repeat(jnp.array([0, 1]), 8)
    mixed = mix(KEY, images, labels, alpha=1.0)
    share = mixed.dense(2)[:, 1]
    np.testing.assert_allclose(mixed.images.ravel(), share, atol=1e-6)
    between = (share > 0.01) & (share < 0.99)
    assert between.any()
    np.testing.assert_array_equal(between & (mixed.labels_a == mixed.labels_b), False)


def test_bad_arguments_raise():
    images, unchecked = images_of(jnp.uint8), inspect.unwrap(mixup)
    with pytest.raises(ValueError, match=r"alpha must be zero or positive, got -0\.1"):
        mixup(KEY, images, LABELS, alpha=-0.1)
    for labels, got in (
        (LABELS[:3], r"int32\[3\]"),
        (jnp.zeros(16), r"float32\[16\]"),
        (jnp.zeros((16, 5), int), r"int32\[16, 5\]"),
        (jnp.zeros((3, 5)), r"float32\[3, 5\]"),
    ):
        with pytest.raises(ValueError, match=rf"labels .* \[16\] .*, got {got}"):
            unchecked(KEY, images, labels)
    mixed = mix(KEY, images, jax.nn.one_hot(LABELS, 5))
    with pytest.raises(ValueError, match=r"num_classes must be 5, the last .*, got 6"):
        mixed.dense(6)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        mixed.dense(0)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32])
def test_labels_of_any_integer_dtype_count_all_classes(dtype):
    """In uint8 300 classes would be 44, and 256 none."""
    for classes in (128, 256, 300):
        mixed = Mixed(
            jnp.zeros((2, 1, 1, 1)),
            jnp.array([3, 10], dtype),
            jnp.array([3, 100], dtype),
            jnp.array([1.0, 0.25]),
        )
        for dense in (mixed.dense, jax.jit(mixed.dense, static_argnums=0)):
            rows = np.asarray(dense(classes))
            want = np.zeros((2, classes))
            want[0, 3], want[1, 10], want[1, 100] = 1, 0.25, 0.75
            np.testing.assert_array_equal(rows, want)

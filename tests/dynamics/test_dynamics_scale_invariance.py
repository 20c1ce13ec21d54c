"""Scale-invariant layers are found by what the loss does, not by their names."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks._paths import path_name
from optix_tricks.dynamics import observe_weight_norms, scale_invariance
from optix_tricks.dynamics.norms._scale_invariance import _moved


def convolve(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=layout
    )


def batch_norm(x, p):
    mean, var = (f(x, axis=(0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
    scale, bias = (p[name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
    return scale * (x - mean) / jnp.sqrt(var + 1e-5) + bias


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)

    def kernel(*shape):
        std = np.sqrt(2 / np.prod(shape[:-1]))
        return jnp.asarray(rng.normal(0, std, shape), jnp.float32)

    params = {
        "first": {"kernel": kernel(3, 3, 3, 6), "bias": jnp.zeros(6)},
        "norm1": {"scale": jnp.ones(6), "bias": jnp.zeros(6)},
        "second": {"kernel": kernel(3, 3, 6, 8)},
        "norm2": {"scale": jnp.ones(8), "bias": jnp.zeros(8)},
        "unnormed": {"kernel": kernel(3, 3, 8, 8)},
        "top": {"kernel": kernel(8, 4), "bias": jnp.zeros(4)},
    }
    images = jnp.asarray(rng.standard_normal((16, 6, 6, 3)), jnp.float32)
    labels = jnp.arange(16) % 4

    def loss(p):
        x = convolve(images, p["first"]["kernel"]) + p["first"]["bias"].reshape(
            1, 1, 1, 6
        )
        x = jax.nn.relu(batch_norm(x, p["norm1"]))
        x = batch_norm(convolve(x, p["second"]["kernel"]), p["norm2"])
        x = jax.nn.relu(convolve(jax.nn.relu(x), p["unnormed"]["kernel"]))
        x = jnp.mean(x, axis=(1, 2)) @ p["top"]["kernel"]
        logits = x + p["top"]["bias"].reshape(1, 4)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(each)

    return {
        "params": params,
        "at the start": scale_invariance(loss, params),
        "in general": scale_invariance(loss, params, key=jax.random.key(2)),
    }


def names(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_name(path) for path, x in leaves if x}


def test_convolutions_before_a_norm_alone_are_invariant(found):
    verdict = found["in general"]
    assert names(verdict.invariant) == {"first/kernel", "second/kernel"}
    # A bias before a norm has no effect at all: neither yes nor no.
    assert names(verdict.undecided) == {"first/bias"}
    for change, cosine, invariant in zip(
        *map(jax.tree.leaves, (verdict.loss_change, verdict.weight_cosine)),
        jax.tree.leaves(verdict.invariant),
        strict=True,
    ):
        if invariant:
            assert float(change) < 1e-4
            assert abs(float(cosine)) < 1e-4


def test_at_a_special_point_zeros_are_undecided_and_a_scale_may_be_invariant(found):
    verdict = found["at the start"]
    zeros = {"first/bias", "norm1/bias", "norm2/bias", "top/bias"}
    assert names(verdict.undecided) == zeros
    both = {"first/kernel", "second/kernel"}
    assert names(verdict.invariant) == both | {"norm1/scale"}


def test_the_verdict_is_a_mask(found):
    mask = found["in general"].invariant
    tx = observe_weight_norms(optax.sgd(0.1), learning_rate=0.1, mask=mask)
    state = tx.init(found["params"])
    assert state.trace["first"]["bias"] is None
    assert state.trace["second"]["kernel"] is not None
    assert state.trace["top"]["kernel"] is None


def test_in_16_bits_and_for_what_is_not_finite():
    x = jnp.array([1.0, 2.0])

    def loss(p):
        unit = p["unit"].astype(jnp.float32)
        return jnp.sum(x * unit / jnp.linalg.norm(unit)) + p["slope"].astype(jnp.float32)

    for dtype in (jnp.bfloat16, jnp.float32):
        params = {"slope": jnp.ones((), dtype), "unit": jnp.array([3.0, 0.5], dtype)}
        verdict = scale_invariance(loss, params)
        assert names(verdict.invariant) == {"unit"}
        assert names(verdict.undecided) == set()
    bad = {"slope": jnp.array(jnp.nan), "unit": jnp.ones(2)}
    assert names(scale_invariance(loss, bad).undecided) == {"slope", "unit"}


def test_an_epsilon_that_matters_is_undecided_or_not_invariant():
    x = jax.random.normal(jax.random.key(0), (64, 5))
    w = jax.random.normal(jax.random.key(1), (5, 3))

    def loss(w, eps):
        h = x @ w
        scale = jnp.sqrt(jnp.var(h, axis=0, keepdims=True) + eps)
        return jnp.mean(jax.nn.sigmoid(h / scale + x[:, :3]))

    verdicts = [scale_invariance(lambda w, e=e: loss(w, e), w) for e in (1e-5, 0.03, 9.0)]
    assert [bool(v.invariant) for v in verdicts] == [True, False, False]
    assert [bool(v.undecided) for v in verdicts] == [False, True, False]


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"tolerance must be positive, got 0\.0"):
        scale_invariance(jnp.sum, jnp.ones(2), tolerance=0.0)
    with pytest.raises(ValueError, match="must be real floating-point"):
        scale_invariance(jnp.sum, jnp.ones(2, int))


@pytest.mark.parametrize(
    ("size", "invariant", "undecided"),
    [
        (0.97e-3, True, False),
        (1.03e-3, False, True),
        (9.7e-3, False, True),
        (10.3e-3, False, False),
    ],
)
def test_the_verdict_is_open_between_the_tolerance_and_ten_times_it(
    size, invariant, undecided
):
    """A loss of the direction, at right angles, and a little log |w|; 0 at w."""
    slope = size / np.log(3)  # the larger of the two changes, in units of |g||w|

    def loss(w):
        return w[1] / jnp.linalg.norm(w) + slope * jnp.log(jnp.linalg.norm(w))

    found = scale_invariance(loss, jnp.array([1.0, 0.0]))
    assert (bool(found.invariant), bool(found.undecided)) == (invariant, undecided)
    assert float(found.loss_change) == pytest.approx(size, rel=1e-3)
    assert float(found.weight_cosine) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(("roundings", "undecided"), [(9.85, True), (10.15, False)])
def test_a_level_point_counts_where_the_loss_moves_by_ten_times_its_roundings(
    roundings, undecided
):
    """No gradient at |w| = 1, and 64 k at three times the length."""
    k = roundings * 30 * np.finfo(np.float32).eps / 64

    def loss(w):
        return 1 + k * (jnp.sum(w * w) - 1) ** 2

    found = scale_invariance(loss, jnp.array([0.6, 0.8]))
    assert not found.invariant
    assert bool(found.undecided) == undecided


@pytest.mark.parametrize(("level", "spread"), [(0.5, 0.05), (-4.0, 0.4), (0.0, 0.1)])
def test_a_random_point_is_a_tenth_away(level, spread):
    x = jnp.full(20_000, level, jnp.bfloat16 if level else jnp.float32)
    moved = _moved(x, jax.random.key(0))
    assert moved.dtype == x.dtype
    away = np.asarray(moved, np.float64) - level
    assert np.std(away) == pytest.approx(spread, rel=0.03)
    assert np.mean(away) == pytest.approx(0, abs=4 * spread / np.sqrt(20_000))

"""Batch renormalisation against NumPy in float64, its gradient written by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.layers import BatchNorm, BatchRenorm, renorm_bounds, unopened_bounds
from optix_tricks.training import functional


def normal(*shape, seed=0, mean=0.0, std=1.0):
    x = np.random.default_rng(seed).normal(mean, std, shape)
    return jnp.asarray(x, jnp.float32)


class Net(nnx.Module):
    """A linear layer, whose gradient has passed the norm, and the norm."""

    def __init__(self, norm, features=3):
        self.linear = nnx.Linear(features, features, use_bias=False, rngs=nnx.Rngs(0))
        self.norm = norm

    def __call__(self, x, *, train):
        return self.norm(self.linear(x), use_running_average=not train)


def training(norm):
    """The layer as a pure function of its state and its input."""
    graph, state = nnx.split(norm)

    def apply(state, x):
        module = nnx.merge(graph, state, copy=True)
        y = module(x, use_running_average=False)
        return y, nnx.state(module)

    return apply, state


def test_steps_equal_a_hand_written_backward_pass_with_r_and_d_constant():
    """Loss: the mean over rows of t · y. Clipped at some features, not at others."""
    m, epsilon, rate = 0.6, 1e-3, 0.1
    norm = BatchRenorm(
        3,
        r_max=lambda count: 1.0 + 0.1 * count,
        d_max=lambda count: 0.3 * count,
        momentum=m,
        epsilon=epsilon,
        rngs=nnx.Rngs(0),
    )
    apply, params, stats = functional(Net(norm))
    tx = optax.sgd(rate, momentum=0.9)
    state = tx.init(params)

    @jax.jit
    def step(params, stats, state, x, t):
        def loss(params):
            y, new_stats = apply(params, stats, x, train=True)
            return jnp.mean(jnp.sum(t * y, axis=-1)), new_stats

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), stats, state

    w = np.asarray(params["linear"]["kernel"], np.float64)
    gamma, beta, mean, var = np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)
    trace = [np.zeros_like(w), np.zeros(3), np.zeros(3)]
    clipped = []
    for k in range(5):
        x = normal(16, 3, seed=k, mean=0.4, std=1.5)
        t = normal(16, 3, seed=k + 9)
        params, stats, state = step(params, stats, state, x, t)
        x, g = np.asarray(x, np.float64), np.asarray(t, np.float64) / 16
        z = x @ w
        running, sigma_b = np.sqrt(var + epsilon), np.sqrt(z.var(0) + epsilon)
        r_max, d_max = 1 + 0.1 * k, 0.3 * k
        r = np.clip(sigma_b / running, 1 / r_max, r_max)
        d = np.clip((z.mean(0) - mean) / running, -d_max, d_max)
        clipped += [*(r != sigma_b / running), *(d != (z.mean(0) - mean) / running)]
        plain = (z - z.mean(0)) / sigma_b
        dz = gamma * r / sigma_b * (g - g.mean(0) - plain * (g * plain).mean(0))
        grads = x.T @ dz, (g * (plain * r + d)).sum(0), g.sum(0)
        mean, var = m * mean + (1 - m) * z.mean(0), m * var + (1 - m) * z.var(0)
        trace = [0.9 * v + dv for v, dv in zip(trace, grads, strict=True)]
        w, gamma, beta = (
            p - rate * v for p, v in zip((w, gamma, beta), trace, strict=True)
        )
    assert 0.2 < np.mean(clipped) < 0.8
    close = {"rtol": 1e-5, "atol": 2e-6}
    np.testing.assert_allclose(params["linear"]["kernel"], w, **close)
    np.testing.assert_allclose(params["norm"]["scale"], gamma, **close)
    np.testing.assert_allclose(params["norm"]["bias"], beta, **close)
    np.testing.assert_allclose(stats["norm"]["mean"], mean, **close)
    np.testing.assert_allclose(stats["norm"]["var"], var, **close)
    assert stats["norm"]["count"] == 5
    y, _ = apply(params, stats, normal(2, 3, seed=50), train=False)
    z = np.asarray(normal(2, 3, seed=50), np.float64) @ w
    np.testing.assert_allclose(
        y, gamma * (z - mean) / np.sqrt(var + epsilon) + beta, **close
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_without_room_to_correct_it_is_batch_norm_to_the_bit(dtype):
    """Outputs, gradients and statistics over three batches, then evaluation."""
    options = {"momentum": 0.7, "dtype": dtype, "rngs": nnx.Rngs(0)}
    options["scale_init"] = nnx.initializers.constant(1.3)
    ours, state = training(BatchRenorm(3, r_max=1, d_max=0, **options))
    theirs, plain = training(BatchNorm(3, **options))
    for seed in range(3):
        x = normal(8, 2, 3, seed=seed, mean=2, std=3).astype(dtype)

        def loss(state, x, apply):
            y, _ = apply(state, x)
            return jnp.sum(jnp.sin(y.astype(jnp.float32)))

        grads, dx = jax.grad(loss, argnums=(0, 1))(state, x, ours)
        want, dx_want = jax.grad(loss, argnums=(0, 1))(plain, x, theirs)
        np.testing.assert_array_equal(dx, dx_want)
        for name in ("scale", "bias"):
            np.testing.assert_array_equal(grads[name][...], want[name][...])
        (y, state), (y_want, plain) = ours(state, x), theirs(plain, x)
        np.testing.assert_array_equal(y, y_want)
        for name in ("mean", "var"):
            np.testing.assert_array_equal(state[name][...], plain[name][...])


def test_without_bounds_training_gives_what_evaluation_gives():
    """Also for a batch of one kind, which batch normalisation cannot tell from any."""
    infinite = BatchRenorm(3, r_max=np.inf, d_max=np.inf, rngs=nnx.Rngs(0))
    plain = BatchNorm(3, rngs=nnx.Rngs(0))
    for norm in (infinite, plain):
        norm.mean[...], norm.var[...] = jnp.array([0.5, 1.0, 2.0]), jnp.full(3, 4.0)
    x = normal(4, 3, mean=3.0, std=0.5)
    close = {"rtol": 1e-4, "atol": 1e-5}
    want = plain(x, use_running_average=True)
    np.testing.assert_allclose(infinite(x), want, **close)
    assert np.abs(plain(x) - want).max() > 0.5


def test_default_bounds_are_the_papers():
    norm = BatchRenorm(1, rngs=nnx.Rngs(0))
    at = [0, 5_000, 15_000, 22_500, 25_000, 40_000, 10**6]
    r_max = [float(norm.r_max(count)) for count in at]
    d_max = [float(norm.d_max(count)) for count in at]
    assert r_max == pytest.approx([1, 1, 1 + 2 * 10 / 35, 2, 1 + 2 * 20 / 35, 3, 3])
    assert d_max == pytest.approx([0, 0, 2.5, 5 * 17.5 / 20, 5, 5, 5])


def test_bounds_scale_with_the_run():
    """The paper's, in the time of a run a hundredth as long, and at the ends."""
    norm = BatchRenorm(1, rngs=nnx.Rngs(0))
    short = renorm_bounds(1_600)
    for count in (0, 50, 51, 150, 250, 400, 401, 1_600):
        assert short.r_max(count) == pytest.approx(float(norm.r_max(100 * count)))
        assert short.d_max(count) == pytest.approx(float(norm.d_max(100 * count)))
    late = renorm_bounds(1_000, fraction=1.0)
    assert (late.r_max(999), late.r_max(1_000)) == (pytest.approx(3 - 2 / 875), 3)
    for steps in (1, 2, 3, 7):
        assert [float(bound(steps)) for bound in renorm_bounds(steps)] == [3, 5]
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match="fraction must be"):
            renorm_bounds(100, fraction=fraction)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        renorm_bounds(0)


def test_what_a_run_leaves_plain_batch_norm_is_named():
    def norm(**bounds):
        return BatchRenorm(1, **bounds, rngs=nnx.Rngs(0))

    model = nnx.Sequential(
        norm(),
        norm(r_max=1.0),
        norm(r_max=1.0, d_max=0.0),  # by choice
        norm(r_max=2.0),
        norm(**renorm_bounds(50)._asdict()),
        BatchNorm(1, rngs=nnx.Rngs(0)),
    )
    assert unopened_bounds(model, 5_001) == (
        "layers.0",
        "layers.1",
    )  # r, d of 0 ... 5,000
    assert unopened_bounds(model, 5_002) == ()


def test_bounds_are_read_before_the_count_and_evaluation_does_not_count():
    seen = []

    def r_max(count):
        seen.append(int(count))
        return 1.0

    norm = BatchRenorm(3, r_max=r_max, d_max=0.0, rngs=nnx.Rngs(0))
    x = normal(4, 3)
    for mode in (False, True, False, True, False):
        norm(x, use_running_average=mode)
    assert seen == [0, 1, 2]
    assert norm.count[...] == 3


def test_count_is_a_float_that_averages_leave_alone_and_that_stands_still_at_its_end():
    norm = BatchRenorm(3, rngs=nnx.Rngs(0))
    norm.count[...] = jnp.float32(2**24)
    apply, state = training(norm)
    _, after = apply(state, normal(4, 3))
    assert after["count"][...] == 2**24
    assert after["count"][...].dtype == jnp.float32
    assert isinstance(norm.count, nnx.BatchStat)


def test_a_feature_that_the_running_statistics_are_far_from_is_corrected_to_the_bounds():
    norm = BatchRenorm(2, r_max=2.0, d_max=1.5, epsilon=0.0, rngs=nnx.Rngs(0))
    x = jnp.array([[-10.0, 100.0], [10.0, 100.2]])  # deviations 10 and 0.1
    np.testing.assert_allclose(norm(x), [[-2, -0.5 + 1.5], [2, 0.5 + 1.5]], rtol=1e-4)


def test_state_and_gradients_stay_finite_for_a_constant_batch():
    apply, state = training(BatchRenorm(3, r_max=3.0, d_max=5.0, rngs=nnx.Rngs(0)))
    x = jnp.full((4, 3), 2.0)
    grads = jax.grad(lambda state, x: jnp.sum(apply(state, x)[0] ** 2), (0, 1))(state, x)
    y, after = apply(state, x)
    chex.assert_tree_all_finite((grads, after))
    np.testing.assert_allclose(y, x, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": 0.5}, "r_max must be a number of at least 1 or a schedule, got 0.5"),
        ({"r_max": float("nan")}, "r_max must be .* got nan"),
        ({"d_max": -1}, "d_max must be a number of at least 0 or a schedule, got -1"),
        ({"momentum": 2.0}, "momentum must be"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        BatchRenorm(3, rngs=nnx.Rngs(0), **options)


def test_a_run_of_one_step_is_the_shortest():
    closed = BatchRenorm(1, r_max=1.0, d_max=lambda count: count, rngs=nnx.Rngs(0))
    assert unopened_bounds(nnx.Sequential(closed), 1) == ("layers.0",)
    assert unopened_bounds(nnx.Sequential(closed), 2) == ()

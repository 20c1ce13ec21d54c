"""The running noise scale is the weighted average of its steps, with the right error."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from optix_tricks.dynamics import noise_scale_from_norms, running_noise_scale


def logged(steps, *layers, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(2, 0.5, (steps, *layers))
    noise = rng.normal(50, 4, (steps, *layers)) + 3 * signal
    return noise, signal


def norms(noise, signal, b_small=4, b_big=16):
    both = (signal + noise / b for b in (b_small, b_big))
    return tuple(jnp.asarray(x, jnp.float32) for x in both)


def run(average, small_sq, big_sq):
    def body(state, pair):
        return average.update(state, *pair), None

    return lax.scan(body, average.init(small_sq.shape[1:]), (small_sq, big_sq))[0]


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_it_is_the_weighted_average_of_a_loop_in_float64(decay):
    noise, signal = logged(30, 2)
    average = running_noise_scale(4, 16, decay=decay)
    state = jax.jit(lambda *x: run(average, *x))(*norms(noise, signal))
    result = average.estimate(state)
    weights = decay ** np.arange(29, -1, -1)
    weights /= weights.sum()
    for measured, error, values in (
        (result.noise, result.noise_error, noise),
        (result.signal, result.signal_error, signal),
    ):
        mean = weights @ values
        share = np.sum(weights**2)
        variance = weights @ (values - mean) ** 2 / (1 - share)
        np.testing.assert_allclose(measured, mean, rtol=1e-5)
        np.testing.assert_allclose(error, np.sqrt(variance * share), rtol=1e-4)
    ratio = (weights @ noise) / (weights @ signal)
    np.testing.assert_allclose(result.noise_scale, ratio, rtol=1e-5)


def test_a_long_window_is_the_average_of_all_steps():
    pair = norms(*logged(20))
    state = run(running_noise_scale(4, 16, decay=0.9999999), *pair)
    result = running_noise_scale(4, 16, decay=0.9999999).estimate(state)
    whole = noise_scale_from_norms(*pair, b_small=4, b_big=16)
    for a, b in zip(result, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_intervals_hold_the_truth_at_the_nominal_rate():
    dims, steps, devices, size = 20, 150, 4, 16
    w = jnp.full(dims, 0.8 / dims**0.5)
    average = running_noise_scale(size, devices * size, decay=0.98)

    def one(key):
        draws = jax.random.normal(key, (steps, devices, dims)) / size**0.5
        g = w[None, None] - draws
        small_sq = jnp.mean(jnp.sum(g**2, axis=2), axis=1)
        return average.estimate(run(average, small_sq, jnp.sum(g.mean(1) ** 2, axis=1)))

    result = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 400))
    truth = dims / 0.64
    held = np.mean((result.low <= truth) & (truth <= result.high))
    assert 0.91 <= held <= 0.985  # 4 and 3 standard errors of 400 draws
    assert np.mean(result.decided) > 0.99


def test_the_errors_are_infinite_until_there_are_two_steps():
    average = running_noise_scale(4, 16)
    state = average.init()
    nothing = average.estimate(state)
    assert (nothing.low, nothing.noise_scale, nothing.high) == (0, np.inf, np.inf)
    state = average.update(state, 5.0, 2.0)
    once = average.estimate(state)
    np.testing.assert_allclose(once.noise_scale, 16, rtol=1e-5)
    assert (once.low, once.high, once.standard_error) == (0, np.inf, np.inf)
    again = average.estimate(average.update(state, 5.0, 2.0))
    np.testing.assert_allclose([again.low, again.high], 16, rtol=1e-3)
    last = running_noise_scale(4, 16, decay=0.0)
    state = last.update(last.update(last.init(), 9.0, 2.0), 5.0, 2.0)
    np.testing.assert_allclose(last.estimate(state).noise_scale, 16, rtol=1e-5)
    assert not last.estimate(state).decided


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_overflowed_is_left_out_of_its_layer(bad):
    average = running_noise_scale(4, 16, decay=0.9)
    good = run(average, *norms(*logged(5, 2)))
    state = average.update(good, jnp.array([bad, 5.0]), jnp.array([2.0, 2.0]))
    for before, after in zip(good, state, strict=True):
        assert after[0] == before[0]
        assert after[1] != before[1]


def test_the_state_keeps_its_types_and_takes_16_bits():
    average = running_noise_scale(4, 16)
    state = average.init((3,))
    small_sq = jnp.array([5.0, 6.0, 7.0], jnp.bfloat16)
    new = jax.jit(average.update)(state, small_sq, small_sq / 2)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert {x.dtype for x in new} == {x.dtype for x in state} == {jnp.dtype("float32")}
    assert not any(x.weak_type for x in (*new, *state))


def test_devices_against_their_mean():
    """The norms cost two sums and a reduction where gradients are averaged anyway."""
    x = jax.random.normal(jax.random.key(0), (8, 16, 5))

    def norms_of_devices(x):
        gradient = jnp.mean(1.0 - x, axis=0)
        mean = lax.pmean(gradient, "devices")
        return lax.pmean(jnp.sum(gradient**2), "devices"), jnp.sum(mean**2)

    small_sq, big_sq = jax.pmap(norms_of_devices, axis_name="devices")(x)
    average = running_noise_scale(16, 128)
    state = average.update(average.init(), small_sq[0], big_sq[0])
    g = np.asarray(1 - x, np.float64).mean(axis=1)
    pairs = [(a, b) for i, a in enumerate(g) for b in g[:i]]
    signal = np.mean([a @ b for a, b in pairs])
    noise = np.mean([16 * np.sum((a - b) ** 2) / 2 for a, b in pairs])
    ratio = noise / signal
    np.testing.assert_allclose(average.estimate(state).noise_scale, ratio, rtol=1e-4)


def test_bad_arguments_raise():
    plain = inspect.unwrap(running_noise_scale)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1.0"):
        plain(4, 16, decay=1.0)
    with pytest.raises(ValueError, match="b_big must be larger than b_small, got 4 and"):
        plain(4, 4)
    average = running_noise_scale(4, 16)
    with pytest.raises(ValueError, match=r"must have one shape, got \[2\] and \[\]"):
        average.update(average.init(), jnp.ones(2), jnp.ones(()))


def test_under_x64_the_state_keeps_its_dtype():
    with jax.enable_x64(True):
        noise = running_noise_scale(8, 32)
        squares = jnp.array([[5.0, 2.0], [4.8, 2.1]])
        state, _ = jax.lax.scan(
            lambda state, pair: (noise.update(state, *pair), None), noise.init(), squares
        )
        assert noise.estimate(state).noise_scale > 0

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.schedules import linear_cosine_decay, noisy_linear_cosine_decay

KEY = jax.random.key(7)


def reference(count, init, steps, periods=0.5, alpha=0.0, beta=0.001, noise=0.0):
    done = np.minimum(count, steps) / steps
    cosine = (1 + np.cos(2 * np.pi * periods * done)) / 2
    return init * ((alpha + 1 - done + noise) * cosine + beta)


ARGUMENTS = [
    (1.0, 100),
    (0.3, 41, 0.5, 0.1, 0.0),
    (0.3, 47, 1.0, 0.0, 0.01),
    (2.0, 10, 2.5, 0.5, 0.2),
    (2.0, 10, 0.7),
    (0.1, 1, 0.0, 0.2),
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_matches_the_formula_of_tensorflow(arguments):
    counts = np.arange(arguments[1] + 5)
    values = linear_cosine_decay(*arguments)(counts)
    expected = reference(counts, *arguments)
    np.testing.assert_allclose(values, expected, rtol=2e-6, atol=2e-7 * arguments[0])


@pytest.mark.parametrize("steps", [1, 3, 41, 47, 1000])
def test_ends_are_exact_traced_or_not(steps):
    for periods in (0.5, 1.5, 2.5):  # the cosine ends at zero
        schedule = linear_cosine_decay(0.5, steps, periods, alpha=0.25, beta=0.125)
        for run in (schedule, jax.jit(schedule)):
            assert run(0) == 0.5 * 1.375
            assert run(steps) == run(10**7) == 0.5 * 0.125
    whole = linear_cosine_decay(0.5, steps, 2.0, alpha=0.25, beta=0.125)
    assert jax.jit(whole)(steps) == whole(10**7) == 0.5 * 0.375


def test_last_steps_of_a_long_run_keep_their_digits():
    steps = 10**5
    left = np.array([1, 2, 10, 100])
    values = linear_cosine_decay(1.0, steps, beta=0.0)(steps - left)
    expected = left / steps * np.sin(np.pi / 2 * left / steps) ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_numbers_may_be_traced():
    def halfway(periods, alpha, beta):
        return linear_cosine_decay(1.0, 10, periods, alpha, beta)(5)

    value = jax.jit(halfway)(0.25, 0.1, 0.2)
    np.testing.assert_allclose(value, reference(5, 1.0, 10, 0.25, 0.1, 0.2), rtol=1e-6)


def test_noise_is_a_function_of_key_and_count_alone():
    schedule = jax.jit(
        noisy_linear_cosine_decay(0.5, 20, key=KEY, num_periods=1.0, alpha=0.1)
    )
    counts = np.arange(25)
    clipped = np.minimum(counts, 20)
    draws = [jax.random.normal(jax.random.fold_in(KEY, int(t))) for t in clipped]
    noise = np.asarray(draws, np.float64) * (1 + clipped) ** (-0.55 / 2)
    expected = reference(counts, 0.5, 20, 1.0, 0.1, noise=noise)
    values = schedule(counts)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values[20:], values[20])
    np.testing.assert_array_equal(schedule(counts.reshape(5, 5)), values.reshape(5, 5))
    other = jax.jit(noisy_linear_cosine_decay(0.5, 20, key=jax.random.key(8)))(counts)
    assert (values[:20] != other[:20]).all()


def test_old_style_keys_serve_as_well():
    new = noisy_linear_cosine_decay(0.5, 20, key=jax.random.key(3))(np.arange(20))
    old = noisy_linear_cosine_decay(0.5, 20, key=jax.random.PRNGKey(3))(np.arange(20))
    np.testing.assert_array_equal(new, old)


def test_variance_of_the_noise_falls_by_its_power():
    def noise_at(count, key):
        schedule = noisy_linear_cosine_decay(
            1.0,
            1000,
            key=key,
            initial_variance=4.0,
            variance_decay=1.5,
            num_periods=0.0,  # the cosine stays 1
        )
        return schedule(count) - linear_cosine_decay(1.0, 1000, 0.0)(count)

    keys = jax.random.split(jax.random.key(0), 4000)
    noise = jax.jit(jax.vmap(lambda key: noise_at(jnp.array([0, 99]), key)))(keys)
    for column, count in enumerate((0, 99)):
        deviation = 2 * (1 + count) ** -0.75
        # 4,000 draws: the error of the deviation is 1.1 %, of the mean 1.6 % of it.
        assert abs(np.std(noise[:, column]) / deviation - 1) < 0.05
        assert abs(np.mean(noise[:, column])) < 0.07 * deviation


def test_variance_zero_is_without_noise():
    counts = np.arange(30)
    calm = noisy_linear_cosine_decay(0.3, 20, key=KEY, initial_variance=0.0)(counts)
    np.testing.assert_array_equal(calm, linear_cosine_decay(0.3, 20)(counts))


def test_numbers_of_the_noise_may_be_swept():
    def at_step_3(variance):
        return noisy_linear_cosine_decay(1.0, 9, key=KEY, initial_variance=variance)(3)

    values = jax.vmap(at_step_3)(jnp.array([0.0, 1.0, 4.0]))
    np.testing.assert_allclose(values[2] - values[0], 2 * (values[1] - values[0]), 1e-5)


def test_bad_arguments_raise():
    for make in (
        linear_cosine_decay,
        lambda *a, **k: noisy_linear_cosine_decay(*a, key=KEY, **k),
    ):
        with pytest.raises(ValueError, match="decay_steps must be at least 1, got 0"):
            make(1.0, 0)
        with pytest.raises(ValueError, match="init_value must be a finite number"):
            make(float("nan"), 10)
        for name in ("num_periods", "alpha", "beta"):
            with pytest.raises(ValueError, match=f"{name} must be zero or positive"):
                make(1.0, 10, **{name: -0.1})
    for name in ("initial_variance", "variance_decay"):
        with pytest.raises(ValueError, match=f"{name} must be zero or positive"):
            noisy_linear_cosine_decay(1.0, 10, key=KEY, **{name: -1.0})

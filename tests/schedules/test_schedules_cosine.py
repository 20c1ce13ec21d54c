import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.schedules import cosine_decay_schedule


def reference(count, init, steps, alpha=0.0, exponent=1.0):
    angle = np.pi * np.minimum(count, steps) / steps
    weight = ((1 + np.cos(angle)) / 2) ** exponent
    return init * ((1 - alpha) * weight + alpha)


ARGUMENTS = [
    (1.0, 100),
    (0.3, 41, 0.1),
    (0.3, 47, 0.01, 2.0),
    (2.0, 10, 0.5, 0.5),
    (0.1, 1, 1.5),
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_matches_reference_and_optax(arguments):
    counts = np.arange(arguments[1] + 5)
    values = cosine_decay_schedule(*arguments)(counts)
    np.testing.assert_allclose(
        values, reference(counts, *arguments), rtol=1e-6, atol=1e-15
    )
    theirs = optax.cosine_decay_schedule(*arguments)(counts)
    np.testing.assert_allclose(values, theirs, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("steps", [1, 3, 41, 47, 55, 1000])
def test_ends_are_exact_traced_or_not(steps):
    schedule = cosine_decay_schedule(0.3, steps, alpha=0.25)
    for run in (schedule, jax.jit(schedule)):
        assert run(0) == np.float32(0.3)
        assert run(steps) == run(10**7) == np.float32(0.3) / 4
        if steps > 1:
            assert run(steps - 1) > run(steps)


def test_last_steps_of_a_long_run_keep_their_digits():
    steps = 10**5
    left = np.array([1, 2, 10, 100])
    values = cosine_decay_schedule(1.0, steps)(steps - left)
    np.testing.assert_allclose(values, np.sin(np.pi / 2 * left / steps) ** 2, rtol=1e-6)


def test_decay_steps_may_exceed_the_counts_dtype():
    np.testing.assert_allclose(cosine_decay_schedule(1.0, 2**32)(2**30), 0.853553, 1e-6)


def test_alpha_and_exponent_may_be_traced():
    def halfway(alpha, exponent):
        return cosine_decay_schedule(1.0, 10, alpha, exponent)(5)

    np.testing.assert_allclose(jax.jit(halfway)(0.2, 2.0), 0.2 + 0.8 / 4, rtol=1e-6)


@given(st.floats(0, 1), st.floats(0.25, 4), st.integers(1, 1000), st.integers(0, 1100))
def test_falls_and_stays_between_its_ends(alpha, exponent, steps, count):
    schedule = cosine_decay_schedule(1.0, steps, alpha, exponent)
    now, after = float(schedule(count)), float(schedule(count + 1))
    assert after <= now + 2e-7
    assert np.float32(alpha) - 1e-7 <= now <= 1 + 1e-7


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="decay_steps must be at least 1, got 0"):
        cosine_decay_schedule(1.0, 0)
    with pytest.raises(ValueError, match=r"alpha must be zero or positive, got -0.1"):
        cosine_decay_schedule(1.0, 10, alpha=-0.1)
    with pytest.raises(ValueError, match="exponent must be positive, got 0"):
        cosine_decay_schedule(1.0, 10, exponent=0.0)
    with pytest.raises(ValueError, match="init_value must be a finite number, got inf"):
        cosine_decay_schedule(float("inf"), 10)

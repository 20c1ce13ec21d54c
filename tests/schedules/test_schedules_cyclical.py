import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.schedules import cyclical_schedule

MODES = ["triangular", "triangular2", "exp_range"]


def reference(count, base, peak, up, down, mode, gamma):
    cycle, position = np.divmod(count, up + down)
    height = np.where(position < up, position / up, (up + down - position) / down)
    amplitude = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": gamma**count}
    return base + (peak - base) * height * amplitude[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (5, 3), (41, 47)])
def test_matches_reference(mode, up, down):
    counts = np.arange(4 * (up + down))
    shape = {"up_steps": up, "down_steps": down, "mode": mode, "gamma": 0.99}
    values = cyclical_schedule(0.1, 0.7, **shape)(counts)
    expected = reference(counts, 0.1, 0.7, up, down, mode, 0.99)
    np.testing.assert_allclose(values, expected, rtol=2e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (3, 41), (47, 55), (1000, 10)])
def test_knees_are_exact_traced_or_not(mode, up, down):
    shape = {"up_steps": up, "down_steps": down, "mode": mode}
    schedule = cyclical_schedule(0.3, 0.7, **shape)
    for run in (schedule, jax.jit(schedule)):
        for cycle in (0, 1, 7, 10**6):
            start = cycle * (up + down)
            assert run(start) == np.float32(0.3)
            if mode != "triangular2" or cycle == 0:
                assert run(start + up) == np.float32(0.7)
    if mode == "triangular2":
        halves = cyclical_schedule(0.0, 0.7, **shape)(up + (up + down) * np.arange(9))
        np.testing.assert_array_equal(halves, np.float32(0.7) * 0.5 ** np.arange(9))


def test_down_takes_as_long_as_up_by_default():
    counts = np.arange(20)
    np.testing.assert_array_equal(
        cyclical_schedule(0.1, 0.7, up_steps=4)(counts),
        cyclical_schedule(0.1, 0.7, up_steps=4, down_steps=4)(counts),
    )


def test_gamma_near_one_is_not_rounded_away():
    schedule = cyclical_schedule(
        0.0, 1.0, up_steps=100_000, mode="exp_range", gamma=0.99999
    )
    np.testing.assert_allclose(schedule(100_000), 0.99999**100_000, rtol=3e-6)


def test_momentum_runs_against_the_rate():
    counts = np.arange(30)
    rate = cyclical_schedule(0.1, 1.0, up_steps=5, down_steps=3)(counts)
    momentum = cyclical_schedule(0.9, 0.8, up_steps=5, down_steps=3)(counts)
    np.testing.assert_allclose((rate - 0.1) / 0.9, (0.9 - momentum) / 0.1, atol=1e-5)


def test_values_and_gamma_may_be_swept():
    def at_the_peak(peak, gamma):
        return cyclical_schedule(0.0, peak, up_steps=5, mode="exp_range", gamma=gamma)(5)

    values = jax.vmap(at_the_peak)(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(values, [1, 2 / 32], rtol=1e-6)


@given(
    st.sampled_from(MODES), st.integers(1, 50), st.integers(1, 50), st.integers(0, 999)
)
def test_stays_between_base_and_peak(mode, up, down, count):
    shape = {"up_steps": up, "down_steps": down, "mode": mode, "gamma": 0.999}
    value = cyclical_schedule(0.2, 0.8, **shape)(jnp.int32(count))
    assert np.float32(0.2) <= value <= np.float32(0.8)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="up_steps must be at least 1, got 0"):
        cyclical_schedule(0.1, 0.7, up_steps=0)
    with pytest.raises(ValueError, match="down_steps must be at least 1, got -2"):
        cyclical_schedule(0.1, 0.7, up_steps=3, down_steps=-2)
    with pytest.raises(ValueError, match=r"'triangular2' or 'exp_range', got 'sine'"):
        cyclical_schedule(0.1, 0.7, up_steps=3, mode="sine")
    with pytest.raises(ValueError, match="gamma must be positive, got 0"):
        cyclical_schedule(0.1, 0.7, up_steps=3, gamma=0.0)
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\], got 1.5"):
        cyclical_schedule(0.1, 0.7, up_steps=3, gamma=1.5)
    with pytest.raises(ValueError, match="base_value must be a finite number, got nan"):
        cyclical_schedule(float("nan"), 0.7, up_steps=3)
    with pytest.raises(ValueError, match="peak_value must be a finite number, got inf"):
        cyclical_schedule(0.1, float("inf"), up_steps=3)
    unchecked = inspect.unwrap(cyclical_schedule)
    with pytest.raises(ValueError, match=r"up_steps must be a whole number, got 2.5"):
        unchecked(0.1, 0.7, up_steps=2.5)

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks.schedules import (
    cosine_onecycle_schedule,
    linear_onecycle_schedule,
    onecycle_momentum_schedule,
    onecycle_schedule,
)


def through(counts, knees, values, kind):
    """Along half cosines or lines from knee to knee, in float64."""
    if kind == "linear":
        return np.interp(counts, knees, values)
    out = []
    for t in np.minimum(counts, knees[-1]):
        i = min(np.searchsorted(knees, t, side="right"), len(knees) - 1)
        done = (t - knees[i - 1]) / (knees[i] - knees[i - 1])
        weight = (1 + np.cos(np.pi * done)) / 2
        out.append(values[i] + (values[i - 1] - values[i]) * weight)
    return np.array(out)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [20, 25, 47])  # the peak at 5, 6.5 and 13.1
def test_rate_and_momentum_match_reference(kind, steps):
    counts, peak = np.arange(steps + 5), 0.3 * steps - 1
    start, final = 0.7 / 10, 0.7 / 1000
    factors = {"div_factor": 10.0, "final_div_factor": 100.0}
    two = onecycle_schedule(steps, 0.7, kind=kind, **factors)(counts)
    expected = through(counts, [0, peak, steps - 1], [start, 0.7, final], kind)
    np.testing.assert_allclose(two, expected, rtol=3e-6)
    three = onecycle_schedule(steps, 0.7, kind=kind, three_phase=True, **factors)(counts)
    knees = [0, peak, 2 * peak, steps - 1]
    expected = through(counts, knees, [start, 0.7, start, final], kind)
    np.testing.assert_allclose(three, expected, rtol=3e-6)
    momentum = onecycle_momentum_schedule(steps, kind=kind, three_phase=True)(counts)
    expected = through(counts, knees, [0.95, 0.85, 0.95, 0.95], kind)
    np.testing.assert_allclose(momentum, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [10, 50, 470, 10**6])  # the peak at a whole step
def test_knees_are_exact_traced_or_not(kind, steps):
    peak = round(0.3 * steps) - 1
    for three_phase in (False, True):
        shape = {"kind": kind, "three_phase": three_phase}
        rate = onecycle_schedule(steps, 0.7, **shape)
        momentum = onecycle_momentum_schedule(steps, **shape)
        for run, start, top, last in (
            (rate, 0.7 / 25, 0.7, 0.7 / 25 / 1e4),
            (jax.jit(rate), 0.7 / 25, 0.7, 0.7 / 25 / 1e4),
            (momentum, 0.95, 0.85, 0.95),
            (jax.jit(momentum), 0.95, 0.85, 0.95),
        ):
            assert run(0) == np.float32(start)
            assert run(peak) == np.float32(top)
            assert run(steps - 1) == run(10**7) == np.float32(last)
            if three_phase:
                assert run(2 * peak) == np.float32(start)


def test_the_tail_of_a_long_run_keeps_its_digits():
    steps = 10**5
    left = np.array([1, 2, 10])
    rate = onecycle_schedule(
        steps, 1.0, final_div_factor=1e9, pct_start=0.123, kind="linear"
    )
    length = steps - 0.123 * steps
    np.testing.assert_allclose(rate(steps - 1 - left), left / length + 4e-11, rtol=1e-6)


# The next two are the values of Optax's own tests.
def test_linear_has_the_values_of_optax_own_test():
    schedule = jax.jit(
        linear_onecycle_schedule(
            transition_steps=10,
            peak_value=1000,
            pct_start=0.3,
            pct_final=0.7,
            div_factor=10.0,
            final_div_factor=100.0,
        )
    )
    expected = [100, 400, 700, 1000, 775, 550, 325, 100, 67, 34, 1, 1]
    np.testing.assert_allclose([schedule(t) for t in range(12)], expected, atol=1e-3)


def test_cosine_has_the_values_of_optax_own_test():
    schedule = jax.jit(
        cosine_onecycle_schedule(
            transition_steps=5,
            peak_value=1000.0,
            pct_start=0.4,
            div_factor=10.0,
            final_div_factor=100.0,
        )
    )
    expected = [100, 550, 1000, 750.25, 250.75, 1, 1]
    np.testing.assert_allclose([schedule(t) for t in range(7)], expected, atol=1e-3)


@pytest.mark.parametrize("steps", [5, 41])
@pytest.mark.parametrize("pct_start", [0.0, 0.57])
def test_matches_optax_where_the_knees_are_apart(steps, pct_start):
    counts = jnp.arange(steps + 5)
    for ours, theirs in (
        (cosine_onecycle_schedule, optax.cosine_onecycle_schedule),
        (linear_onecycle_schedule, optax.linear_onecycle_schedule),
    ):
        want = jax.jit(jax.vmap(theirs(steps, 0.7, pct_start)))(counts)
        got = jax.jit(ours(steps, 0.7, pct_start))(counts)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-7)


def test_knees_that_fall_together_jump():
    """Optax forgets one of two equal knees, and with it a factor of the values."""
    values = [linear_onecycle_schedule(10, 0.5, 0.2, 1.0)(t) for t in (2, 6, 9, 10)]
    expected = [0.5, 0.26, 0.08, 0.02 / 1e4]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    rise = [cosine_onecycle_schedule(4, 0.5, 1.0)(t) for t in (0, 2, 4)]
    np.testing.assert_allclose(rise, [0.02, 0.26, 0.02 / 1e4], rtol=1e-6)


def test_optax_forms_are_exact_at_their_knees():
    for schedule in (
        cosine_onecycle_schedule(41, 0.7, 0.4),
        linear_onecycle_schedule(41, 0.7, 0.4, 0.8),
    ):
        for run in (schedule, jax.jit(schedule)):
            assert run(0) == np.float32(0.7 / 25)
            assert run(16) == np.float32(0.7)
            assert run(41) == run(10**7) == np.float32(0.7 / 25 / 1e4)
    assert jax.jit(linear_onecycle_schedule(41, 0.7, 0.4, 0.8))(32) == np.float32(0.028)


def test_factors_may_be_traced():
    def first(div_factor):
        return onecycle_schedule(20, 1.0, div_factor=div_factor)(0)

    np.testing.assert_array_equal(jax.vmap(first)(jnp.array([2.0, 4.0])), [0.5, 0.25])


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="total_steps must be at least 2, got 1"):
        onecycle_schedule(1, 0.7)
    with pytest.raises(ValueError, match="total_steps must be at least 2, got 0"):
        onecycle_momentum_schedule(0)
    with pytest.raises(ValueError, match="kind must be 'cosine' or 'linear', got 'sine'"):
        onecycle_schedule(10, 0.7, kind="sine")
    with pytest.raises(ValueError, match=r"pct_start must be in \[0, 1\], got 1.5"):
        onecycle_schedule(10, 0.7, pct_start=1.5)
    with pytest.raises(ValueError, match=r"knees in order, got 0.05.* of 10 steps"):
        onecycle_schedule(10, 0.7, pct_start=0.05)
    with pytest.raises(ValueError, match=r"knees in order, got 0.7.* of 10 steps"):
        onecycle_momentum_schedule(10, pct_start=0.7, three_phase=True)
    with pytest.raises(
        ValueError, match=r"pct_final must be at least pct_start, got 0.2"
    ):
        linear_onecycle_schedule(10, 0.7, 0.3, 0.2)
    with pytest.raises(ValueError, match="max_value must be a finite number, got inf"):
        onecycle_momentum_schedule(10, max_value=float("inf"))
    for make in (onecycle_schedule, cosine_onecycle_schedule, linear_onecycle_schedule):
        with pytest.raises(ValueError, match=r"_steps must be at least [12], got -1"):
            make(-1, 0.7)
        with pytest.raises(ValueError, match="div_factor must be positive, got 0"):
            make(10, 0.7, div_factor=0.0)
        with pytest.raises(ValueError, match="final_div_factor must be positive, got -1"):
            make(10, 0.7, final_div_factor=-1.0)
        with pytest.raises(ValueError, match="peak_value must be a finite number"):
            make(10, float("nan"))


def test_the_shortest_cycles_and_a_peak_without_a_way_down():
    at = jax.jit(lambda t: {
        "two steps": onecycle_schedule(2, 1.0, pct_start=0.5, div_factor=4.0)(t),
        "one step": linear_onecycle_schedule(1, 1.0, div_factor=4.0)(t),
        "one step of cosine": cosine_onecycle_schedule(1, 1.0, div_factor=4.0)(t),
        "at once": linear_onecycle_schedule(
            4, 1.0, pct_start=0.5, pct_final=0.5, div_factor=4.0, final_div_factor=2.0
        )(t),
    })(np.arange(5))  # fmt: skip
    low = 0.25 / 1e4
    np.testing.assert_allclose(at["two steps"], [1, low, low, low, low], rtol=1e-5)
    np.testing.assert_allclose(at["one step"], [0.25, low, low, low, low], rtol=1e-5)
    want = [1, low, low, low, low]
    np.testing.assert_allclose(at["one step of cosine"], want, rtol=1e-5)
    want = [0.25, 0.625, 0.25, 0.1875, 0.125]
    np.testing.assert_allclose(at["at once"], want, rtol=1e-6)

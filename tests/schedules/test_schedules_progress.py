"""Counts, fractions and powers, against Python's whole numbers and float64."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.schedules import _progress as P

LAST = 2**31 - 1


def test_a_number_is_exact_and_an_array_is_of_float32_or_wider():
    assert P.as_exact(0.1) == 0.1
    assert P.as_exact(7) == 7
    assert P.as_exact(jnp.bfloat16(0.5)).dtype == jnp.float32
    value = P.as_value(3)
    assert value.dtype == jnp.float32
    assert not value.weak_type


@pytest.mark.parametrize(
    ("count", "want"),
    [
        (-1, 0),
        (0, 0),
        (1, 1),
        (LAST, LAST),
        (LAST + 1, LAST),
        (2**63, LAST),
        (-(2**70), 0),
        (np.uint64(2**64 - 1), LAST),
        (np.int8(-3), 0),
        (jnp.uint32(2**32 - 1), LAST),
        (jnp.uint32(5), 5),
        (jnp.int16(-1), 0),
    ],
)
def test_a_count_is_held_between_zero_and_the_last_integer(count, want):
    got = P.as_count(count)
    assert got.dtype == jnp.int32
    assert int(got) == want


def test_a_count_that_is_no_integer_keeps_its_fraction():
    assert float(P.as_count(2.5)) == 2.5
    assert float(P.as_count(-2.5)) == 0.0


@pytest.mark.parametrize("step", [0, 5, LAST - 1, LAST, LAST + 1, 2**40])
def test_a_step_is_reached_from_itself_on(step):
    counts = [0, 4, 5, 6, LAST - 1, LAST]
    got = [bool(P.reached(jnp.int32(t), step)) for t in counts]
    assert got == [t >= step for t in counts]
    assert P.within(step, jnp.int32(0)) == min(step, LAST)
    assert P.within(2**40, jnp.float32(0)) == 2**40


@pytest.mark.parametrize("steps", [1, 3, LAST, LAST + 1, 2**40])
def test_cycles_are_pythons_divmod(steps):
    for t in (0, 2, 3, 7, LAST):
        assert tuple(map(int, P.cycles(jnp.int32(t), steps))) == divmod(t, steps)


@pytest.mark.parametrize("begin", [0, 3, 2.5, 0.25])
@pytest.mark.parametrize("steps", [1, 7, 41, 2.25])
def test_fractions_done_and_left_are_those_of_rational_numbers(begin, steps):
    counts = np.arange(60)
    done, left = jax.jit(lambda t: P.progress(t, begin, steps))(counts)
    share = [
        min(max(fractions.Fraction(t - begin) / fractions.Fraction(steps), 0), 1)
        for t in counts.tolist()
    ]
    np.testing.assert_allclose(done, [float(x) for x in share], rtol=3e-7)
    np.testing.assert_allclose(left, [float(1 - x) for x in share], rtol=3e-7)


def test_fractions_keep_their_digits_far_out():
    begin, steps = 2**30, 2**29 + 1
    for t in (begin + 1, begin + steps - 1):
        done, left = P.progress(t, begin, steps)
        np.testing.assert_allclose(done, (t - begin) / steps, rtol=1e-6)
        np.testing.assert_allclose(left, (begin + steps - t) / steps, rtol=1e-6)


@pytest.mark.parametrize("staircase", [False, True])
def test_periods_are_whole_ones_and_a_part(staircase):
    for begin, steps in ((0, 4), (5, 3), (2**40, 3), (3, 2**40)):
        for t in (0, 4, 5, 6, 8, 100, LAST):
            whole, part = divmod(max(t - begin, 0), steps)
            want = whole + (0 if staircase else part / steps)
            np.testing.assert_allclose(P.periods(t, begin, steps, staircase), want, 1e-6)


@pytest.mark.parametrize("base", [0.9999, 0.3, 0.5, 1.0, 1.001, 0, 0.0, 3])
def test_a_power_is_that_of_the_number_as_it_was_written(base):
    for exponent in (0.0, 1.0, 2.5, 40.0, 70000.0):
        with np.errstate(over="ignore"):
            want = min(np.float64(base) ** exponent, np.finfo(np.float32).max)
        got = P.power(base, jnp.float32(exponent))
        tiny = np.finfo(np.float32).tiny
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2 * tiny)


def test_a_power_beyond_the_range_ends_at_the_largest_number():
    largest = np.finfo(np.float32).max
    assert float(P.power(1.1, jnp.float32(1e6))) == largest
    assert float(P.power(0.9, jnp.float32(1e9))) == 0.0
    assert float(P.power(1e-60, jnp.float32(1.0))) == 0.0
    for value in (-math.inf, math.inf, -2.0, 3e38):
        got = float(P.within_range(jnp.float32(value)))
        assert got == np.float32(np.clip(value, -largest, largest))


def test_a_base_or_an_exponent_must_be_a_normal_number():
    smallest = float(np.finfo(np.float32).tiny)
    P.check_power("power", smallest)
    jax.jit(lambda x: P.check_power("power", x))(0.0)  # what is no number yet passes
    with pytest.raises(ValueError, match=r"power must be positive, got 0"):
        P.check_power("power", jnp.float32(0.0))
    with pytest.raises(ValueError, match=r"power must be at least 1\.2e-38"):
        P.check_power("power", smallest / 2)
    with pytest.raises(ValueError, match=r"power must be a finite number, got inf"):
        P.check_power("power", math.inf)
    with pytest.raises(ValueError, match=r"power must be positive, got 0"):
        P.check_power("power", 0)

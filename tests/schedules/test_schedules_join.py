import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.schedules import constant_schedule, join_schedules, linear_schedule


def test_matches_optax():
    pieces = [
        optax.linear_schedule(0.0, 1.0, 5),
        optax.constant_schedule(0.7),
        optax.cosine_decay_schedule(0.7, 10),
    ]
    counts = np.arange(30)
    values = join_schedules(pieces, [5, 12])(counts)
    theirs = optax.join_schedules(pieces, [5, 12])(counts)
    np.testing.assert_allclose(values, theirs, rtol=1e-6, atol=1e-8)


def test_each_schedule_starts_at_its_own_zero():
    schedule = join_schedules([lambda t: t, lambda t: 100 + t, lambda t: 200 + t], [3, 5])
    values = [schedule(count) for count in (0, 2, 3, 4, 5, 50)]
    np.testing.assert_array_equal(values, [0, 2, 100, 101, 200, 245])


def test_schedules_only_see_counts_of_their_own():
    seen = []

    def spy(count):
        seen.append(int(count))
        return 0.0

    schedule = join_schedules([spy, spy, spy], [3, 5])
    for count in (0, 4, 9):
        schedule(count)
    assert seen == [0, 0, 0, 3, 1, 0, 3, 2, 4]


def test_nan_outside_the_range_harms_neither_value_nor_derivative():
    def inverse_root(count, scale=1.0):
        return scale / jnp.sqrt(1.0 * count)

    def total(scale):
        pieces = [
            lambda count: scale * jnp.sqrt(4.0 - count),
            lambda count: inverse_root(count + 1, scale),
        ]
        return jnp.sum(join_schedules(pieces, [4])(jnp.arange(8)))

    value, derivative = jax.value_and_grad(total)(1.0)
    expected = np.sum(np.sqrt(np.arange(1, 5)) + 1 / np.sqrt(np.arange(1, 5)))
    np.testing.assert_allclose([value, derivative], [expected, expected], rtol=1e-6)


def test_equal_boundaries_skip_a_schedule():
    schedule = join_schedules([constant_schedule(v) for v in (1, 2, 3)], [4, 4])
    np.testing.assert_array_equal([schedule(t) for t in (3, 4, 5)], [1, 3, 3])


def test_one_schedule_is_itself():
    schedule = join_schedules([linear_schedule(1.0, 0.0, 4)], [])
    np.testing.assert_array_equal(schedule(np.arange(5)), [1, 0.75, 0.5, 0.25, 0])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(0, 30))
def test_the_piece_is_the_number_of_boundaries_passed(boundaries, count):
    boundaries = sorted(boundaries)
    pieces = [constant_schedule(index) for index in range(len(boundaries) + 1)]
    value = join_schedules(pieces, boundaries)(count)
    assert value == sum(boundary <= count for boundary in boundaries)


def test_bad_arguments_raise():
    one = constant_schedule(1.0)
    with pytest.raises(ValueError, match=r"one shorter .* 2 boundaries for 2 schedules"):
        join_schedules([one, one], [1, 2])
    with pytest.raises(ValueError, match=r"one shorter .* 0 boundaries for 0 schedules"):
        join_schedules([], [])
    with pytest.raises(ValueError, match=r"boundaries must be in order, got \[5, 2\]"):
        join_schedules([one, one, one], [5, 2])
    with pytest.raises(ValueError, match=r"boundaries\[0\] must be at least 0, got -1"):
        join_schedules([one, one], [-1])
    unchecked = inspect.unwrap(join_schedules)
    with pytest.raises(ValueError, match=r"schedules\[1\] .*got 0.1; wrap a number"):
        unchecked([one, 0.1], [3])
    with pytest.raises(
        ValueError, match=r"boundaries\[0\] must be a whole number, got 2.5"
    ):
        unchecked([one, one], [2.5])

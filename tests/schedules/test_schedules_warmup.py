import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    linear_schedule,
    warmup_schedule,
)


def reference(count, steps, init, peak, kind):
    fraction = count / steps
    return {
        "linear": init + (peak - init) * fraction,
        "constant": np.full(count.shape, init),
        "exponential": init * (peak / init) ** fraction,
    }[kind]


@pytest.mark.parametrize("kind", ["linear", "constant", "exponential"])
@pytest.mark.parametrize("steps", [1, 5, 41])
def test_rises_then_runs_the_schedule(kind, steps):
    after = linear_schedule(0.7, 0.1, 9)
    schedule = warmup_schedule(after, warmup_steps=steps, init_value=0.01, kind=kind)
    rising, running = np.arange(steps), np.arange(15)
    expected = reference(rising, steps, 0.01, 0.7, kind)
    np.testing.assert_allclose(schedule(rising), expected, rtol=1e-6)
    np.testing.assert_array_equal(schedule(steps + running), after(running))


@pytest.mark.parametrize("kind", ["linear", "constant", "exponential"])
def test_start_and_knee_are_exact_traced_or_not(kind):
    schedule = warmup_schedule(
        cosine_decay_schedule(0.7, 100), warmup_steps=41, init_value=0.03, kind=kind
    )
    for run in (schedule, jax.jit(schedule)):
        assert run(0) == np.float32(0.03)
        assert run(40) < run(41) == np.float32(0.7)
        assert run(141) == run(10**6) == 0


def test_matches_optax_warmup_cosine():
    ours = warmup_schedule(
        cosine_decay_schedule(0.4, 90, alpha=0.25), warmup_steps=10, init_value=0.1
    )
    theirs = optax.warmup_cosine_decay_schedule(0.1, 0.4, 10, 100, end_value=0.1)
    counts = np.arange(110)
    np.testing.assert_allclose(ours(counts), theirs(counts), rtol=1e-5)


def test_matches_optax_warmup_constant():
    ours = warmup_schedule(constant_schedule(0.4), warmup_steps=10)
    theirs = optax.warmup_constant_schedule(0.0, 0.4, 10)
    counts = np.arange(20)
    np.testing.assert_allclose(ours(counts), theirs(counts), rtol=1e-6, atol=1e-7)


def test_any_function_can_follow():
    schedule = warmup_schedule(lambda t: 8 / (t + 2), warmup_steps=4)
    np.testing.assert_array_equal(
        [schedule(t) for t in (0, 1, 4, 6, 18)], [0, 1, 4, 2, 0.5]
    )


def test_no_steps_is_the_schedule_itself():
    after, counts = linear_schedule(0.7, 0.1, 9), np.arange(12)
    for kind in ("linear", "constant", "exponential"):
        schedule = warmup_schedule(after, warmup_steps=0, init_value=0.2, kind=kind)
        np.testing.assert_array_equal(schedule(counts), after(counts))


def test_peak_is_traced_with_the_schedule():
    def at_step_2(peak):
        return warmup_schedule(constant_schedule(peak), warmup_steps=4)(2)

    np.testing.assert_array_equal(jax.vmap(at_step_2)(jnp.array([1.0, 3.0])), [0.5, 1.5])


@given(
    st.sampled_from(["linear", "exponential"]),
    st.floats(0.001, 0.5),
    st.integers(1, 300),
    st.integers(0, 299),
)
def test_rises_with_every_step(kind, init, steps, count):
    after = constant_schedule(1.0)
    schedule = warmup_schedule(after, warmup_steps=steps, init_value=init, kind=kind)
    now, next_one = schedule(count), schedule(count + 1)
    assert now < next_one if count < steps else now == next_one == 1


def test_bad_arguments_raise():
    one = constant_schedule(1.0)
    with pytest.raises(ValueError, match="warmup_steps must be at least 0, got -1"):
        warmup_schedule(one, warmup_steps=-1)
    with pytest.raises(ValueError, match="'constant' or 'exponential', got 'cosine'"):
        warmup_schedule(one, warmup_steps=5, kind="cosine")
    with pytest.raises(
        ValueError, match=r"exponential warm-up must be positive, got 0.0"
    ):
        warmup_schedule(one, warmup_steps=5, kind="exponential")
    with pytest.raises(ValueError, match="init_value must be a finite number, got inf"):
        warmup_schedule(one, warmup_steps=5, init_value=float("inf"))
    unchecked = inspect.unwrap(warmup_schedule)
    with pytest.raises(ValueError, match=r"schedule must be .*got 0.1; wrap a number"):
        unchecked(0.1, warmup_steps=5)
    with pytest.raises(ValueError, match=r"warmup_steps must be a whole number, got 2.5"):
        unchecked(one, warmup_steps=2.5)

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.schedules import wsd_schedule


def reference(count, peak, warmup, stable, decay, init, end, kind):
    done = np.clip((count - warmup - stable) / decay, 0, 1)
    weight = {"linear": 1 - done, "1-sqrt": 1 - np.sqrt(done)}[kind]
    falling = end + (peak - end) * weight
    rising = init + (peak - init) * count / max(warmup, 1)
    return np.where(count < warmup, rising, falling)


SHAPES = [(10, 20, 30), (0, 5, 7), (41, 0, 47), (0, 0, 1)]


@pytest.mark.parametrize("kind", ["linear", "1-sqrt"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference_and_is_exact_at_its_knees(kind, shape):
    warmup, stable, decay = shape
    schedule = wsd_schedule(
        0.7,
        warmup_steps=warmup,
        stable_steps=stable,
        decay_steps=decay,
        init_value=0.01,
        end_value=0.03,
        kind=kind,
    )
    counts = np.arange(sum(shape) + 5)
    expected = reference(counts, 0.7, *shape, 0.01, 0.03, kind)
    np.testing.assert_allclose(schedule(counts), expected, rtol=2e-6)
    for run in (schedule, jax.jit(schedule)):
        assert run(0) == np.float32(0.01 if warmup else 0.7)
        assert run(warmup) == run(warmup + stable) == np.float32(0.7)
        assert run(sum(shape)) == run(10**7) == np.float32(0.03)


def test_last_steps_of_a_long_decay_keep_their_digits():
    left = np.array([1, 2, 10])
    schedule = wsd_schedule(
        1.0, warmup_steps=0, stable_steps=0, decay_steps=10**6, kind="1-sqrt"
    )
    expected = left / 1e6 / (1 + np.sqrt(1 - left / 1e6))  # 1 - √s, without cancelling
    np.testing.assert_allclose(schedule(10**6 - left), expected, rtol=1e-6)


def test_the_root_is_below_the_line():
    counts = 30 + np.arange(1, 20)
    shape = {"warmup_steps": 10, "stable_steps": 20, "decay_steps": 20}
    line = wsd_schedule(1.0, **shape)(counts)
    root = wsd_schedule(1.0, **shape, kind="1-sqrt")(counts)
    assert (root < line).all()


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(0, 160))
def test_rises_then_never_rises_again(warmup, stable, decay, count):
    schedule = wsd_schedule(
        1.0, warmup_steps=warmup, stable_steps=stable, decay_steps=decay, kind="1-sqrt"
    )
    now, after = schedule(count), schedule(count + 1)
    assert now < after if count < warmup else now >= after


def test_bad_arguments_raise():
    good = {"warmup_steps": 1, "stable_steps": 2, "decay_steps": 3}
    for name, least in (("warmup_steps", 0), ("stable_steps", 0), ("decay_steps", 1)):
        with pytest.raises(ValueError, match=f"{name} must be at least {least}, got -1"):
            wsd_schedule(1.0, **{**good, name: -1})
    for name in ("init_value", "end_value"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number, got nan"):
            wsd_schedule(1.0, **good, **{name: float("nan")})
    with pytest.raises(ValueError, match="peak_value must be a finite number, got inf"):
        wsd_schedule(float("inf"), **good)
    with pytest.raises(ValueError, match="kind must be 'linear' or '1-sqrt', got 'sqrt'"):
        wsd_schedule(1.0, **good, kind="sqrt")

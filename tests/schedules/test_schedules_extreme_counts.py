"""Every schedule at the ends of the count: its limit, or its formula in whole numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import schedules as S
from optix_tricks import testing
from optix_tricks.compat import tf1, torch
from optix_tricks.schedules._progress import as_count

KEY = jax.random.key(0)
FAR = 10**12  # a knee beyond 32 bits


def ends(first, last):
    """The reference of a schedule that is at its end at all the counts but 0."""
    return lambda t: first if t == 0 else last


def triangle(t, up, down):
    position = t % (up + down)
    return position / up if position < up else (up + down - position) / down


def restarts(t, first, multiplier=1, decay=1.0):
    start, cycle, length = 0, 0, first
    if multiplier == 1:
        cycle, start = t // first, t // first * first
    while t >= start + length:
        start, cycle = start + length, cycle + 1
        length = round(first * multiplier**cycle)
    return decay**cycle * (1 + math.cos(math.pi * (t - start) / length)) / 2


def down_again_and_again(t, steps):
    left = -t % steps if t else steps
    return left / (t + left)


# A schedule, and its value at a whole number of any size.
ROWS = {
    "constant_schedule": (S.constant_schedule(0.3), ends(0.3, 0.3)),
    "piecewise_constant_schedule": (
        S.piecewise_constant_schedule(0.3, {3: 0.1, 11: 0.5}),
        ends(0.3, 0.015),
    ),
    "piecewise_constant_schedule never": (
        S.piecewise_constant_schedule(0.3, {3: 0.1, 2**64: 0.5}),
        ends(0.3, 0.03),
    ),
    "piecewise_values_schedule": (
        S.piecewise_values_schedule([0.3, 2.0, 0.1], [3, 2**24 + 1]),
        ends(0.3, 0.1),
    ),
    "cifar_step_schedule": (S.cifar_step_schedule(391), ends(0.1, 0.1 / 125)),
    "linear_schedule": (S.linear_schedule(0.3, 0.01, 10, 2), ends(0.3, 0.01)),
    "linear_schedule far": (S.linear_schedule(0.3, 0.01, 10, 2**64), ends(0.3, 0.3)),
    "linear_schedule slow": (S.linear_schedule(0.0, 1.0, FAR), lambda t: min(t / FAR, 1)),
    "polynomial_schedule": (
        S.polynomial_schedule(0.3, 0.01, 1.5, 10, 2),
        ends(0.3, 0.01),
    ),
    "polynomial_schedule cycle": (
        S.polynomial_schedule(1.0, 0.0, 1, 5, 0, True),
        lambda t: down_again_and_again(t, 5),
    ),
    "polynomial_schedule cycle slow": (
        S.polynomial_schedule(1.0, 0.0, 1, FAR, 0, True),
        lambda t: down_again_and_again(t, FAR),
    ),
    "exponential_decay": (
        S.exponential_decay(1.0, 1, 0.009),
        lambda t: 0.009 ** min(t, 999),
    ),
    "exponential_decay slow": (
        S.exponential_decay(0.3, 2**30, 0.9999),
        lambda t: 0.3 * 0.9999 ** (t / 2**30),
    ),
    "exponential_decay late": (S.exponential_decay(0.3, FAR, 0.5, 2**64), ends(0.3, 0.3)),
    "exponential_decay staircase": (
        S.exponential_decay(0.3, 2**30, 0.9, staircase=True),
        lambda t: 0.3 * 0.9 ** min(t // 2**30, 10**5),
    ),
    "exponential_decay bounded": (
        S.exponential_decay(0.3, 5, 0.5, end_value=0.05),
        ends(0.3, 0.05),
    ),
    "exponential_decay bounded above": (
        S.exponential_decay(0.3, 5, 2.1, end_value=7.0),
        ends(0.3, 7.0),
    ),
    "exponential_decay of nothing": (S.exponential_decay(0.0, 1, 1.1), ends(0.0, 0.0)),
    "natural_exp_decay": (S.natural_exp_decay(0.3, 5, 0.2, 2), ends(0.3, 0.0)),
    "natural_exp_decay fast": (S.natural_exp_decay(0.3, 1, 3e38), ends(0.3, 0.0)),
    "inverse_time_decay": (
        S.inverse_time_decay(0.3, 5, 0.4),
        lambda t: 0.3 / (1 + 0.4 * t / 5),
    ),
    "cosine_decay_schedule": (
        S.cosine_decay_schedule(0.3, 12, 0.1, 1.5),
        ends(0.3, 0.03),
    ),
    "linear_cosine_decay": (
        S.linear_cosine_decay(1.0, 12, 1.5, 0.2, 0.1),
        ends(1.3, 0.1),
    ),
    "noisy_linear_cosine_decay": (
        S.noisy_linear_cosine_decay(1.0, 12, key=KEY, initial_variance=0.0),
        ends(1.001, 0.001),
    ),
    "noisy_linear_cosine_decay slow": (
        S.noisy_linear_cosine_decay(1.0, 2**100, key=KEY, initial_variance=0.0),
        ends(1.001, 1.001),
    ),
    "onecycle_schedule": (S.onecycle_schedule(13, 0.3), ends(0.012, 1.2e-6)),
    "onecycle_schedule far": (S.onecycle_schedule(2**100, 0.3), ends(0.012, 0.012)),
    "onecycle_momentum_schedule": (S.onecycle_momentum_schedule(13), ends(0.95, 0.95)),
    "cosine_onecycle_schedule": (
        S.cosine_onecycle_schedule(13, 0.3),
        ends(0.012, 1.2e-6),
    ),
    "linear_onecycle_schedule": (
        S.linear_onecycle_schedule(13, 0.3),
        ends(0.012, 1.2e-6),
    ),
    "wsd_schedule": (
        S.wsd_schedule(1.0, warmup_steps=3, stable_steps=5, decay_steps=4, end_value=0.1),
        ends(0.0, 0.1),
    ),
    "wsd_schedule for ever": (
        S.wsd_schedule(1.0, warmup_steps=3, stable_steps=2**64, decay_steps=4),
        ends(0.0, 1.0),
    ),
    "lookahead_schedule": (
        S.lookahead_schedule(13, decay=0.7),
        ends(1 - 0.7 / 13**3, 0.3),
    ),
    "lookahead_schedule slow": (
        S.lookahead_schedule(FAR, decay=0.7, power=1),
        lambda t: 1 - 0.7 * min((t + 1) / FAR, 1),
    ),
    "warmup_schedule": (
        S.warmup_schedule(S.cosine_decay_schedule(1.0, 10, 0.2), warmup_steps=4),
        ends(0.0, 0.2),
    ),
    "join_schedules": (
        S.join_schedules([S.constant_schedule(0.3), S.linear_schedule(1.0, 0.5, 5)], [6]),
        ends(0.3, 0.5),
    ),
    "cyclical_schedule": (
        S.cyclical_schedule(0.0, 1.0, up_steps=7, down_steps=6),
        lambda t: triangle(t, 7, 6),
    ),
    "cyclical_schedule slow": (
        S.cyclical_schedule(0.0, 1.0, up_steps=FAR),
        lambda t: triangle(t, FAR, FAR),
    ),
    "cyclical_schedule halved": (
        S.cyclical_schedule(0.1, 1.0, up_steps=3, mode="triangular2"),
        ends(0.1, 0.1),
    ),
    "cyclical_schedule halved slowly": (
        S.cyclical_schedule(0.0, 1.0, up_steps=2**29 - 1, mode="triangular2"),
        lambda t: math.ldexp(
            triangle(t, 2**29 - 1, 2**29 - 1), -min(t // (2**30 - 2), 10**9)
        ),
    ),
    "cyclical_schedule falling": (
        S.cyclical_schedule(0.1, 1.0, up_steps=3, mode="exp_range", gamma=0.009),
        ends(0.1, 0.1),
    ),
    "cosine_restarts_schedule": (
        S.cosine_restarts_schedule(1.0, 7),
        lambda t: restarts(t, 7),
    ),
    "cosine_restarts_schedule slow": (
        S.cosine_restarts_schedule(1.0, FAR),
        lambda t: restarts(t, FAR),
    ),
    "cosine_restarts_schedule doubled": (
        S.cosine_restarts_schedule(1.0, 3, multiplier=2, peak_decay=0.9999),
        lambda t: restarts(t, 3, 2, 0.9999),
    ),
    "cosine_restarts_schedule falling": (
        S.cosine_restarts_schedule(1.0, 2**12 + 1, peak_decay=0.9999),
        lambda t: restarts(t, 2**12 + 1, 1, 0.9999),
    ),
    "torch.CosineAnnealingLR": (
        torch.CosineAnnealingLR(1.0, 7),
        lambda t: math.sin(math.pi / 2 * (1 - triangle(t, 7, 7))) ** 2,
    ),
    "torch.CyclicLR": (
        torch.CyclicLR(0.0, 1.0, 7, scale_fn=lambda cycle: 1 / cycle),
        lambda t: triangle(t, 7, 7) / (1 + t // 14),
    ),
    "torch.CyclicLR of steps": (
        torch.CyclicLR(
            0.0,
            1.0,
            7,
            scale_fn=lambda t: t.astype(float) * 1e-9,
            scale_mode="iterations",
        ),
        lambda t: triangle(t, 7, 7) * t * 1e-9,
    ),
    "torch.MultiStepLR": (torch.MultiStepLR(0.3, [3, 7]), ends(0.3, 0.003)),
    "tf1.piecewise_constant": (
        tf1.piecewise_constant([2**31 - 1], [1.0, 0.5]),
        lambda t: 1.0 if t < 2**31 else 0.5,
    ),
}
EVERY = testing.ScheduleSubject(  # all of them in one program
    lambda: lambda count: {name: schedule(count) for name, (schedule, _) in ROWS.items()},
    reference=lambda t: {name: reference(t) for name, (_, reference) in ROWS.items()},
    name="every_schedule",
)
COLUMNS = [
    name for name in testing.SCHEDULE_COLUMNS if name.endswith("are_the_reference")
]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_schedule_at_the_ends(column):
    assert testing.assert_column(EVERY, testing.SCHEDULE_COLUMNS[column]) is None


def test_there_are_ends_of_32_and_64_bits_and_of_numbers():
    assert len(COLUMNS) == 3


def test_counts_are_held_between_zero_and_the_last():
    last = 2**31 - 1
    for count in (2**40, np.int64(2**40), np.uint64(2**63), jnp.uint32(2**31)):
        assert as_count(count) == last
    for count in (jnp.int8(-3), np.int16(-3), -(2**70)):
        assert as_count(count) == 0
    assert as_count(np.array([-1, 7, 2**40])).tolist() == [0, 7, last]
    with jax.enable_x64(True):
        assert as_count(jnp.uint64(2**64 - 1)) == as_count(10**30) == 2**63 - 1


def test_every_rate_dies_out_and_growth_stays_finite():
    # Those whose rounding to float32 has an infinite power itself.
    rates = [k / 1000 for k in range(1, 1000)]
    rates = [r for r in rates if math.log(r / float(np.float32(r))) * 2**31 > 88][::4]
    last = jnp.int32(2**31 - 1)
    values = jax.jit(lambda t: [S.exponential_decay(1.0, 1, r)(t) for r in rates])(last)
    np.testing.assert_array_equal(values, np.zeros(9))
    for init in (1.0, -3.0):
        grown = S.exponential_decay(init, 1, 1.1)(last)
        assert grown == np.copysign(np.finfo(np.float32).max, init)


@pytest.mark.parametrize("value", [1e-50, 1e-39])
def test_what_rounds_to_zero_is_refused_at_once(value):
    makers = {
        "decay_rate": lambda: S.exponential_decay(1.0, 1, value),
        "gamma": lambda: S.cyclical_schedule(
            0.0, 1.0, up_steps=1, mode="exp_range", gamma=value
        ),
        "exponent": lambda: S.cosine_decay_schedule(1.0, 9, exponent=value),
        "power": lambda: S.polynomial_schedule(1.0, 0.0, value, 9),
        "init_value": lambda: S.warmup_schedule(
            S.constant_schedule(1.0), warmup_steps=3, init_value=value, kind="exponential"
        ),
    }
    for name, make in makers.items():
        with pytest.raises(ValueError, match=f"{name}.*at least 1.2e-38.*got {value}"):
            make()
        with jax.enable_x64(True):
            make()
    with pytest.raises(ValueError, match=r"init_value must be at most 3\.4e\+38"):
        S.linear_schedule(1e39, 0.0, 10)


def test_every_schedule_has_a_row():
    rates = {"linear_scaling", "sqrt_scaling"}  # functions of a batch, not of a count
    assert {name.split()[0] for name in ROWS if "." not in name} == set(S.__all__) - rates

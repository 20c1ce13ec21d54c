"""What every schedule keeps to, one row a schedule.

The columns are the public ones of `optix_tricks.testing`.
"""

import jax
import optax
import pytest

from optix_tricks import schedules, testing
from optix_tricks.schedules import (
    cifar_step_schedule,
    constant_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    cosine_restarts_schedule,
    cyclical_schedule,
    exponential_decay,
    inverse_time_decay,
    join_schedules,
    linear_cosine_decay,
    linear_onecycle_schedule,
    linear_schedule,
    lookahead_schedule,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    onecycle_momentum_schedule,
    onecycle_schedule,
    piecewise_constant_schedule,
    piecewise_values_schedule,
    polynomial_schedule,
    warmup_schedule,
    wsd_schedule,
)

KEY = jax.random.key(0)
CASES = {
    "constant": lambda init: constant_schedule(init),
    "piecewise": lambda init: piecewise_constant_schedule(init, {3: 0.1, 11: 0.5}),
    "piecewise values": lambda init: piecewise_values_schedule([init, 2.0, 0.1], [3, 9]),
    "cifar": lambda init: cifar_step_schedule(1, epochs=200, init_value=init),
    "linear": lambda init: linear_schedule(init, 0.01, 10, transition_begin=2),
    "polynomial": lambda init: polynomial_schedule(init, 0.01, 1.5, 10, 2),
    "polynomial cycle": lambda init: polynomial_schedule(init, 0.01, 1.5, 5, 2, True),
    "exponential": lambda init: exponential_decay(init, 5, 0.9, 2),
    "staircase": lambda init: exponential_decay(init, 5, 0.9, 2, staircase=True),
    "bounded": lambda init: exponential_decay(init, 5, 0.5, end_value=0.05),
    "natural": lambda init: natural_exp_decay(init, 5, 0.2, 2),
    "natural staircase": lambda init: natural_exp_decay(init, 5, 0.2, 2, staircase=True),
    "cosine": lambda init: cosine_decay_schedule(init, 12, alpha=0.1, exponent=1.5),
    "linear cosine": lambda init: linear_cosine_decay(init, 12, 1.5, 0.2, 0.1),
    "noisy linear cosine": lambda init: noisy_linear_cosine_decay(init, 12, key=KEY),
    "onecycle cosine": lambda init: onecycle_schedule(13, init, div_factor=5.0),
    "onecycle linear": lambda init: onecycle_schedule(
        14, init, three_phase=True, kind="linear"
    ),
    "onecycle momentum": lambda init: onecycle_momentum_schedule(13, init),
    "onecycle Optax cosine": lambda init: cosine_onecycle_schedule(13, init),
    "onecycle Optax linear": lambda init: linear_onecycle_schedule(13, init),
    "wsd linear": lambda init: wsd_schedule(
        init, warmup_steps=3, stable_steps=5, decay_steps=4, end_value=0.01
    ),
    "wsd 1-sqrt": lambda init: wsd_schedule(
        init, warmup_steps=3, stable_steps=5, decay_steps=4, kind="1-sqrt"
    ),
    "lookahead": lambda init: lookahead_schedule(13, decay=init),
    "warmup linear": lambda init: warmup_schedule(
        cosine_decay_schedule(1.0, 10), warmup_steps=4, init_value=init
    ),
    "warmup constant": lambda init: warmup_schedule(
        linear_schedule(1.0, 0.0, 10), warmup_steps=4, init_value=init, kind="constant"
    ),
    "warmup exponential": lambda init: warmup_schedule(
        optax.exponential_decay(1.0, 5, 0.9),
        warmup_steps=4,
        init_value=init,
        kind="exponential",
    ),
    "join": lambda init: join_schedules(
        [constant_schedule(init), linear_schedule(init, 0.0, 5)], [6]
    ),
}
ENDLESS = {
    "inverse time": lambda init: inverse_time_decay(init, 5, 0.4, 2),
    "inverse staircase": lambda init: inverse_time_decay(init, 5, 0.4, 2, staircase=True),
    "cyclical": lambda init: cyclical_schedule(init, 1.0, up_steps=3, down_steps=2),
    "cyclical halved": lambda init: cyclical_schedule(
        init, 1.0, up_steps=3, mode="triangular2"
    ),
    "cyclical falling": lambda init: cyclical_schedule(
        init, 1.0, up_steps=3, mode="exp_range", gamma=0.9
    ),
    "restarts": lambda init: cosine_restarts_schedule(init, 5, alpha=0.1),
    "restarts doubled": lambda init: cosine_restarts_schedule(
        init, 3, multiplier=2, peak_decay=0.8
    ),
    "restarts stretched": lambda init: cosine_restarts_schedule(
        init, 3, multiplier=1.5, alpha=0.1
    ),
}
SUBJECTS = {
    name: testing.ScheduleSubject(
        make, {"init": 0.3}, ends=name in CASES, name=f"make[{name!r}]"
    )
    for name, make in (CASES | ENDLESS).items()
}


def of_every_schedule(column):
    @pytest.mark.parametrize("name", SUBJECTS)
    def test(name):
        reason = testing.assert_column(SUBJECTS[name], column)
        assert reason is None

    return test


for column in testing.SCHEDULE_COLUMNS.values():
    if "reference" not in column.__name__:  # see test_schedules_extreme_counts.py
        globals()[f"test_{column.__name__}"] = of_every_schedule(column)


def test_public_names_are_listed():
    rows = [row for row in schedules.__doc__.splitlines() if row.startswith("| `")]
    listed = [row.split("`")[1] for row in rows]
    assert sorted(listed) == sorted(schedules.__all__)

"""Early stopping: against the rule written as a Python loop, and against Keras's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.training import early_stopping

NAN, INF = float("nan"), float("inf")


def loop(values, *, patience, min_delta=0.0, mode="min", warmup=0):
    """Where a run breaks off, and the number of its best evaluation."""
    best, best_at, bad = (INF if mode == "min" else -INF), 0, 0
    for number, value in enumerate(values, start=1):
        if number <= warmup:
            continue
        gain = best - value if mode == "min" else value - best
        if math.isfinite(value) and gain > min_delta:
            best, best_at, bad = value, number, 0
        else:
            bad += 1
            if bad >= patience:
                return number, best_at, best, True
    return len(values), best_at, best, False


def keras(values, *, patience, min_delta=0.0, mode="min", warmup=0):
    """`keras.callbacks.EarlyStopping.on_epoch_end`, epochs counted from 0."""
    sign = 1 if mode == "min" else -1
    best, best_at, wait = sign * INF, 0, 0
    for epoch, value in enumerate(values):
        if epoch < warmup:
            continue
        wait += 1
        if sign * value + min_delta < sign * best:
            best, best_at, wait = value, epoch + 1, 0
        elif wait >= patience and epoch > 0:
            return epoch + 1, best_at, best, True
    return len(values), best_at, best, False


def ours(values, **options):
    stopping = early_stopping(**options)
    state = stopping.init(jnp.zeros(()))
    number = 0
    for number, value in enumerate(values, start=1):
        state = stopping.update(state, value, jnp.float32(number))
        if state.should_stop:
            break
    assert state.evaluations == number
    assert state.best_params == state.best_evaluation  # each is named by its number
    best = (int(state.best_evaluation), float(state.best_value))
    return number, *best, bool(state.should_stop)


FIXED = [
    ([3.0, 2.0, 2.5, 2.4, 2.3, 1.0], {"patience": 3}, (5, 2, 2.0, True)),
    ([3.0, 2.0, 2.0, 2.0], {"patience": 2}, (4, 2, 2.0, True)),  # ties
    ([3.0, 2.0, 1.0], {"patience": 1}, (3, 3, 1.0, False)),
    ([3.0, 2.0, 2.0], {"patience": 0}, (3, 2, 2.0, True)),
    ([1.0, 0.75, 0.5], {"patience": 2, "min_delta": 0.25}, (3, 3, 0.5, False)),
    ([0.1, 0.5, 0.5, 0.4], {"patience": 2, "mode": "max"}, (4, 2, 0.5, True)),
    ([0.0, 9.0, 8.0, 8.5], {"patience": 1, "warmup": 1}, (4, 3, 8.0, True)),
    ([5.0, INF, 4.0, NAN, NAN], {"patience": 2}, (5, 3, 4.0, True)),
    ([5.0, INF, 4.0], {"patience": 2}, (3, 3, 4.0, False)),
]


@pytest.mark.parametrize(("values", "options", "expected"), FIXED)
def test_cases_worked_out_by_hand(values, options, expected):
    assert ours(values, **options) == expected
    assert loop(values, **options) == expected
    assert keras(values, **options) == expected


def test_min_delta_is_strict():
    """A gain of exactly the least counted one is none."""
    values = [1.0, 0.75, 0.25]
    result = ours(values, patience=5, min_delta=0.25)
    assert result == loop(values, patience=5, min_delta=0.25)
    assert ours(values[:2], patience=1, min_delta=0.25) == (2, 1, 1.0, True)
    assert ours(values[:2], patience=1, min_delta=0.24) == (2, 2, 0.75, False)


@pytest.mark.parametrize(
    ("values", "ours_stops", "keras_stops"),
    [([NAN, 1.0, 0.5], 1, 3), ([1.0, -INF, 0.5, 0.25], 2, 3)],
)
def test_where_keras_differs(values, ours_stops, keras_stops):
    assert ours(values, patience=1)[0] == loop(values, patience=1)[0] == ours_stops
    assert keras(values, patience=1)[0] == keras_stops


VALUES = st.lists(
    st.one_of(st.integers(-8, 8).map(lambda i: i / 4), st.sampled_from([NAN, INF, -INF])),
    max_size=24,
)


def scanned(values, params, **options):
    stopping = early_stopping(**options)

    def body(state, row):
        return stopping.update(state, *row), state.should_stop

    return jax.lax.scan(body, stopping.init(params[0]), (values, params))[0]


@jax.jit
def swept(values, patience, min_delta, warmup):
    """All modes; the sweep over hyperparameters needs one compilation for each."""
    params = jnp.arange(1.0, 25.0)
    return [
        scanned(
            values,
            params,
            patience=patience,
            min_delta=min_delta,
            warmup=warmup,
            mode=mode,
        )
        for mode in ("min", "max")
    ]


@given(VALUES, st.integers(0, 4), st.integers(0, 4), st.integers(0, 5))
def test_a_scan_ends_where_a_loop_breaks_off(values, patience, quarters, warmup):
    rest = 24 - len(values)
    # What comes after the loop's end is bad, so that it can only stop a scan.
    padded = jnp.asarray([*values, *[NAN] * rest])
    min_delta = quarters / 4
    states = swept(padded, patience, min_delta, warmup)
    for mode, state in zip(("min", "max"), states, strict=True):
        options = {"patience": patience, "min_delta": min_delta, "warmup": warmup}
        number, best_at, best, stopped = loop(
            [*values, *[NAN] * rest], mode=mode, **options
        )
        assert int(state.evaluations) == number
        assert int(state.best_evaluation) == best_at
        assert float(state.best_value) == best
        assert bool(state.should_stop) == stopped
        assert float(state.best_params) == (best_at or 1)


def test_vmap_stops_each_run_by_itself():
    values = jnp.array([[3.0, 2.0, 2.5, 2.5, 1.0], [3.0, 2.5, 2.0, 1.5, 1.0]])
    params = jnp.arange(10.0).reshape(2, 5)
    state = jax.vmap(lambda v, p: scanned(v, p, patience=2))(values, params)
    assert state.should_stop.tolist() == [True, False]
    assert state.best_value.tolist() == [2.0, 1.0]
    assert state.best_params.tolist() == [1.0, 9.0]
    assert state.evaluations.tolist() == [4, 5]


@pytest.mark.parametrize("value_dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_stay_what_they_are(value_dtype):
    params = {
        "a": jnp.ones(3, jnp.bfloat16),
        "b": [jnp.ones(2, jnp.int8), None],
        "key": jax.random.key(0),
    }
    stopping = early_stopping(patience=2, min_delta=0.1)
    state = stopping.init(params)
    new = jax.jit(stopping.update)(state, jnp.asarray(0.5, value_dtype), params)
    assert jax.tree.map(lambda x: x.aval, new) == jax.tree.map(lambda x: x.aval, state)
    assert new.best_value.dtype == jnp.float32
    assert new.best_value == 0.5


def test_float64_is_kept():
    with jax.enable_x64(True):
        stopping = early_stopping(patience=1, min_delta=1e-12)
        state = stopping.update(stopping.init(), 1.0)
        state = stopping.update(state, 1.0 - 1e-11)
        assert state.best_value.dtype == jnp.float64
        assert state.best_evaluation == 2


def test_best_params_outlive_donated_ones():
    stopping = early_stopping(patience=1)
    spend = jax.jit(lambda x: x + 1, donate_argnums=0)
    params = jnp.zeros(3)
    state = stopping.init(params)
    params = spend(params)
    state = stopping.update(state, 1.0, params)
    params = spend(params)
    state = stopping.update(state, 2.0, params)
    assert state.best_params.tolist() == [1.0, 1.0, 1.0]
    assert state.should_stop


def test_the_state_can_be_donated():
    stopping = early_stopping(patience=2)
    update = jax.jit(stopping.update, donate_argnums=0)
    state = stopping.init(jnp.zeros(3))
    for value in (2.0, 1.0, 3.0):
        state = update(state, value, jnp.full(3, value))
    assert state.best_params.tolist() == [1.0, 1.0, 1.0]


def test_without_params_none_are_kept():
    stopping = early_stopping(patience=2)
    state = stopping.update(stopping.init(), 1.0)
    assert state.best_params is None
    assert len(jax.tree.leaves(state)) == 5


def test_it_finds_the_weights_before_an_overfit():
    """Gradient descent on few noisy points: validation error falls, then rises."""
    rng = np.random.default_rng(0)
    truth = np.zeros(30)
    truth[:3] = 1.0

    def data(n):
        x = rng.normal(size=(n, 30))
        return jnp.asarray(x), jnp.asarray(x @ truth + rng.normal(size=n))

    (x, y), (x_val, y_val), (x_test, y_test) = data(32), data(200), data(2000)

    def error(w, x, y):
        return jnp.mean((x @ w - y) ** 2)

    def epoch(carry, _):
        w, state = carry
        w = w - 0.05 * jax.grad(error)(w, x, y)
        return (w, stopping.update(state, error(w, x_val, y_val), w)), None

    stopping = early_stopping(patience=10)
    start = (jnp.zeros(30), stopping.init(jnp.zeros(30)))
    (last, state), _ = jax.lax.scan(epoch, start, length=2000)
    assert state.should_stop
    best = float(error(state.best_params, x_test, y_test))
    assert best < 0.6 * float(error(last, x_test, y_test))
    np.testing.assert_allclose(error(state.best_params, x_val, y_val), state.best_value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"patience": 1.5}, "patience must be a whole number, got 1.5"),
        ({"patience": 1, "warmup": -1}, "warmup must be at least 0, got -1"),
        ({"patience": 1, "min_delta": -0.1}, "min_delta must be zero or positive"),
        ({"patience": 1, "mode": "auto"}, "mode must be 'min' or 'max', got 'auto'"),
    ],
)
def test_bad_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        early_stopping(**options)


def test_bad_updates_raise():
    stopping = early_stopping(patience=1)
    state = stopping.init({"w": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"value must be a scalar, .* shape \(3,\)"):
        stopping.update(state, jnp.zeros(3), {"w": jnp.zeros(2)})
    for params in (
        None,
        {"w": jnp.zeros(3)},
        {"v": jnp.zeros(2)},
        {"w": jnp.zeros(2, int)},
    ):
        with pytest.raises(ValueError, match="params must be like those given to init"):
            stopping.update(state, 1.0, params)

"""Reduction on a plateau: PyTorch's and Optax's trajectories, and what they get wrong."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from optix_tricks import plateau, reduce_on_plateau, report, sgd

rng = np.random.default_rng(0)
# Losses that fall, stall and fall again; float32 holds them exactly.
LOSSES = (2 + np.repeat([3, 1, 1, 0.5, 0.4, 0.4, 0.1, 0.1], 15)).astype(np.float32)
LOSSES += 0.2 * rng.standard_normal(LOSSES.size).astype(np.float32)


def states_of(machine, values):
    """The state after each value, by a compiled scan."""

    def step(state, value):
        state = machine.update(state, value)
        return state, state

    return jax.jit(lambda v: jax.lax.scan(step, machine.init(), v)[1])(values)


def states_of_pytorch(values, **arguments):
    """Scale, best value, bad values, cooldown after each value."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, eps=0.0, **arguments
    )
    states = []
    for value in values:
        scheduler.step(float(value))
        rate = optimizer.param_groups[0]["lr"]
        said = (scheduler.best, scheduler.num_bad_epochs, scheduler.cooldown_counter)
        states.append((rate, *said))
    return np.array(states).T


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("rtol", "atol"), [(0.05, 0.0), (0.0, 0.0), (0.0, 0.2)])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (3, 4)])
def test_follows_pytorch(mode, rtol, atol, patience, cooldown):
    values = LOSSES if mode == "min" else 6 - LOSSES
    arguments = {"mode": mode, "factor": 0.7, "cooldown": cooldown}
    theirs = states_of_pytorch(
        values,
        patience=patience,
        threshold=rtol or atol,
        threshold_mode="rel" if rtol else "abs",
        min_lr=0.1,
        **arguments,
    )
    machine = plateau(
        patience=patience + 1, rtol=rtol, atol=atol, min_scale=0.1, **arguments
    )
    ours = states_of(machine, values)
    assert ours.scale[-1] < 0.5
    np.testing.assert_allclose(ours.scale, theirs[0], rtol=2e-6)
    np.testing.assert_array_equal(ours.best_value, np.float32(theirs[1]))
    np.testing.assert_array_equal(ours.plateau_count, theirs[2])
    np.testing.assert_array_equal(ours.cooldown_count, theirs[3])


@pytest.mark.parametrize("accumulation_size", [1, 3])
def test_follows_optax(accumulation_size):
    arguments = {
        "patience": 3,
        "rtol": 0.05,
        "atol": 0.01,
        "cooldown": 2,
        "accumulation_size": accumulation_size,
        "min_scale": 0.2,
    }
    ones = jnp.ones(2)

    def scales(tx):
        def step(state, value):
            updates, state = tx.update(ones, state, value=value)
            return state, updates[0]

        return jax.jit(lambda v: jax.lax.scan(step, tx.init(ones), v)[1])(LOSSES)

    ours = scales(reduce_on_plateau(0.7, **arguments))
    assert ours[-1] < 0.5
    np.testing.assert_allclose(
        ours, scales(optax.contrib.reduce_on_plateau(0.7, **arguments)), rtol=2e-6
    )


def test_accumulation_judges_the_mean_of_each_window():
    each = states_of(plateau(0.7, 3, rtol=0.05, accumulation_size=5), LOSSES)
    means = LOSSES.reshape(-1, 5).mean(1)
    of_means = states_of(plateau(0.7, 3, rtol=0.05), means)
    np.testing.assert_allclose(each.best_value[4::5], of_means.best_value, rtol=1e-6)
    for name in ("scale", "plateau_count", "cooldown_count"):
        window = np.asarray(getattr(each, name)).reshape(-1, 5)
        np.testing.assert_array_equal(window[:, 4], getattr(of_means, name))
        np.testing.assert_array_equal(window[1:, :4], window[:-1, 4:].repeat(4, 1))
    np.testing.assert_array_equal(each.avg_count[:10], [1, 2, 3, 4, 0] * 2)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_negative_metrics_stall_and_improve_like_positive_ones(mode):
    stalled = np.full(30, -1.0, np.float32)
    assert states_of(plateau(patience=10, mode=mode), stalled).scale[-1] < 0.1
    theirs = states_of_pytorch(stalled, mode=mode, patience=9)
    assert theirs[0, -1] == 1  # never reduces: an equal value "improves"
    machine = plateau(0.5, 1, rtol=0.1, mode=mode)
    sign = -1 if mode == "min" else 1  # of the better direction
    just_not, just = -1 + sign * 0.0999, -1 + sign * 0.1001
    assert states_of(machine, jnp.array([-1.0, just_not])).scale[1] == 0.5
    assert states_of(machine, jnp.array([-1.0, just])).scale[1] == 1


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_a_bad_one(mode, odd):
    values = jnp.array([odd, 1.0, odd, odd, odd, 1.0])
    states = states_of(plateau(0.5, 3, mode=mode, rtol=0.0), values)
    np.testing.assert_array_equal(states.plateau_count, [1, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(states.scale, [1, 1, 1, 1, 0.5, 0.5])
    np.testing.assert_array_equal(states.best_value[1:], 1)


def test_a_metric_that_keeps_improving_is_left_alone():
    values = 0.99 ** np.arange(300, dtype=np.float32)
    assert (states_of(plateau(patience=1), values).scale == 1).all()
    assert (states_of(plateau(patience=1, mode="max"), 1 / values).scale == 1).all()


def test_scale_stops_at_its_minimum():
    scales = states_of(plateau(0.5, 1, min_scale=0.3), jnp.ones(6)).scale
    np.testing.assert_array_equal(scales, np.float32([1, 0.5, 0.3, 0.3, 0.3, 0.3]))


@pytest.mark.parametrize("x64", [False, True])
def test_state_keeps_its_types_whatever_the_value(x64):
    def types(state):
        return jax.tree.map(lambda x: (x.dtype, x.weak_type, x.shape), state)

    with jax.enable_x64(x64):
        machine = plateau(0.5, 1)
        state = machine.init()
        assert state.scale.dtype == ("float64" if x64 else "float32")
        dtypes = ("float16", "bfloat16", "float32", "int32")
        for value in [1, 1.0, np.float32(1), *(jnp.ones((), d) for d in dtypes)]:
            after = jax.eval_shape(machine.update, state, value)
            assert types(after) == types(state)
        assert types(machine.update(state, 1.0)) == types(state)


def test_one_compilation_serves_all_values():
    traces = []

    @jax.jit
    def update(state, value):
        traces.append(1)
        return plateau(0.5, 1).update(state, value)

    state = plateau().init()
    for value in (1.0, 2.0, 3.0):
        state = update(state, value)
    assert len(traces) == 1
    assert state.scale == 0.25


def test_vmap_sweeps_over_arguments_and_metrics():
    def final(factor, patience, values):
        return states_of(plateau(factor, patience, rtol=0.05), values).scale[-1]

    factors, patiences = jnp.array([0.5, 0.9]), jnp.array([2, 5])
    metrics = jnp.stack([LOSSES, LOSSES[::-1]])
    swept = jax.vmap(final)(factors, patiences, metrics)
    for index in range(2):
        alone = final(float(factors[index]), int(patiences[index]), metrics[index])
        np.testing.assert_allclose(swept[index], alone, rtol=1e-6)


def test_link_scales_what_it_may_and_reports():
    tx = reduce_on_plateau(0.5, 1, mask={"a": True, "b": False})
    grads = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2)}
    state = tx.init(grads)
    for _ in range(3):
        updates, state = tx.update(grads, state, value=1.0)
    np.testing.assert_array_equal(updates["a"], np.full(2, 0.25))
    assert updates["a"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(updates["b"], np.ones(2))
    said = report(state)
    assert said["plateau_scale"] == 0.25
    assert said["patience"] == 1
    assert state.count == 3


def test_patience_is_data_too():
    tx = reduce_on_plateau(0.5, 100)
    state = tx.init(jnp.ones(1))
    for _ in range(3):
        _, state = tx.update(jnp.ones(1), state, value=1.0)
    assert state.plateau.scale == 1
    state = optax.tree.set(state, patience=jnp.float32(3))
    _, state = tx.update(jnp.ones(1), state, value=1.0)
    assert state.plateau.scale == 0.5


def noisy_descent(tx, noise, steps=600):
    """Mean distance from the minimum over the last third; gradients with noise."""
    noises = noise * jax.random.normal(jax.random.key(0), (steps, 8))

    def step(carry, e):
        w, state = carry
        loss = 0.5 * jnp.sum(w**2)
        updates, state = tx.update(w + e, state, w, value=loss)
        return (w + updates, state), loss

    start = jnp.full(8, 3.0)
    (_, state), losses = jax.jit(
        lambda: jax.lax.scan(step, (start, tx.init(start)), noises)
    )()
    return jnp.mean(losses[-steps // 3 :]), report(state)


def test_acts_where_noise_stops_the_descent_and_not_where_nothing_does():
    link = reduce_on_plateau(0.3, 5, rtol=0.01, accumulation_size=10)
    reduced = optax.chain(sgd(0.4), link)
    noisy, said = noisy_descent(reduced, noise=1.0)
    plain, _ = noisy_descent(optax.chain(sgd(0.4), optax.identity()), noise=1.0)
    assert said["plateau_scale"] < 0.1
    assert noisy < 0.2 * plain
    _, said = noisy_descent(reduced, noise=0.0, steps=60)
    assert said["plateau_scale"] == 1


@pytest.mark.parametrize("make", [plateau, reduce_on_plateau])
def test_bad_arguments_raise(make):
    for message, arguments in {
        "factor must be positive, got 0.0": {"factor": 0.0},
        r"factor must be in \[0, 1\], got 1.5": {"factor": 1.5},
        "rtol must be zero or positive, got -0.1": {"rtol": -0.1},
        "atol must be zero or positive, got -0.1": {"atol": -0.1},
        r"min_scale must be in \[0, 1\], got 2.0": {"min_scale": 2.0},
        "patience must be at least 1, got 0": {"patience": 0},
        "patience must be a whole number, got 2.5": {"patience": 2.5},
        "cooldown must be at least 0, got -1": {"cooldown": -1},
        "accumulation_size must be at least 1, got 0": {"accumulation_size": 0},
        "mode must be 'min' or 'max', got 'most'": {"mode": "most"},
    }.items():
        with pytest.raises(ValueError, match=message):
            make(**arguments)


def test_bad_values_raise():
    tx = reduce_on_plateau()
    state = tx.init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"value must be given .*value=loss"):
        tx.update(jnp.ones(2), state)
    with pytest.raises(ValueError, match=r"value must be a scalar, .*shape \(2,\)"):
        tx.update(jnp.ones(2), state, value=jnp.ones(2))


def test_arguments_are_named_as_in_optax():
    theirs = inspect.signature(optax.contrib.reduce_on_plateau).parameters
    ours = inspect.signature(reduce_on_plateau).parameters
    assert list(ours) == [*theirs, "mode", "per_step", "mask"]
    assert {n: p.default for n, p in theirs.items()} == {
        n: ours[n].default for n in theirs
    }

"""Averages of parameters against their definitions, PyTorch and TensorFlow 1's form."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from reference import assert_close, dtypes, noise
from torch.optim import swa_utils

import optix_tricks as ot

TOLERANCE = {"float32": 3e-6, "float64": 1e-13}


def averages_of(tx, updates, w):
    """The average and the parameters after each step, from given updates."""

    def step(carry, u):
        w, state = carry
        passed, state = tx.update(u, state, w)
        w = optax.apply_updates(w, passed)
        return (w, state), (ot.averaged_params(state, w), w)

    walk = jax.jit(lambda w, us: jax.lax.scan(step, (w, tx.init(w)), us))
    (_, state), (averages, path) = walk(w, updates)
    return np.asarray(averages, np.float64), np.asarray(path, np.float64), state


def walk(tx, dtype, steps=60):
    with jax.enable_x64(dtype == "float64"):
        updates, w = noise(1, steps, 4, 5), noise(2, 4, 5)
        return averages_of(tx, jnp.array(updates, dtype), jnp.array(w, dtype))


@dtypes
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_debiased_weights_fall_off_by_the_decay_and_add_up_to_one(decay, dtype):
    got, path, _ = walk(ot.ema_of_params(decay), dtype)
    d = float(np.dtype(dtype).type(decay))
    want = [
        np.average(path[:t], axis=0, weights=d ** np.arange(t - 1.0, -1, -1))
        for t in range(1, len(path) + 1)
    ]
    assert_close(got, want, TOLERANCE[dtype])


@dtypes
def test_without_debias_the_initial_parameters_keep_their_weight(dtype):
    got, path, _ = walk(ot.ema_of_params(0.9, debias=False), dtype)
    d, average, want = float(np.dtype(dtype).type(0.9)), noise(2, 4, 5), []
    for w in path:
        average = d * average + (1 - d) * w
        want.append(average)
    assert_close(got, want, TOLERANCE[dtype])


def torch_averages(path, averaged_at, **options):
    """AveragedModel fed with the path; its parameters after each step."""
    model = torch.nn.Linear(5, 4, bias=False, dtype=torch.float64)
    model.weight.data = torch.tensor(path[0])
    averaged = swa_utils.AveragedModel(model, **options)
    out = []
    for t, w in enumerate(path, start=1):
        model.weight.data = torch.tensor(w)
        if t in averaged_at:
            averaged.update_parameters(model)
        out.append(averaged.module.weight.detach().numpy().copy())
    return np.array(out)


@dtypes
def test_a_first_decay_of_zero_gives_the_average_of_torch(dtype):
    decay = float(np.float32(0.9))
    tx = ot.ema_of_params(lambda n: jnp.where(n == 0, 0, decay), debias=False)
    got, path, _ = walk(tx, dtype)
    average = swa_utils.get_ema_multi_avg_fn(decay)
    want = torch_averages(path, range(1, 61), multi_avg_fn=average)
    assert_close(got, want, TOLERANCE[dtype])


@dtypes
def test_a_schedule_gives_the_warm_up_of_tf1(dtype):
    tx = ot.ema_of_params(
        lambda n: jnp.minimum(0.8, (1.0 + n) / (10.0 + n)), debias=False
    )
    got, path, _ = walk(tx, dtype)
    average, want = noise(2, 4, 5), []
    for n, w in enumerate(path):
        average = average - (1 - min(0.8, (1 + n) / (10 + n))) * (average - w)
        want.append(average)
    assert_close(got, want, TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize(("start", "every"), [(1, 1), (7, 1), (10, 4), (60, 3)])
def test_swa_is_the_average_of_torch(start, every, dtype):
    got, path, state = walk(ot.swa(start, every), dtype)
    taken = range(start, 61, every)
    want = torch_averages(path, taken)
    assert_close(got[start - 1 :], want[start - 1 :], TOLERANCE[dtype])
    np.testing.assert_array_equal(got[: start - 1], path[: start - 1])
    assert float(ot.report(state)["averaged_models"]) == len(taken)


def test_swa_from_step_zero_counts_the_initial_parameters():
    got, path, _ = walk(ot.swa(0, 20), "float32")
    np.testing.assert_array_equal(got[18], noise(2, 4, 5))
    want = (noise(2, 4, 5) + path[19] + path[39]) / 3
    np.testing.assert_allclose(got[50], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tx", [ot.ema_of_params(0.9999), ot.swa(2, 3)])
def test_parameters_that_stand_still_are_their_own_average_to_the_bit(tx):
    w = jnp.float32(noise(3, 64))
    got, _, _ = averages_of(tx, jnp.zeros((300, 64)), w)
    np.testing.assert_array_equal(got[-1], w)


def test_the_last_weights_of_a_long_run_are_not_lost_in_rounding():
    """10,000 steps of 1e-4 from 0 to 1, and as many at 1; the average by hand."""
    updates = jnp.where(jnp.arange(20_000)[:, None] < 10_000, 1e-4, 0.0)
    got, path, _ = averages_of(ot.ema_of_params(0.9999), updates, jnp.zeros(1))
    d, average = float(np.float32(0.9999)), 0.0
    for t, w in enumerate(path, start=1):
        average += (1 - d) / (1 - d**t) * (w - average)
    np.testing.assert_allclose(got[-1], average, rtol=3e-5)


def test_bfloat16_parameters_have_a_float32_average_or_one_of_bfloat16_if_asked():
    w = jnp.zeros(256, jnp.bfloat16)
    updates = jnp.float32(0.01 * noise(4, 200, 256, mean=0.0) + 0.005)
    averages, path, state = averages_of(ot.ema_of_params(0.9), updates, w)
    assert state.average.dtype == jnp.float32
    assert ot.averaged_params(state, w).dtype == jnp.bfloat16
    weights = 0.9 ** np.arange(199.0, -1, -1)
    want = np.average(path, axis=0, weights=weights)
    np.testing.assert_allclose(averages[-1], want, rtol=0.01)
    narrow, _, state = averages_of(
        ot.ema_of_params(0.9, state_dtype="bfloat16"), updates, w
    )
    assert state.average.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow[-1], want, rtol=0.03)


def test_updates_pass_as_they_came():
    w = {"a": jnp.ones(3), "b": jnp.ones(2, jnp.bfloat16)}
    u = {"a": jnp.float32([1e-30, jnp.nan, 2]), "b": jnp.full(2, 0.1, jnp.bfloat16)}
    for tx in (ot.ema_of_params(0.9), ot.swa(1)):
        passed, _ = tx.update(u, tx.init(w), w)
        chex.assert_trees_all_equal(passed, u)
        chex.assert_trees_all_equal_dtypes(passed, u)


def state_after(tx, w):
    _, state = tx.update(jax.tree.map(jnp.ones_like, w), tx.init(w), w)
    return state


PARAMS = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3), "none": None}


def test_masked_parameters_are_the_present_ones():
    state = state_after(ot.ema_of_params(0.9, mask=ot.no_bias_or_norm), PARAMS)
    now = jax.tree.map(lambda x: x + 5, PARAMS)
    averaged = ot.averaged_params(state, now)
    assert (averaged["kernel"] == 2).all()
    assert (averaged["bias"] == 6).all()
    assert averaged["none"] is None


def test_the_average_is_found_wherever_it_lies():
    link = ot.swa(1)
    labels = {"kernel": "a", "bias": "b", "none": "a"}
    for tx in (
        link,
        optax.chain(optax.identity(), optax.chain(optax.identity(), link)),
        optax.masked(link, {"kernel": True, "bias": True, "none": True}),
        optax.partition({"a": link, "b": ot.ema_of_params(0.5)}, labels),
        ot.sam(link, rho=0.0),
        optax.apply_if_finite(link, 3),
    ):
        tx = optax.with_extra_args_support(tx)
        updates = jax.tree.map(jnp.ones_like, PARAMS)
        _, state = tx.update(
            updates, tx.init(PARAMS), PARAMS, grad_fn=lambda w, u=updates: u
        )
        averaged = jax.jit(ot.averaged_params)(state, PARAMS)
        chex.assert_trees_all_equal(averaged, jax.tree.map(lambda x: x + 1, PARAMS))


def test_a_packed_tree_has_the_average_of_the_plain_one():
    w = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
    packed = ot.pack(w)
    tx = ot.ema_of_params(0.9, mask=ot.no_bias_or_norm)
    averaged = ot.unpack(ot.averaged_params(state_after(tx, packed), packed))
    chex.assert_trees_all_equal(averaged, ot.averaged_params(state_after(tx, w), w))


def test_the_slow_weights_of_a_lookahead_are_an_average_too():
    tx = ot.lookahead(ot.sgd(1.0), sync_period=2)
    w = jnp.array([1.0, 2.0])
    np.testing.assert_array_equal(ot.averaged_params(state_after(tx, w), w + 7), w)


def test_a_state_without_an_average_is_refused():
    state = state_after(ot.adam(0.1), jnp.ones(2))
    with pytest.raises(ValueError, match=r"no averaged parameters: put ema_of_params"):
        ot.averaged_params(state, jnp.ones(2))


@pytest.mark.parametrize(
    "tx",
    [
        optax.chain(ot.lookahead(ot.sgd(0.1)), ot.swa(1)),
        ot.lookahead(optax.chain(ot.sgd(0.1), ot.swa(1))),
    ],
)
def test_two_averages_of_a_parameter_are_refused_until_one_is_named(tx):
    w = jnp.ones(2)
    state = state_after(tx, w)
    with pytest.raises(ValueError, match=r"more than one average.*opt_state\[-1\]"):
        ot.averaged_params(state, w)
    part = state.inner_state if hasattr(state, "inner_state") else state[-1]
    np.testing.assert_allclose(ot.averaged_params(part, w), 0.9)


def test_the_average_outlives_a_donated_state():
    tx, w = ot.ema_of_params(0.9), jnp.ones(2)
    state = state_after(tx, w)
    averaged = ot.averaged_params(state, w)
    jax.jit(tx.update, donate_argnums=1)(w, state, w)
    np.testing.assert_array_equal(averaged, 2.0)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (ot.ema_of_params, {"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        (ot.swa, {"start_step": -1}, "start_step must be at least 0, got -1"),
        (ot.swa, {"start_step": 1, "every_steps": 0}, "every_steps.*at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("tx", [ot.ema_of_params(0.9), ot.swa(1)])
def test_without_parameters_it_is_refused(tx):
    with pytest.raises(ValueError, match="params must be given"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def excess(link, rate, noise_scale, steps=400):
    """Losses w^2 at the last point and at the average, of SGD with noisy gradients."""
    tx = optax.chain(ot.sgd(rate), link)

    def step(carry, n):
        w, state = carry
        updates, state = tx.update(w + noise_scale * n, state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.ones(64)
    noises = jnp.float32(noise(5, steps, 64, mean=0.0))
    (w, state), _ = jax.lax.scan(step, (w, tx.init(w)), noises)
    return jnp.mean(w**2), jnp.mean(ot.averaged_params(state, w) ** 2)


@pytest.mark.parametrize("link", [ot.ema_of_params(0.99), ot.swa(200, 5)])
def test_it_is_nearer_to_the_minimum_of_a_noisy_path_and_farther_on_a_calm_one(link):
    last, average = excess(link, rate=0.5, noise_scale=1.0)
    assert average < 0.1 * last
    last, average = excess(link, rate=0.02, noise_scale=0.0)
    assert average > 2 * last


def test_before_its_start_swa_has_averaged_no_model():
    tx, w = ot.swa(3), jnp.ones(2)
    state, models = tx.init(w), []
    for _ in range(4):
        _, state = tx.update(w, state, w)
        models.append(float(ot.report(state)["averaged_models"]))
    assert models == [0, 0, 1, 2]

"""The order of a chain and the rate, against the equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks import tricks
from optix_tricks.training import Batch, Dataset, create_state
from optix_tricks.tricks import TRICKS, Setup, find_trick
from tests.tricks.toys import steps

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.normal(size=40).astype(np.float32)
DATA = Dataset("line", Batch(X, Y), Batch(X, Y))
START = np.array([1.0, -2.0, 0.5])


def apply(params, batch_stats, x, *, train, key=None):
    return x @ params["w"], batch_stats


NETWORK = apply, {"w": jnp.asarray(START, jnp.float32)}, {}


def trained(*chosen, count=None, **options):
    numbers = {"epochs": 2, "batch_size": 40} | options
    plan = Setup(NETWORK, **numbers).take(*chosen).plan(DATA)
    state, metrics, _ = steps(plan, DATA, count=count)
    return np.asarray(state.params["w"], np.float64), metrics


def gradient(w):
    return 2 * X.T.astype(np.float64) @ (X @ w - Y) / 40


def test_the_squared_error_is_the_loss_of_numbers():
    w, metrics = trained(tricks.sgd(0.1), count=1)
    np.testing.assert_allclose(w, START - 0.1 * gradient(START), rtol=1e-5)
    told = X @ START
    assert metrics["loss"] == pytest.approx(np.mean((told - Y) ** 2), rel=1e-5)
    assert metrics["absolute_error"] == pytest.approx(np.abs(told - Y).mean(), rel=1e-5)
    r2 = 1 - np.mean((told - Y) ** 2) / np.var(Y)
    assert metrics["r_squared"] == pytest.approx(r2, rel=1e-4)


def test_clipping_comes_before_l2_and_decoupled_decay_after_the_optimiser():
    g = gradient(START)
    clipped = g * min(1, 0.5 / np.linalg.norm(g))
    w, _ = trained(
        tricks.decoupled_decay(0.2),
        tricks.l2(0.3),
        tricks.clip_global_norm(0.5),
        tricks.sgd(0.1),
        count=1,
    )
    want = START - 0.1 * (clipped + 0.3 * START) - 0.1 * 0.2 * START
    np.testing.assert_allclose(w, want, rtol=1e-5)


def test_l1_is_in_the_loss():
    w, _ = trained(tricks.sgd(0.1), tricks.l1(0.7), count=1)
    want = START - 0.1 * (gradient(START) + 0.7 * np.sign(START))
    np.testing.assert_allclose(w, want, rtol=1e-5)


def test_schedules_count_updates_where_several_steps_make_one():
    chosen = tricks.sgd(0.1), tricks.linear, tricks.accumulation(2)
    w, want = trained(*chosen, epochs=4)[0], START
    for rate in (0.1, 0.05):  # four steps are two updates
        want = want - rate * gradient(want)
    np.testing.assert_allclose(w, want, rtol=1e-5)


def rates(*chosen, steps=20):
    plan = Setup(NETWORK, epochs=steps, batch_size=40).take(*chosen).plan(DATA)
    return np.array([plan.context.rate(t) for t in range(steps + 1)], np.float64)


def test_the_rate_is_peak_times_rise_and_shape():
    found = rates(tricks.sgd(0.4), tricks.warm_up(0.25, init_value=0.2), tricks.cosine)
    t = np.arange(21)
    rise = 0.2 + 0.8 * t / 5
    fall = (1 + np.cos(np.pi * (t - 5) / 15)) / 2
    np.testing.assert_allclose(found, 0.4 * np.where(t < 5, rise, fall), atol=1e-7)


SHAPES = {  # at the start, half way, at the end of 20 updates
    "constant": (1, 1, 1),
    "linear": (1, 0.5, 0),
    "cosine": (1, 0.5, 0),
    "polynomial": (1, 0.25, 0),
    "exponential": (1, 0.1, 0.01),
    "natural_exp": (1, np.exp(-2.3), np.exp(-4.6)),
    "inverse_time": (1, 1 / 5.5, 0.1),
    "steps": (1, 0.1, 0.01),
    "cyclical": (0.1, 0.1, 0.1),
    "wsd": (1, 1, 0),
    "onecycle": (1 / 25, None, 1 / 25 / 1e4),
    "linear_cosine": (1.001, None, 0.001),
    "cosine_restarts": (1, None, None),
    "noisy_linear_cosine": (None, None, None),
}


@pytest.mark.parametrize("name", [n for n, t in TRICKS.items() if "shape" in t.slots])
def test_a_shape_is_a_share_of_the_peak_over_the_run(name):
    chosen = TRICKS[name](**({"cycles": 2} if name == "cyclical" else {}))
    found = rates(tricks.sgd(1.0), chosen)
    for place, want in zip((0, 10, 20), SHAPES[name], strict=True):
        if want is not None:
            assert found[place] == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", [n for n, t in TRICKS.items() if "optimizer" in t.slots])
def test_an_optimiser_takes_the_rate_and_another_one(name):
    """At half the rate throughout, the first step of all is half as long."""
    plan = Setup(NETWORK, batch_size=40).take(TRICKS[name]).plan(DATA)
    params = NETWORK[1]
    grads = {"w": jnp.asarray(gradient(START), jnp.float32)}

    def first(tx):
        return tx.update(grads, tx.init(params), params)[0]["w"]

    peak = dict(TRICKS[name].numbers)["learning_rate"]
    whole = first(plan.functions.tx)
    half = first(plan.optimizer(lambda count: peak / 2))
    np.testing.assert_allclose(half, whole / 2, rtol=1e-5)


def test_any_optimiser_of_optax_by_its_dotted_name():
    named = Setup(NETWORK, batch_size=40).take(tricks.named(0.1, of="optax.adabelief"))
    theirs = optax.adabelief(0.1)
    grads = {"w": jnp.asarray(gradient(START), jnp.float32)}
    ours = named.plan(DATA).functions.tx
    steps = [
        tx.update(grads, tx.init(NETWORK[1]), NETWORK[1])[0] for tx in (ours, theirs)
    ]
    np.testing.assert_allclose(steps[0]["w"], steps[1]["w"], rtol=1e-6)
    with pytest.raises(ValueError, match=r"dotted name of .*got 'optax.adma'"):
        Setup(NETWORK, batch_size=40).take(tricks.named(of="optax.adma")).plan(DATA)


def test_a_dotted_name_is_found_as_the_trick_of_that_optimiser():
    found = find_trick("optax.adabelief")
    assert found == tricks.named(of="optax.adabelief")
    assert found(0.1) == tricks.named(0.1, of="optax.adabelief")


def test_averages_are_tested_with_statistics_of_their_own():
    decay = 0.5
    plan = Setup(NETWORK, epochs=3, batch_size=40).take(
        tricks.sgd(0.1), tricks.ema(decay)
    )
    state, _, job = steps(plan.plan(DATA), DATA)
    w, mean, weight = START, np.zeros(3), 0.0
    for _ in range(3):
        w = w - 0.1 * gradient(w)
        mean, weight = decay * mean + (1 - decay) * w, decay * weight + 1 - decay
    np.testing.assert_allclose(job.tested(state).params["w"], mean / weight, rtol=1e-5)


def test_half_precision_brings_its_loss_scale():
    from optix_tricks import loss_scale
    from tests.tricks.toys import base, dataset

    job = base().take(tricks.float16).plan(dataset()).job()
    assert loss_scale(job.tx.init(job.params)) == 32768
    images = jnp.asarray(dataset().train.inputs[:2])
    run = jax.make_jaxpr(lambda x: job.apply(job.params, job.batch_stats, x, train=False))
    assert "f16" in str(run(images))


def test_statistics_that_count_are_run_over_the_first_examples():
    """As Haiku's: an average of the inputs that knows how many batches it has seen."""

    def apply(params, stats, inputs, *, train, key=None):
        if train:
            traced.append(inputs)
            count = stats["count"] + 1
            mean = stats["mean"] + (jnp.mean(inputs) - stats["mean"]) / count
            stats = {"count": count, "mean": mean}
        return params["w"] * inputs - stats["mean"], stats

    traced = []
    x = np.arange(40, dtype=np.float32)
    data = Dataset("line", Batch(x, x), Batch(x, x))
    stats = {"count": jnp.zeros((), jnp.int32), "mean": jnp.zeros(())}
    network = (apply, {"w": jnp.ones(())}, stats)
    setup = Setup(network, epochs=1, batch_size=10).take(tricks.sgd(0.0), tricks.ema(0.9))
    job = setup.job(data)
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))
    tested = job.tested(state).batch_stats
    assert int(tested["count"]) == 4
    np.testing.assert_allclose(tested["mean"], x.mean(), rtol=1e-6)
    once = len(traced)
    again = job.tested(state._replace(params={"w": jnp.full((), 2.0)}))
    assert len(traced) == once  # the next test of a run compiles nothing
    assert int(again.batch_stats["count"]) == 4

"""Sweeps: the members' own trainings, whichever way they are run."""

import math
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optix_tricks as ot
from optix_tricks.augment import flip_predict
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    Dataset,
    Job,
    Way,
    create_state,
    epoch_order,
    epoch_orders,
    fastest_way,
    make_evaluate,
    measure_ways,
    sweep,
    sweep_jobs,
)
from optix_tricks.training import _ways as ways
from optix_tricks.training._stacked import Stack, compile_programs

RATES, SEEDS, EPOCHS, STEPS = [0.1, 0.5, math.inf], [3, 8], 3, 5
SETTINGS = {"rate": jnp.array(RATES), "decay": jnp.array([0.0, 0.01, 0.0])}
SHAPE = (3, 2)


def examples(size, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(size, 4)).astype(np.float32)
    return {"x": inputs, "y": np.tanh(inputs.sum(axis=1))}


DATA, TESTS = examples(22, 0), examples(7, 1)  # five batches of 4, and two


def init(setting, seed):
    key = jax.random.key(seed)
    return {"w": setting["rate"] * 0 + jax.random.normal(key, (4,)), "key": key}


def errors(w, batch):
    return jnp.sum(batch["x"] * w.reshape(1, 4), axis=1) - batch["y"]


def step(setting, state, batch):
    """Least squares by gradient descent, with decay and a moving key."""

    def loss(w):
        return jnp.mean(errors(w, batch) ** 2) + setting["decay"] * jnp.sum(w**2)

    value, slope = jax.value_and_grad(loss)(state["w"])
    key = jax.random.fold_in(state["key"], 1)
    noise = 1e-10 * jax.random.key_data(key)[0].astype(jnp.float32)
    w = state["w"] - setting["rate"] * (slope + noise)
    return {"w": w, "key": key}, {"loss": value, "norm": jnp.sum(w**2)}


def evaluate(state, batch):
    error = errors(state["w"], batch)
    compared = jnp.abs(error - jnp.mean(error))  # with the batch's own examples alone
    return {"test_hits": jnp.abs(error) < 0.5, "test_loss": error**2, "test_of": compared}


TESTED = {"evaluate": evaluate, "test_data": TESTS, "test_batch_size": 4}


def run(step=step, **options):
    given = {"settings": SETTINGS, "seeds": SEEDS, "data": DATA, "epochs": EPOCHS}
    given |= {"batch_size": 4, "mode": "loop"}
    return sweep(init, step, **(given | options))


@pytest.fixture(scope="module")
def by_hand():
    """Every member's numbers, one step after the other."""
    compiled = jax.jit(step)
    shapes = {"loss": (STEPS,), "norm": (STEPS,), "test_loss": (), "test_hits": ()}
    shapes["test_of"] = ()
    numbers = {name: np.zeros((*SHAPE, EPOCHS, *x)) for name, x in shapes.items()}
    weights = np.zeros((*SHAPE, 4))
    for k, s in np.ndindex(SHAPE):
        setting = {name: x[k] for name, x in SETTINGS.items()}
        state = init(setting, SEEDS[s])
        for epoch in range(EPOCHS):
            order = epoch_order(jax.random.key(SEEDS[s]), epoch, 22, 4)
            for i, index in enumerate(np.asarray(order)):
                batch = {name: x[index] for name, x in DATA.items()}
                state, metrics = compiled(setting, state, batch)
                numbers["loss"][k, s, epoch, i] = metrics["loss"]
                numbers["norm"][k, s, epoch, i] = metrics["norm"]
            error = TESTS["x"] @ np.asarray(state["w"]) - TESTS["y"]
            numbers["test_loss"][k, s, epoch] = np.mean(error**2)
            numbers["test_hits"][k, s, epoch] = np.mean(np.abs(error) < 0.5)
            of = [np.abs(part - part.mean()) for part in (error[:4], error[4:])]
            numbers["test_of"][k, s, epoch] = np.mean(np.concatenate(of))
        weights[k, s] = state["w"]
    return numbers, weights


def same(got, want):
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


EVERY_KIND = {
    "loop": {"mode": "loop"},
    "vmap": {"mode": "vmap", "scan": True},
    "map, last chunk filled": {"mode": "map", "chunk_size": 4},
    "auto": {"mode": "auto"},
    "two on some devices": {"mode": "loop", "devices": jax.devices()[:4]},
    "doubles on some devices": {"mode": "vmap", "scan": True, "devices": jax.devices()},
}


@pytest.mark.parametrize("options", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_way_is_each_member_trained_alone(options, by_hand):
    numbers, weights = by_hand
    assert np.isnan(numbers["loss"][2]).any()
    assert np.isfinite(numbers["loss"][:2]).all()
    result = run(**options, **TESTED)
    assert result.history.keys() == numbers.keys()
    for name, want in numbers.items():
        same(result.history[name], want)
    same(result.states["w"], weights)
    assert (result.epochs == EPOCHS).all()
    assert result.seeds == tuple(SEEDS)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("mode", ["loop", "map"])
def test_those_who_stop_leave_the_others_as_they_are(mode, devices):
    """Twelve members; four stop after the first epoch and all but one after the next."""
    settings = {"rate": jnp.geomspace(0.01, 0.5, 6), "decay": jnp.zeros(6)}
    options = {"settings": settings, "mode": mode, "devices": jax.devices()[:devices]}
    options |= TESTED
    whole = run(**options)
    last = np.full((6, 2), EPOCHS)
    last[1:3] = 1
    last[[0, 3, 5]] = 2
    last[4, 0] = 2
    asked = []

    def stop(history):
        asked.append({name: x.shape for name, x in history.items()})
        return last == history["loss"].shape[2]

    part = run(**options, stop=stop)
    np.testing.assert_array_equal(part.epochs, last)
    assert asked[1]["loss"] == (6, 2, 2, STEPS)
    assert asked[1]["test_loss"] == (6, 2, 2)
    trained = np.arange(EPOCHS) < last[..., None]
    for name, numbers in whole.history.items():
        same(part.history[name][trained], numbers[trained])
        assert np.isnan(part.history[name][~trained]).all()
    same(part.states["w"][4, 1], whole.states["w"][4, 1])
    # A member that has stopped keeps its last state: its norm is that of its last step.
    norms = np.take_along_axis(whole.history["norm"][..., -1], last[..., None] - 1, 2)
    same((part.states["w"] ** 2).sum(axis=-1), norms[..., 0])


def counting():
    """The step, and how often it was traced and run."""
    counts = Counter()

    def counted(setting, state, batch):
        counts["traced"] += 1
        jax.debug.callback(lambda w: counts.update(["run"]), state["w"])
        return step(setting, state, batch)

    return counted, counts


@pytest.mark.parametrize(("mode", "scan"), [("loop", False), ("map", True)])
def test_nothing_is_compiled_again_for_a_setting_an_epoch_or_a_stop(mode, scan, caplog):
    def stop(history):
        return np.arange(5)[:, None] <= [0, 1]

    settings = {"rate": jnp.linspace(0.1, 0.5, 5), "decay": jnp.zeros(5)}
    counted, counts = counting()
    options = {"settings": settings, "mode": mode, "scan": scan, "stop": stop}
    with jax.log_compiles():
        run(counted, chunk_size=2, **options)
    program = "many_steps" if scan else "advance"
    logged = [r.getMessage() for r in caplog.records]
    assert len([x for x in logged if re.match(rf"Compiling .*\b{program}\b", x)]) == 1
    assert counts["traced"] <= 3  # for shapes, for types, and to compile


@pytest.mark.parametrize(
    ("mode", "devices", "trained"),
    [("loop", 1, [6, 3, 2]), ("map", 1, [6, 4, 2]), ("loop", 2, [6, 4, 2])],
)
def test_who_has_stopped_costs_nothing_but_the_filling_of_a_chunk(mode, devices, trained):
    counted, counts = counting()
    last = np.array([[1, 3], [1, 3], [1, 2]])  # of two devices one has all that are left
    seen = []

    def stop(history):
        jax.effects_barrier()
        seen.append(counts["run"] // STEPS)
        return last == history["loss"].shape[2]

    devices = jax.devices()[:devices]
    run(counted, mode=mode, chunk_size=2, devices=devices, stop=stop)
    assert np.diff([0, *seen]).tolist() == trained


def test_where_all_have_stopped_nothing_runs():
    result = run(epochs=9, stop=lambda history: np.ones(SHAPE, bool))
    assert len(result.seen.ways) == 1
    assert (result.epochs == 1).all()


def test_seeds_are_paired():
    same_twice = {name: jnp.zeros(2) + x[1] for name, x in SETTINGS.items()}
    loss = run(settings=same_twice, epochs=1).history["loss"]
    np.testing.assert_array_equal(loss[0], loss[1])
    assert (loss[:, 0] != loss[:, 1]).all()


def test_devices_send_nothing_to_each_other():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("members",))
    programs = compile_programs(mesh, step, evaluate)
    members = jnp.arange(16)
    stack = Stack(
        {name: x[:1].repeat(16) for name, x in SETTINGS.items()},
        members % 2,
        {"w": jnp.ones((16, 4)), "key": jax.vmap(jax.random.key)(members)},
        jnp.zeros((16, 2, STEPS)),
    )
    data = jax.tree.map(jnp.asarray, DATA)
    order = jnp.zeros((2, STEPS, 4), jnp.int32)
    for call, given in (
        (programs.take, (stack, members % 2)),
        (programs.put, (stack, members % 2, stack)),
        (programs.one_step, (stack, data, order, 0)),
        (programs.many_steps, (stack, data, order, STEPS)),
    ):
        assert not collectives(call.lower(*given))
    summed = jax.shard_map(
        lambda x: jax.lax.psum(x, "members"),
        mesh=mesh,
        in_specs=jax.sharding.PartitionSpec("members"),
        out_specs=jax.sharding.PartitionSpec(),
    )
    assert collectives(jax.jit(summed).lower(jnp.ones(8)))


def collectives(lowered):
    text = lowered.compile().as_text()
    assert "num_partitions=8" in text
    return re.findall(r" (all-\w+|reduce-scatter|collective-\w+|send|recv)\(", text)


def fake_trials(monkeypatch, costs):
    """Trials on a clock of their own; a step of a way takes what `costs(way)` says."""
    now, tried = [0.0], []
    monkeypatch.setattr(ways.time, "perf_counter", lambda: now[0])

    def trial(way):
        def call(steps):
            tried.append(way)
            now[0] += steps * costs(way)

        return call

    return trial, tried


# Seconds of a step by way, as measured on two CPU cores, and what should be chosen.
def tiny(way):
    dispatch = 1e-6 if way.scan else 2e-4
    return dispatch + 2e-5 + 1e-5 * way.stacked


def wide(way):
    return (1e-6 if way.scan else 2e-4) + 3e-4 * way.stacked**1.1


def convolutional(way):
    return 5e-3 * way.stacked**1.4 * (14 if way.scan else 1)


@pytest.mark.parametrize(
    ("costs", "chosen", "dearest"),
    [
        (tiny, Way(16, True), Way(16, True)),
        (wide, Way(1, True), Way(4, True)),
        (convolutional, Way(1, False), Way(4, False)),
    ],
)
def test_the_fastest_way_is_taken_and_hopeless_ones_are_not_tried(
    monkeypatch, costs, chosen, dearest
):
    trial, tried = fake_trials(monkeypatch, costs)
    seconds = measure_ways(trial, members=16, steps=100, scan=None)
    assert fastest_way(seconds, 16) == chosen
    assert max(seconds) <= max(dearest, Way(dearest.stacked, False))
    for way, value in seconds.items():
        assert value == pytest.approx(costs(way), rel=1e-6)
    assert tried.count(Way(1, True)) <= (3 if costs is convolutional else 1000)


def test_fewer_members_take_the_way_that_is_fastest_for_them():
    seconds = {Way(1, True): 1.0, Way(4, True): 2.0, Way(16, True): 5.0}
    chosen = [fastest_way(seconds, n).stacked for n in (16, 9, 8, 4, 2, 1)]
    assert chosen == [16, 16, 4, 4, 1, 1]
    about_equal = {Way(1, False): 1.0, Way(1, True): 0.97}
    assert fastest_way(about_equal, 5) == Way(1, False)


def test_what_does_not_fit_into_the_memory_has_lost(monkeypatch):
    def costs(way):
        if way.stacked > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return 1.0

    seconds = measure_ways(
        fake_trials(monkeypatch, costs)[0], members=9, steps=5, scan=False
    )
    assert list(seconds) == [Way(1, False), Way(4, False), Way(9, False)]
    assert fastest_way(seconds, 9) == Way(4, False)

    def broken(way):
        raise jax.errors.JaxRuntimeError("INTERNAL: other")

    trial, _ = fake_trials(monkeypatch, lambda way: broken(way) if way.scan else 1.0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        measure_ways(trial, members=1, steps=5, scan=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "quick"}, "mode must be 'auto', 'loop', 'vmap' or 'map', got 'quick'"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
        ({"seeds": []}, "seeds must hold at least one, got none"),
        (
            {"settings": {"rate": jnp.ones(2), "decay": jnp.ones(3)}},
            r"settings must be arrays of one length, .* got shapes \[\(3,\), \(2,\)\]",
        ),
        ({"settings": jnp.ones(())}, r"settings must be .* got an array float32\[\]"),
        ({"evaluate": evaluate}, "evaluate and test_data must be given together"),
        (
            TESTED | {"test_data": jax.tree.map(lambda x: x[:0], TESTS)},
            "test_data must hold at least one example, got none",
        ),
        ({"batch_size": 23}, "batch_size must be at most .* 22, got 23"),
        (
            {"step": lambda setting, state, batch: (state, {"y": batch["y"]})},
            r"metric 'y' must have shape \(\), got \(4,\)",
        ),
        (
            TESTED | {"evaluate": lambda state, batch: {"loss": batch["y"]}},
            "evaluate must name its numbers unlike the step's metrics, got loss",
        ),
        (
            {"stop": lambda history: True},
            r"stop must return an array .* \(3, 2\), got \(\)",
        ),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        run(**options)


def build_job(setting, seed):
    """A linear classifier of images that are flipped by their number."""

    def apply(params, batch_stats, images, *, train, key=None):
        return images.reshape(len(images), 8) @ params["kernel"], batch_stats

    def alternate(key, images, indices, step):
        del key
        odd = (indices + step) % 2 == 1
        return jnp.where(odd.reshape(-1, 1, 1, 1), images[:, :, ::-1], images)

    return Job(
        apply=apply,
        params={"kernel": jax.random.normal(jax.random.key(seed), (8, 3))},
        batch_stats={},
        loss=cross_entropy,
        tx=ot.sgd(setting["rate"]),
        augment=None,
        epochs=1.5,
        batch_size=8,
        seed=seed,
        test_loss=cross_entropy,
        test_views=flip_predict,
        alternate=alternate,
        tested=lambda s: s._replace(params=jax.tree.map(lambda x: 2 * x, s.params)),
    )


def test_a_recipes_job_is_trained_as_it_is_alone():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(37, 2, 4, 1)).astype(np.float32)
    labels = rng.integers(0, 3, 37)
    dataset = Dataset(
        "some", Batch(images[:26], labels[:26]), Batch(images[26:], labels[26:])
    )
    settings = {"rate": jnp.array([0.1, 0.5])}
    result = sweep_jobs(build_job, dataset, settings=settings, seeds=[2], mode="vmap")

    job = build_job({"rate": 0.5}, 2)
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(2))
    compiled, losses = jax.jit(job.step), []
    for index in np.concatenate(list(epoch_orders(jax.random.key(2), 1.5, 26, 8))):
        state, metrics = compiled(state, Batch(images[index], labels[index], index))
        losses.append(metrics["loss"])
    shown = job.tested(state)
    evaluated = make_evaluate(job.apply, cross_entropy, batch_size=11, views=flip_predict)
    tests = Batch(jnp.asarray(images[26:]), jnp.asarray(labels[26:]))
    want = evaluated(shown.params, shown.batch_stats, tests)

    same(result.history["loss"][1, 0].ravel(), [*losses, np.nan])
    same(result.history["test_loss"][1, 0, -1], want.loss)
    same(result.history["test_accuracy"][1, 0, -1], want.metrics["accuracy"])
    same(result.states.params["kernel"][1, 0], state.params["kernel"])
    same(result.history["learning_rate"][:, 0, 0, 0], [0.1, 0.5])

"""What a run does about numbers that are not finite: it stops, skips or goes back."""

import json
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks import tricks
from optix_tricks.training import (
    Batch,
    Dataset,
    NotFiniteError,
    RestoredRun,
    RunDirectory,
    create_state,
    make_epoch,
    scale_rate,
    train,
)
from optix_tricks.training import _feeds as feeds
from optix_tricks.training._recovery import eased
from tests.training.toy_runs import (
    linear,
    linear_job,
    start,
    toy_dataset,
)
from tests.tricks.toys import Linears, base

RATE = 2e-3


def quartic(outputs, labels):
    """From a rate on it blows up at once, and at half of it falls."""
    return jnp.sum((outputs - 2 * jax.nn.one_hot(labels, 3)) ** 4, axis=-1)


def wild_job(rate=RATE, **changes):
    tx = optax.chain(optax.sgd(rate), scale_rate())
    return linear_job(loss=quartic, tx=tx, restores=3)._replace(**changes)


def rows_of(path, kind="restore"):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def without_key(state):
    return state._replace(key=jax.random.key_data(state.key))


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """It learns at a low rate, and breaks once the schedule's is high."""
    path = tmp_path_factory.mktemp("bad") / "run"
    with start(path) as run, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        state, _ = train(rising_job(), toy_dataset(), run)
    return path, state, [str(x.message) for x in said if x.category is RestoredRun]


def rising(count):
    return jnp.where(count < 5, 1e-4, 8 * RATE)


def rising_job(**changes):
    return wild_job(rising, **changes)


def test_a_run_goes_back_to_its_last_good_checkpoint_with_half_the_rate(restored):
    path, state, said = restored
    rows = rows_of(path)
    assert [row["rate_scale"] for row in rows] == [
        0.5**i for i in range(1, len(rows) + 1)
    ]
    assert 1 <= len(rows) <= 3
    assert {row["from_step"] for row in rows} == {5}
    for i, (row, text) in enumerate(zip(rows, said, strict=True)):
        assert row["step"] > 6
        assert f"at step {row['step']}" in row["what"]
        assert text.startswith(row["what"])
        scale = row["rate_scale"]
        assert f"from step 5 with {scale:g} of the rate, restore {i + 1} of 3" in text
    steps = [row["step"] for row in rows_of(path, "train")]
    assert steps == [*range(1, 16)]
    assert all(row["loss"] is not None for row in rows_of(path, "train"))
    assert np.isfinite(state.params["kernel"]).all()


def test_what_follows_is_what_a_lower_rate_would_have_done(restored):
    """Step by step, with the rate of the schedule times the factor from step 6 on."""
    path, state, _ = restored
    scale = rows_of(path)[-1]["rate_scale"]
    tx = optax.sgd(lambda count: rising(count) * jnp.where(count < 5, 1.0, scale))
    with start(path.parent / "by_hand") as run:
        want, _ = train(rising_job(tx=tx, restores=0), toy_dataset(), run)
    chex.assert_trees_all_close(state.params, want.params, rtol=1e-5, atol=1e-6)


def test_a_run_that_went_back_is_resumed_in_the_same_bits(restored, tmp_path):
    path, state, said = restored

    class Killed(Exception):
        pass

    def epoch_of(one_step):
        one = make_epoch(one_step)

        def epoch(state, *data, **options):
            if int(state.step) == 10:
                raise Killed
            return one(state, *data, **options)

        return epoch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "epoch_of", epoch_of)
        with (
            start(tmp_path / "run") as run,
            pytest.warns(RestoredRun) as again,
            pytest.raises(Killed),
        ):
            train(rising_job(), toy_dataset(), run)
    assert [str(x.message) for x in again if x.category is RestoredRun] == said
    with RunDirectory.reopen(tmp_path / "run")[0] as run:
        resumed, _ = train(rising_job(), toy_dataset(), run, resume=True)
    chex.assert_trees_all_equal(*map(without_key, (resumed, state)))
    assert rows_of(tmp_path / "run") == rows_of(path)


def test_going_back_compiles_nothing_anew(tmp_path):
    """Of the network each form is traced once, that which asks for the cause included."""
    traced = []

    def counted(params, batch_stats, images, *, train, key=None):
        traced.append(train)
        return linear(params, batch_stats, images, train=train, key=key)

    with start(tmp_path / "run") as run, pytest.warns(RestoredRun) as said:
        train(rising_job(apply=counted), toy_dataset(), run)
    assert sum(x.category is RestoredRun for x in said) > 1
    assert traced.count(True) == 2


def test_a_run_goes_back_so_many_times_and_no_more(tmp_path):
    ends = pytest.raises(NotFiniteError, match=r"after 2 restores; .*: start a new")
    with start(tmp_path / "run") as run, pytest.warns(RestoredRun), ends:
        train(wild_job(rate=1e3, restores=2), toy_dataset(), run)
    assert [row["from_step"] for row in rows_of(tmp_path / "run")] == [0, 0]
    with RunDirectory.reopen(tmp_path / "run")[0] as run, ends:
        train(wild_job(rate=1e3, restores=2), toy_dataset(), run, resume=True)


def test_a_rate_that_cannot_be_lowered_is_refused_at_the_start(tmp_path):
    job = linear_job(restores=1)
    with start(tmp_path / "run") as run, pytest.raises(ValueError, match="tx must have"):
        train(job, toy_dataset(), run)


@pytest.mark.parametrize("policy", ["stop", "skip", "restore"])
def test_a_setup_puts_its_policy_into_the_chain(policy):
    setup = base(Linears, on_bad_number=policy, restores=2)
    job = setup.job(toy_dataset())
    assert job.restores == (2 if policy == "restore" else 0)
    state = job.tx.init(job.params)
    assert ot.transforms.skips_steps(state) == (policy == "skip")
    assert ("rate_scale" in ot.report(state)) == (policy == "restore")
    with pytest.raises(ValueError, match="on_bad_number must be stop, skip or restore"):
        setup.change(on_bad_number="ignore").job(toy_dataset())


def test_an_average_follows_the_weights_as_they_are():
    """Half the rate is half the rate in decay and average too."""
    setup = base(Linears, on_bad_number="restore").take(
        tricks.sgd(0.5), tricks.decoupled_decay(0.1), tricks.ema(0.0)
    )
    job = setup.job(toy_dataset())
    rows = [{"kind": "restore"}] * 2
    key = jax.random.key(0)
    state = eased(create_state(job.params, {}, job.tx, key), rows, job)
    grads = jax.tree.map(jnp.ones_like, state.params)
    updates, opt_state = job.tx.update(grads, state.opt_state, state.params)
    new = jax.tree.map(lambda w: w - 0.25 * 0.5 * (1 + 0.1 * w), state.params)
    after = optax.apply_updates(state.params, updates)
    chex.assert_trees_all_close(after, new, rtol=1e-6)
    averaged = job.tested(state._replace(params=after, opt_state=opt_state)).params
    chex.assert_trees_all_close(averaged, new, rtol=1e-6)


def floats(bad=None, label=None):
    """The toy images as floats; one of them, or a label, is bad."""
    whole = toy_dataset()

    def as_floats(batch):
        return batch._replace(inputs=batch.inputs.astype(np.float32) / 255)

    train_, test = map(as_floats, (whole.train, whole.test))
    if bad is not None:
        train_.inputs[bad, 3, 3, 0] = np.nan
    if label is not None:
        train_.targets[label] = 7
    return Dataset("floats", train_, test, whole.class_names)


def test_a_bad_example_is_named_and_no_rate_is_lowered(tmp_path):
    for name, data, said in (
        ("image", floats(bad=17), r"inputs of training example 17 hold a number that"),
        (
            "label",
            floats(label=5),
            r"labels of training example 5 say 7, and there are 3",
        ),
    ):
        with start(tmp_path / name) as run, pytest.raises(NotFiniteError) as error:
            train(linear_job(tx=wild_job().tx, restores=3), data, run)
        assert error.match(rf"at step \d,? .*; the {said}.*: mend the data and start")
        assert not rows_of(tmp_path / name)


def test_skipping_leaves_the_step_of_a_bad_example_out(tmp_path):
    job = linear_job(tx=ot.skip_nonfinite(optax.sgd(0.01)))
    with start(tmp_path / "run") as run:
        state, _ = train(job, floats(bad=17), run)
    assert np.isfinite(state.params["kernel"]).all()
    skipped = [row for row in rows_of(run.path, "train") if not row["last_finite"]]
    assert len(skipped) == 3  # one an epoch
    assert all(row["loss"] is None for row in skipped)


def test_at_the_first_step_the_weights_are_named_before_the_rate(tmp_path):
    kernel = linear_job().params["kernel"].at[4, 1].set(jnp.inf)
    with start(tmp_path / "a") as run, pytest.raises(NotFiniteError) as error:
        train(linear_job(params={"kernel": kernel}), toy_dataset(), run)
    assert error.match("params/kernel is not finite at the start: look at what init")
    job = linear_job(loss=lambda z, y: jnp.log(-jnp.ones(len(y)) + 0 * z[:, 0]))
    with start(tmp_path / "b") as run, pytest.raises(NotFiniteError) as error:
        train(job, toy_dataset(), run)
    assert error.match("at step 1, .*weights before it and.* finite: look at the loss, ")
    assert "learning-rate" not in str(error.value)


@pytest.mark.parametrize("mode", ["loop", "scan"])
def test_the_first_bad_step_and_array_are_named(tmp_path, monkeypatch, mode):
    """The square root's slope is infinite at 0, which one parameter of two reaches."""

    def apply(params, batch_stats, images, *, train, key=None):
        z, _ = linear({"kernel": params["kernel"]}, {}, images, train=train)
        return z + 0 * jnp.sqrt(params["x"][0]), batch_stats

    def towards_zero(updates, state, params):
        x = jnp.where(state >= 6, -params["x"], 0.0)
        return {**updates, "x": x}, state + 1

    to_zero = optax.GradientTransformation(lambda _: jnp.asarray(0), towards_zero)
    params = {**linear_job().params, "x": jnp.ones(1)}
    tx = optax.chain(optax.sgd(0.01), to_zero)
    monkeypatch.setattr(feeds, "epoch_of", lambda step: make_epoch(step, mode=mode))
    with start(tmp_path / "run") as run, pytest.raises(NotFiniteError) as error:
        train(linear_job(apply=apply, params=params, tx=tx), toy_dataset(), run)
    assert error.match(r"gradient_norm became (nan|inf) at step 8, seen after step 10, ")
    assert error.match("of its gradients that of params/x is not: start a new run")
    assert error.value.step == 8


def test_rows_of_tests_are_checked_as_those_of_steps(tmp_path):
    data = floats()
    data.test.inputs[3, 0, 0, 0] = np.nan
    with start(tmp_path / "run") as run, pytest.raises(NotFiniteError) as error:
        train(linear_job(), data, run)
    assert error.match("the test loss became nan after step 5, though all weights are")
    assert error.match("look at the test examples and their labels")
    assert not (run.path / "result.json").exists()
    assert not (run.path / "checkpoints" / "1").exists()
    split = data._replace(test=floats().test, validation=data.test)
    with start(tmp_path / "split") as run, pytest.raises(NotFiniteError) as error:
        train(linear_job(), split, run)
    assert error.match("the validation loss became nan after step 5")


def test_a_setup_that_skips_trains_on_where_a_batch_is_bad(tmp_path):
    setup = base(Linears, on_bad_number="skip", epochs=1, batch_size=16)
    data = floats(bad=5)
    with start(tmp_path / "run") as run:
        state, _ = train(setup.job(data), data, run)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    assert [row["last_finite"] for row in rows_of(run.path, "train")].count(0) == 1


def test_batches_of_trees_are_looked_through():
    from optix_tricks.training._causes import cause_in_data

    x = {"a": np.zeros((4, 2), np.float32), "b": np.zeros(4, np.int32)}
    x["a"][2, 1] = np.inf
    data = Dataset("tree", Batch(x, np.zeros(4, np.float32)), Batch(x, np.zeros(4)))
    assert cause_in_data(data, np.array([0, 1, 3])) is None
    found = cause_in_data(data, np.array([3, 2]))
    assert found.said.startswith("the inputs/a of training example 2 hold")


def test_the_command_says_that_it_went_back(capsys):
    from optix_tricks.cli._warnings import plain_warnings

    with plain_warnings():
        for _ in range(2):
            said = "loss became nan at step 7: going on from step 5 with 0.5 of the rate"
            warnings.warn(said, RestoredRun, stacklevel=1)
    assert capsys.readouterr().err == f"warning: {said}\n" * 2

"""The experiments on weight decay, at toy size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.studies import run_study
from optix_tricks.studies._weight_norm import Config
from optix_tricks.studies._weight_norm._config import peaked_schedule
from optix_tricks.studies._weight_norm._invariant import invariant_layers
from optix_tricks.studies._weight_norm._lars import at_equilibrium, lars_job
from optix_tricks.studies._weight_norm._trainings import load_record
from optix_tricks.training import RunDirectory, load_dataset

TOY = Config(
    dataset="digits",
    width=2,
    batch_size=64,
    epochs=1,
    constant_steps=44,
    sweep_width=2,
    sweep_epochs=1,
    seeds=1,
)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def job(digits):
    return TOY.job(digits)


@pytest.fixture(scope="module")
def invariant(job, digits):
    return invariant_layers(job, digits)


def test_all_convolutions_and_nothing_else_are_found_invariant(job, invariant):
    kernels = [name for name in paths(job.params) if name.endswith("conv/kernel")]
    assert len(kernels) == 8
    assert sorted(invariant.names) == sorted(kernels)


def paths(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]


def test_lars_steps_by_the_rate_of_the_equilibrium(digits, job, invariant):
    lars = lars_job(
        TOY, digits, invariant.mask, rate=0.1, seed=0, rule="lars", factor=4.0
    )
    sgd = lars_job(TOY, digits, invariant.mask, rate=0.1, seed=0, rule="sgd", factor=4.0)
    rng = np.random.default_rng(0)
    gradients = jax.tree.map(
        lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), job.params
    )

    def third_step(tx):
        state = tx.init(job.params)
        for _ in range(3):
            updates, state = tx.update(gradients, state, job.params)
        return updates

    peak, steps = 0.4, 22  # of 1437 // 64
    rates = [float(peaked_schedule(peak, steps)(i)) for i in range(3)]
    assert rates[1:] == pytest.approx([0.1, 0.2])  # a fifth of the steps is 4
    decay, momentum = TOY.weight_decay, TOY.momentum
    found = zip(
        paths(job.params),
        *map(jax.tree.leaves, (job.params, gradients, third_step(lars.tx))),
        jax.tree.leaves(third_step(sgd.tx)),
        strict=True,
    )
    for name, w, g, step, plain in found:
        if name not in invariant.names:
            np.testing.assert_array_equal(step, plain)
            continue
        w, g = np.asarray(w, np.float64), np.asarray(g, np.float64)
        v = 0.0
        for rate in rates:
            own = np.sqrt(2 * rate * decay * (1 - momentum))
            v = momentum * v + own * np.linalg.norm(w) / np.linalg.norm(g) * g
        np.testing.assert_allclose(step, -v, rtol=1e-4, atol=1e-8)
        assert not np.allclose(plain, step, rtol=1e-2, atol=0)


def test_scaled_to_equilibrium_growth_and_decay_are_equal(digits, job, invariant):
    params = at_equilibrium(TOY, digits, job, invariant.mask)
    images = jnp.asarray(digits.train.inputs[: TOY.batch_size])
    labels = jnp.asarray(digits.train.targets[: TOY.batch_size])

    def loss(params):
        logits, _ = job.apply(params, job.batch_stats, images, train=True)
        return jnp.mean(job.loss(logits, labels))

    whole = TOY.learning_rate / (1 - TOY.momentum)
    gradients = jax.jit(jax.grad(loss))(params)
    trees = (params, gradients, job.params)
    for name, w, g, before in zip(
        paths(params), *map(jax.tree.leaves, trees), strict=True
    ):
        if name not in invariant.names:
            np.testing.assert_array_equal(w, before)
            continue
        grown = whole**2 * np.sum(np.square(g, dtype=np.float64))
        shrunk = 2 * whole * TOY.weight_decay * np.sum(np.square(w, dtype=np.float64))
        assert grown == pytest.approx(shrunk, rel=0.02)  # BatchNorm's ε
        turned = np.vdot(w, before) / (np.linalg.norm(w) * np.linalg.norm(before))
        assert turned == pytest.approx(1, abs=1e-5)


def test_a_part_is_written_once_and_drawn_again(tmp_path, digits):
    calls = []

    def study():
        with RunDirectory(tmp_path) as run:
            return run_study(
                TOY,
                digits,
                run,
                parts=["constant"],
                on_step=lambda *call: calls.append(call),
            )

    found = study()["constant"]
    assert calls == [("constant", i, 44) for i in range(44)]
    record = load_record(tmp_path / "constant.npz")
    rows = {row["layer"]: row for row in found["constant"]["layers"]}
    assert set(rows) == set(record.layers)
    assert sum(row["scale_invariant"] for row in rows.values()) == 8
    assert not rows["head/kernel"]["scale_invariant"]
    half = slice(22, 44)
    for i, name in enumerate(record.layers):  # the table is that of the record
        squares = record.gradient_square[half, i], record.square_norm[half, i]
        wanted = TOY.constant_rate * np.sqrt(np.mean(squares[0]) / np.mean(squares[1]))
        assert rows[name]["measured"] == pytest.approx(wanted, rel=1e-4)
        # one step after the other: what change says is what the norms did
        moved = np.diff(record.square_norm[:, i])
        np.testing.assert_allclose(
            moved, record.change[:-1, i], atol=2e-5 * record.square_norm[0, i]
        )
        if rows[name]["scale_invariant"]:
            assert np.abs(record.weight_cosine[:, i]).max() < 1e-3
    assert found["relaxation_steps"] == pytest.approx(0.1 / (4 * 0.2 * 5e-4))
    figure = tmp_path / "figures" / "constant.png"
    figure.unlink()
    assert study()["constant"] == found
    assert len(calls) == 44
    assert figure.exists()


def test_gradients_shrink_as_noise_does(tmp_path, digits):
    with RunDirectory(tmp_path) as run:
        found = run_study(TOY, digits, run, parts=["gradients"])["gradients"]
    sizes = np.array(found["batch_sizes"])
    squares, errors = (np.array(found[x]) for x in ("square_norm", "standard_error"))
    assert sizes.tolist() == [32, 64, 128, 256, 512, 1024]
    assert (np.diff(squares) < 0).all()
    law = found["signal"] + found["noise"] / sizes
    assert (np.abs(squares - law) < 4 * errors).all()
    # Twice the batch, half the noise: from 32 to 64 images the signal drops out.
    assert squares[0] - squares[1] == pytest.approx(
        found["noise"] / 64, abs=4 * np.hypot(errors[0], errors[1])
    )


def test_an_unknown_part_is_refused(tmp_path, digits):
    with (
        RunDirectory(tmp_path) as run,
        pytest.raises(ValueError, match=r"schedules, constant, .*got 'plots'"),
    ):
        run_study(TOY, digits, run, parts=["plots"])


@pytest.mark.slow
def test_the_whole_study_runs_and_goes_on(tmp_path, digits):
    config = dataclasses.replace(TOY, batch_size=128, constant_steps=22)
    with RunDirectory(tmp_path) as run:
        found = run_study(config, digits, run)
    assert list(found) == [
        *("schedules", "constant", "gradients", "lars", "batch", "rates"),
    ]
    assert [len(table) for table in found["rates"]["networks"].values()] == [7] * 4
    lines = (tmp_path / "trainings.jsonl").read_text().splitlines()
    assert len(lines) == 4 + 6 - 2 + 4 * 7  # two of lars serve batch too
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {
        f"{name}.png" for name in ("sgd", "momentum", "constant", "rates", "rates_smooth")
    }

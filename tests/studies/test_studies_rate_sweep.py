"""Sweeps over rates: the trainings they stand for, and what survives a stop."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.studies import _rate_sweep as rate_sweep
from optix_tricks.studies import sweep_learning_rates
from optix_tricks.training import Job, RunDirectory, RunError, load_digits, train

IMAGES = load_digits()


def build(rate, seed):
    """A linear classifier, two epochs of two steps."""
    model = nnx.Linear(64, 10, rngs=nnx.Rngs(seed))
    graph, params = nnx.split(model, nnx.Param)

    def apply(params, batch_stats, images, *, train, key=None):
        module = nnx.merge(graph, params, copy=True)
        pixels = images.reshape(len(images), 64).astype(jnp.float32)
        return module(pixels / 255), batch_stats

    return Job(
        apply=apply,
        params=nnx.to_pure_dict(params),
        batch_stats={},
        loss=cross_entropy,
        tx=ot.sgd(lambda count: rate / (1 + count)),
        augment=None,
        epochs=2,
        batch_size=512,
        seed=seed,
        test_loss=cross_entropy,
    )


def test_a_sweep_is_trainings_kept_line_by_line(tmp_path):
    path, told = tmp_path / "sweep.jsonl", []
    sweep = sweep_learning_rates(
        build,
        IMAGES,
        rates=[0.03, 0.3],
        seeds=[0, 5],
        path=path,
        on_epoch=lambda *progress: told.append(progress),
    )
    assert sweep.accuracy.shape == sweep.loss.shape == (2, 2)
    assert told == [(i, 8) for i in range(1, 9)]
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as directory:
        _, want = train(build(0.3, 5), IMAGES, directory)
    assert sweep.loss[1, 1] == pytest.approx(want.test.loss, rel=1e-3)
    assert sweep.accuracy[1, 1] == pytest.approx(want.test.metrics["accuracy"], abs=0.005)

    # Stopped in the middle of a line: that training and the new one are run.
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:10])
    told.clear()
    again = sweep_learning_rates(
        build,
        IMAGES,
        rates=[0.3, float("inf")],
        seeds=[5, 0],
        path=path,
        on_epoch=lambda *progress: told.append(progress),
    )
    assert told[0] == (3, 8)  # one of four trainings was there
    assert again.accuracy[0, 1] == sweep.accuracy[1, 0]
    assert again.loss[0, 0] == pytest.approx(sweep.loss[1, 1], rel=1e-5)
    assert np.isnan(again.accuracy[1]).all()  # diverged
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 6
    assert rows[-1]["test_accuracy"] is None
    assert all(0 < row["seconds"] < 600 for row in rows)
    told.clear()
    sweep_learning_rates(  # one training that is missing, of its own line
        build,
        IMAGES,
        rates=[0.03],
        seeds=[7],
        path=path,
        on_epoch=lambda *progress: told.append(progress),
    )
    assert told == [(1, 2), (2, 2)]


def test_names_share_a_file_and_what_is_there_is_not_trained_again(tmp_path):
    path = tmp_path / "sweep.jsonl"
    row = {"rate": 0.1, "seed": 0, "test_loss": 1.0, "seconds": 1.0}
    rows = [
        row | {"name": name, "test_accuracy": x} for name, x in (("a", 0.5), ("b", 1))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def never(rate, seed):
        raise AssertionError

    options = {"rates": [0.1], "seeds": [0], "path": path}
    sweep = sweep_learning_rates(never, IMAGES, name="a", **options)
    assert sweep.accuracy == 0.5
    assert sweep_learning_rates(never, IMAGES, name="b", **options).accuracy == 1


def test_a_line_that_is_no_result_is_named_and_a_cut_one_taken_away(tmp_path):
    path = tmp_path / "trainings.jsonl"
    good = json.dumps({"name": "a", "rate": 1.0, "seed": 0, "test_accuracy": 0.5})
    path.write_text(f'{good}\n{{"name": "a", "ra')
    assert len(rate_sweep._complete_rows(path)) == 1
    assert path.read_text() == f"{good}\n"
    path.write_text(f'{good}\n{{"name": "a"}}\n')
    with pytest.raises(RunError, match=r"line 2 of .* is not a training's result"):
        rate_sweep._complete_rows(path)

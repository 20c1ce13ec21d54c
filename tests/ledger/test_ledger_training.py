"""One training of the ledger is what `train` gives; a small ledger, measured for real."""

import dataclasses
import math

import numpy as np
import pytest

from optix_tricks import tricks
from optix_tricks.ledger import (
    _trainings,
    added,
    best_point,
    grid,
    measure_costs,
    measure_effects,
    measure_grid,
    read_rows,
    step_cost,
    tuned,
    write_summary,
)
from optix_tricks.ledger._arm import digest_of
from optix_tricks.ledger._grid import Axis, axis
from optix_tricks.ledger._rows import Rows
from optix_tricks.ledger._together import can_train_together, train_together
from optix_tricks.ledger._training import train_once
from optix_tricks.ledger._trainings import Trainings
from optix_tricks.recipes import new_run
from optix_tricks.reports import ReportError, write_ledger
from optix_tricks.training import (
    Batch,
    RunDirectory,
    load_dataset,
    split_validation,
    train,
)


@pytest.fixture(scope="module")
def dataset():
    whole = load_dataset("digits")
    inputs, targets = whole.train[:2]
    return whole._replace(train=Batch(inputs[:256], targets[:256]))


@pytest.fixture(scope="module")
def base():
    run = new_run("digits")
    setup = tricks.Setup(epochs=2, batch_size=64).take(
        tricks.mlp(width=16), tricks.momentum(0.1), tricks.ema(0.9)
    )
    return dataclasses.replace(run, setup=setup)


def test_it_is_what_train_gives(base, dataset, tmp_path):
    kept = train_once(base.plan(dataset), dataset, 3, tmp_path / "scratch")
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        _, result = train(base.plan(dataset).job(3), dataset, run)
    assert kept["test_loss"] == result.test.loss
    assert kept["test_accuracy"] == result.test.metrics["accuracy"]
    assert [row[0] for row in kept["epochs"]] == [4, 8]
    assert kept["epochs"][-1][1] == result.test.loss
    assert not kept["diverged"]
    assert not (tmp_path / "scratch").exists()


def test_seeds_trained_together_come_to_what_each_comes_to_alone(base, dataset, tmp_path):
    held_out = split_validation(dataset, 0.25, seed=0)
    plan = dataclasses.replace(base, validation=0.25).plan(held_out)
    assert can_train_together(plan, 3)
    together = train_together(plan, held_out, [3, 4])
    for seed, kept in zip((3, 4), together, strict=True):
        alone = train_once(plan, held_out, seed, tmp_path / "scratch")
        assert kept.keys() == alone.keys()
        for name in alone.keys() - {"seconds", "epochs"}:
            assert kept[name] == pytest.approx(alone[name], rel=1e-5), name
        np.testing.assert_allclose(kept["epochs"], alone["epochs"], rtol=1e-5)


def test_what_changes_between_epochs_is_trained_alone(
    base, dataset, monkeypatch, tmp_path
):
    """And one that diverges is kept as such."""
    held_out = split_validation(dataset, 0.25, seed=0)
    stops = dataclasses.replace(base, setup=base.setup.take(tricks.early_stopping))
    wild = dataclasses.replace(base, setup=base.setup.take(tricks.momentum(1e30)))
    calls = []

    def one_alone(plan, data, seed, scratch):
        calls.append(("alone", seed))
        return {"test_loss": 1.0, "diverged": False, "epochs": []}

    monkeypatch.setattr(_trainings, "train_once", one_alone)
    with Rows.below(tmp_path) as rows:
        turns = Trainings(rows, held_out, tmp_path, first=0, most=2, members="together")
        turns.clock(math.inf, lambda turn: calls.append((turn.name, turn.left)))
        turns.run(2, [("stops", stops), ("wild", wild)])
        kept = [rows.find("run", digest_of(wild), seed) for seed in (0, 1)]
    assert calls == [("stops", 3), ("alone", 0), ("stops", 2), ("alone", 1), ("wild", 0)]
    assert [(row["diverged"], row["test_loss"]) for row in kept] == [(True, None)] * 2


def test_one_that_diverges_is_kept_as_such(base, dataset, tmp_path):
    run = dataclasses.replace(base, setup=base.setup.take(tricks.momentum(1e30)))
    kept = train_once(run.plan(dataset), dataset, 0, tmp_path / "scratch")
    assert kept["diverged"]
    assert np.isnan(kept["test_loss"])
    assert "at step" in kept["why"]


def test_a_small_ledger_from_trainings_to_page(base, dataset, tmp_path):
    arms = added(base, [tricks.label_smoothing(0.4), tricks.momentum(1e-6)])
    how = {"seeds": 3, "resolution": 0.005}
    measure_effects(base, arms, dataset, path=tmp_path, **how)
    measure_costs(base, arms, dataset, path=tmp_path)
    table = measure_effects(base, arms, dataset, path=tmp_path, budget=0.0, **how)
    smoothed, frozen = table
    assert smoothed.loss.mean > 0
    assert frozen.verdict == "hurts"
    assert frozen.steps is None
    assert smoothed.cost is not None
    assert smoothed.cost.memory[0] == pytest.approx(smoothed.cost.memory[1], rel=0.2)
    summary = write_summary(
        tmp_path, base, table, dataset, refused={"+<b>": "why & how"}, **how
    )
    assert summary["rows"][1]["accuracy"]["mean_at_look"] == frozen.accuracy.mean
    page = write_ledger(tmp_path).read_text()
    assert "+label_smoothing" in page
    assert "+&lt;b&gt;" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count('class="row"') == 2
    assert (tmp_path / "figures" / "effects.png").stat().st_size > 5000


def test_no_ledger_is_one_sentence(tmp_path):
    with pytest.raises(ReportError, match="is no ledger"):
        write_ledger(tmp_path)
    (tmp_path / "ledger.json").write_text('{"rows": 3}')
    with pytest.raises(ReportError, match="is no ledger"):
        write_ledger(tmp_path)


def test_two_gradients_a_step_cost_more_than_one(base, dataset):
    wide = dataclasses.replace(base, setup=base.setup.change(width=1024))
    of_places = tricks.alternating_flip  # of which a step is told
    setup = wide.setup.take(tricks.sam(0.05), of_places)
    twice = dataclasses.replace(wide, setup=setup)
    cost = step_cost(twice.job(dataset), wide.job(dataset), dataset, rounds=6)
    assert cost.step_ratio > 1.05
    assert cost.turned().step_ratio == pytest.approx(1 / cost.step_ratio)
    assert cost.turned().memory == cost.memory[::-1]
    assert min(cost.compile_seconds) > 0


def test_axes_are_lists_or_ranges():
    assert axis("x", "1e-4,5e-4") == Axis("x", (1e-4, 5e-4))
    assert axis("x", "0:1:linear:3") == Axis("x", (0.0, 0.5, 1))
    found = axis("x", "0.01:1:log:5").values
    assert np.log10(found) == pytest.approx([-2, -1.5, -1, -0.5, 0], abs=1e-5)
    assert axis("width", "8,16").values == (8, 16)
    for text in ("1", "a,b", "1:2", "1:2:cube:3", "0:1:log:3", "1:2:log:x", "nan,1"):
        with pytest.raises(ValueError, match=r"x must be values, .* got"):
            axis("x", text)


def test_the_best_of_a_grid_is_told_with_its_share():
    x = np.array([[0.5, 0.6, 0.5], [0.9, 0.8, 0.9], [0.95, np.nan, 0.95]])
    best = best_point(x, highest=True)
    assert best.point == 1
    assert best.share.tolist() == [0.0, 1.0, 0.0]
    rng = np.random.default_rng(0)
    same = best_point(rng.normal(size=(2, 200)), highest=False)
    assert sum(same.share) == 1.0
    assert 0.005 < same.share[0] < 0.995


def test_a_grid_finds_the_rate_that_trains_and_tuning_takes_it(base, dataset, tmp_path):
    slow = dataclasses.replace(base, setup=base.setup.take(tricks.momentum(0.003)))
    sizes = Axis("batch_size", (64, 128))
    points = grid(slow, [Axis("learning_rate", (1e-6, 0.1)), sizes])
    assert [p.values for p in points] == [(1e-6, 64), (1e-6, 128), (0.1, 64), (0.1, 128)]
    assert points[2].name == "learning_rate=0.1 batch_size=64"
    found = measure_grid(points, dataset, path=tmp_path, seeds=2)
    assert found["test_accuracy"].shape == (4, 2)
    assert best_point(found["test_accuracy"], highest=True).point in (2, 3)
    arms = added(slow, [tricks.label_smoothing(0.1)])
    new, (arm,) = tuned(slow, arms, dataset, path=tmp_path, values=3)
    own, other = (run.number("learning_rate") for run in (new, arm.run))
    rates = [0.003 * 2.0**k for k in (-1, 0, 1)]
    tried = [
        row for row in read_rows(tmp_path / "ledger.jsonl") if row.get("seed") == 1000
    ]
    accuracies = [row["validation_accuracy"] for row in tried]
    assert own == rates[np.argmax(accuracies[:3])]
    assert other == rates[np.argmax(accuracies[3:])]
    assert {each.name for each in arm.run.setup.tricks} >= {"label_smoothing", "ema"}
    (row,) = measure_effects(new, [arm], dataset, path=tmp_path, seeds=2)
    assert row.tuned == ("learning_rate", other, own)
    assert row.seeds == 2
    with pytest.raises(ValueError, match="values must be odd"):
        tuned(slow, arms, dataset, path=tmp_path, values=4)

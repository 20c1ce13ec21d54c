"""Recorded trainings: what is asked for, what is written, and what a table is made of."""

import numpy as np
import pytest

from optix_tricks.studies import run_study
from optix_tricks.studies._weight_norm import _trainings as trainings
from optix_tricks.studies._weight_norm._trainings import load_record, only
from optix_tricks.training import RunDirectory
from tests.studies.toy_study import TOY


def test_schedules_are_read_off_where_the_rate_is_slow(monkeypatch, digits, tmp_path):
    asked, told = [], []

    def recorded(config, dataset, path, *, on_step, **options):
        asked.append(options | {"path": path.name})
        on_step(3)
        return {}

    monkeypatch.setattr(trainings, "_recorded", recorded)
    config = TOY.__class__(**TOY.__dict__ | {"epochs": 6})  # of 22 steps
    trainings.run_schedules(config, digits, tmp_path, lambda *at: told.append(at))
    sgd, momentum = asked
    assert told == [(3, 264), (135, 264)]
    assert (sgd["path"], momentum["path"]) == ("sgd.npz", "momentum.npz")
    assert (sgd["momentum"], momentum["momentum"]) == (0, 0.9)
    for options, peak in ((sgd, 1.0), (momentum, 0.1)):
        assert options["steps"] == 132
        assert options["stretch"] == (44, 119)  # two epochs, nine tenths
        assert float(options["learning_rate"](26)) == pytest.approx(peak)
    asked.clear()
    short = TOY.__class__(**TOY.__dict__ | {"epochs": 1})
    trainings.run_schedules(short, digits, tmp_path, lambda *at: None)
    assert asked[0]["stretch"] == (11, 20)  # the second half
    asked.clear()
    told.clear()
    found = trainings.run_constant(TOY, digits, tmp_path, lambda *at: told.append(at))
    assert asked[0]["stretch"] == (22, 44)
    assert told == [(3, 44)]
    assert found["relaxation_steps"] == pytest.approx(0.1 / (4 * 0.2 * 5e-4))


def record(samples=40):
    rng = np.random.default_rng(0)
    values = {
        name: rng.uniform(0.5, 2, (samples, 3))
        for name in trainings.WeightNormRecord._fields
    }
    return trainings.WeightNormRecord(**values)._replace(
        layers=np.array(["a", "b", "c"]),
        step=np.arange(samples),
        learning_rate=np.full(samples, 0.1),
        weight_decay=np.array(5e-4),
        momentum=np.array(0.9),
        decay=np.array(0.9),
    )


def test_a_table_is_of_its_stretch_of_steps_alone():
    given = record()
    rows = trainings._compared(given, ("b",), (10, 30))
    assert [row["layer"] for row in rows] == ["a", "b", "c"]
    assert [row["scale_invariant"] for row in rows] == [False, True, False]
    part = slice(10, 30)
    for i, row in enumerate(rows):
        cosines = given.weight_cosine[part, i], given.trace_cosine[part, i]
        assert row["weight_cosine"] == pytest.approx(np.abs(cosines[0]).mean())
        assert row["trace_cosine"] == pytest.approx(cosines[1].mean())
        squares = given.gradient_square[part, i], given.square_norm[part, i]
        measured = 0.1 * np.sqrt(squares[0].mean() / squares[1].mean())
        assert row["measured"] == pytest.approx(measured)


def test_a_record_of_some_layers_keeps_its_steps():
    given = record()
    taken = only(given, ["c", "a"])
    assert taken.layers.tolist() == ["c", "a"]
    np.testing.assert_array_equal(taken.rotation, given.rotation[:, [2, 0]])
    np.testing.assert_array_equal(taken.step, given.step)


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

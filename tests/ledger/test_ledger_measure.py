"""Which trainings are done, in which order, until when; the trainings are made up."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from optix_tricks import tricks
from optix_tricks.ledger import (
    _trainings,
    added,
    choose,
    digest_of,
    measure_effects,
    removed,
)
from optix_tricks.ledger._table import corrected
from optix_tricks.recipes import new_run
from optix_tricks.training import load_dataset

GAINS = {"flip": 0.04, "mixup": -0.03, "cutout": 0.0, "label_smoothing": 0.02}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("digits")


@pytest.fixture
def base():
    run = new_run("digits")
    return dataclasses.replace(run, setup=run.setup.without("warm_up"))


@pytest.fixture
def trained(monkeypatch):
    """Trainings that cost nothing: a gain for each trick, on what the seed gives."""
    done = []

    def train_once(plan, dataset, seed, scratch):
        names = [each.name for each in plan.setup.tricks]
        done.append((seed, [name for name in names if name in GAINS]))
        luck = np.random.default_rng(seed).normal(0, 0.1)
        own = np.random.default_rng([seed, len(done)]).normal(0, 0.005)
        accuracy = 0.5 + luck + own + sum(GAINS.get(name, 0.0) for name in names)
        diverged = "clip_value" in names and seed % 4 == 3
        numbers = {"test_loss": 1 - accuracy, "test_accuracy": accuracy}
        if diverged:
            numbers = {"test_loss": float("nan")}
        epochs = [[10, 1.0, accuracy - 0.1], [20, 1.0, accuracy]]
        return {**numbers, "diverged": diverged, "epochs": epochs, "seconds": 0.0}

    monkeypatch.setattr(_trainings, "train_once", train_once)
    return done


def _by_name(table):
    return {row.name: row for row in table}


def test_effects_are_with_less_without_whichever_side_is_the_base(
    base, dataset, trained, tmp_path
):
    arms = added(base, [tricks.flip, tricks.mixup]) + removed(base, ["label_smoothing"])
    table = _by_name(measure_effects(base, arms, dataset, path=tmp_path, seeds=5))
    assert table["+flip"].accuracy.mean == pytest.approx(0.04, abs=0.01)
    assert table["+mixup"].accuracy.mean == pytest.approx(-0.03, abs=0.01)
    assert table["-label_smoothing"].accuracy.mean == pytest.approx(0.02, abs=0.01)
    assert table["+flip"].loss.mean == pytest.approx(-table["+flip"].accuracy.mean)
    assert table["+flip"].verdict == "helps"
    assert table["+mixup"].verdict == "hurts"
    assert table["-label_smoothing"].verdict == "helps"
    assert len(trained) == 4 * 5
    assert max(corrected([*table.values()])) < 0.05


def test_seeds_go_where_it_is_undecided(base, dataset, trained, tmp_path):
    arms = added(base, [tricks.flip, tricks.cutout(2)])
    how = {"path": tmp_path, "seeds": 20, "resolution": 0.0}
    table = _by_name(measure_effects(base, arms, dataset, **how))
    assert (table["+flip"].seeds, table["+flip"].verdict) == (5, "helps")
    assert (table["+cutout"].seeds, table["+cutout"].verdict) == (20, "undecided")
    assert len(trained) == 20 + 5 + 20
    how |= {"path": tmp_path / "other", "resolution": 0.02}
    table = _by_name(measure_effects(base, arms, dataset, **how))
    assert (table["+cutout"].seeds, table["+cutout"].verdict) == (5, "small")


def test_nothing_is_trained_twice(base, dataset, trained, tmp_path):
    arms = added(base, [tricks.flip])
    first = measure_effects(base, arms, dataset, path=tmp_path, seeds=3)
    again = measure_effects(base, arms, dataset, path=tmp_path, seeds=3)
    assert again == first
    assert len(trained) == 6
    arms += added(base, [tricks.mixup])
    more = measure_effects(base, arms, dataset, path=tmp_path, seeds=4)
    assert [row.seeds for row in more] == [4, 4]
    assert len(trained) == 6 + 2 + 4


def test_the_budget_leaves_out_what_it_has_no_time_for(
    base, dataset, trained, tmp_path, monkeypatch
):
    clock = iter(range(100))
    ticking = SimpleNamespace(monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(_trainings, "time", ticking)
    arms = added(base, [tricks.flip, tricks.mixup, tricks.cutout(2)])
    turns = []
    how = {"path": tmp_path, "seeds": 3, "on_run": turns.append}
    table = measure_effects(base, arms, dataset, budget=7.5, **how)
    assert [row.seeds for row in table] == [3, 1, 0]
    assert [row.verdict for row in table] == ["helps", "undecided", "not measured"]
    assert [turn.name for turn in turns] == ["base"] * 3 + ["+flip"] * 3 + ["+mixup"]
    assert [turn.done + 1 + turn.left for turn in turns] == [12] * 7
    assert turns[3].seconds == pytest.approx(9 * 4 / 3)
    table = measure_effects(base, arms, dataset, **how)
    assert [row.seeds for row in table] == [3, 3, 3]


def test_a_trick_that_diverges_once_is_said_to(base, dataset, trained, tmp_path):
    arms = added(base, [tricks.clip_value(1.0)])
    (row,) = measure_effects(base, arms, dataset, path=tmp_path, seeds=5)
    assert (row.verdict, row.diverged, row.is_settled) == ("diverges", (1, 0), True)
    (turned,) = measure_effects(
        arms[0].run,
        removed(arms[0].run, ["clip_value"]),
        dataset,
        path=tmp_path,
        seeds=5,
    )
    assert (turned.verdict, turned.diverged) == ("diverges", (1, 0))
    assert len(trained) == 10


def test_steps_to_the_accuracy_of_the_other_side(base, dataset, trained, tmp_path):
    (row,) = measure_effects(
        base, added(base, [tricks.flip]), dataset, path=tmp_path, seeds=2
    )
    assert row.reached == 2
    gains = [a - b for _, _, _, a, b in row.values]
    expected = np.mean([(10 + 10 * (0.1 - gain) / 0.1) / 20 for gain in gains])
    assert row.steps == pytest.approx(expected)


def test_the_first_seed_is_the_base_s(base, dataset, trained, tmp_path):
    arms = added(base, [tricks.flip])
    elsewhere = dataclasses.replace(base, seed=7)
    (row,) = measure_effects(elsewhere, arms, dataset, path=tmp_path, seeds=2)
    assert [pair[0] for pair in row.values] == [7, 8]


def test_a_digest_is_of_what_is_trained(base):
    same = dataclasses.replace(base, seed=3, data_dir="/elsewhere")
    assert digest_of(same) == digest_of(base)
    other = dataclasses.replace(base, setup=base.setup.change(epochs=3))
    split = dataclasses.replace(base, validation=0.1)
    assert len({digest_of(x) for x in (base, other, split)}) == 3


def test_a_file_of_one_s_own_counts_with_its_text(tmp_path):
    file = tmp_path / "mine.py"
    text = (
        "from optix_tricks import tricks\n"
        "def setup():\n"
        "    return tricks.Setup().take(tricks.mlp, tricks.sgd)\n"
    )
    file.write_text(text)
    before = digest_of(new_run(str(file)))
    file.write_text(text + "# another\n")
    assert digest_of(new_run(str(file))) != before


def test_choices(base, dataset):
    arms, refused = choose(base, dataset)
    assert [arm.name for arm in arms] == [
        "-linear",
        "-l2",
        "-no_bias_decay",
        "-label_smoothing",
        "-crop",
    ]
    assert not refused
    arms, _ = choose(base, dataset, ["mixup=0.4", "crop", "crop=2"])
    assert [arm.name for arm in arms] == ["+mixup", "+crop", "-crop"]
    assert dict(arms[0].trick.numbers)["alpha"] == 0.4
    arms, _ = choose(base, dataset, ["mixup", "crop"], add=True)
    assert [arm.name for arm in arms] == ["+mixup"]
    arms, _ = choose(base, dataset, ["mixup", "crop"], remove=True)
    assert [arm.name for arm in arms] == ["-crop"]
    with pytest.raises(ValueError, match="there is no trick 'mixupp'"):
        choose(base, dataset, ["mixupp"])
    with pytest.raises(ValueError, match="no training without nesterov"):
        choose(base, dataset, ["nesterov"])


@pytest.mark.slow
def test_all_that_can_be_added(base, dataset):
    arms, refused = choose(base, dataset, add=True)
    names = {arm.name for arm in arms}
    assert {"+mixup", "+adam", "+sam", "+cutout"} <= names
    assert "+pretrained" in refused
    assert len(names) > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "seeds must be"),
        ({"resolution": -1.0}, "resolution must be"),
        ({"budget": -1.0}, "budget must be"),
    ],
)
def test_bad_numbers(base, dataset, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        measure_effects(base, [], dataset, path=tmp_path, **options)

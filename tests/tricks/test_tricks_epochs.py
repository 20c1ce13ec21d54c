"""Tricks between epochs, in whole runs: what is tested, what is seen, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import (
    RunDirectory,
    create_state,
    load_params,
    split_validation,
    train,
)
from optix_tricks.tricks import TRICKS as T
from optix_tricks.tricks import Setup
from tests.tricks.toys import Mlp, base, dataset, evaluated


def noisy():
    """32 and 8 examples, of which some have a wrong label."""
    data, rng = dataset(), np.random.default_rng(3)
    wrong = rng.random(40) < 0.4
    labels = np.where(wrong, rng.integers(0, 3, 40), data.train.targets)
    train = data.train._replace(targets=labels.astype(np.int32))
    return split_validation(data._replace(train=train), 0.2, seed=0)


DATA = noisy()


class Linear(nnx.Module):
    """Compiles at once, and takes images of any size."""

    def __init__(self):
        self.head = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

    def __call__(self, images):
        return self.head(jnp.mean(images, axis=(1, 2)))


def small(*chosen, epochs=6):
    return Setup(Linear(), epochs=epochs, batch_size=8).take(tricks.sgd(2.0), *chosen)


def run_of(setup, path, *, resume=False, data=DATA):
    start = {"recipe": "toy", "config": {}}
    run = RunDirectory.reopen(path)[0] if resume else RunDirectory.start(path, **start)
    with run:
        state, result = train(setup.job(data), data, run, resume=resume)
        return state, result, run.read_metrics()


def losses(rows):
    return [row["loss"] for row in rows if row["kind"] == "validation"]


@pytest.mark.parametrize("average", [[], [T["ema"](0.8)], [T["swa"](0.5)]])
def test_what_is_validated_is_what_is_tested_and_the_best_of_it_is_kept(
    tmp_path, average
):
    """Labels are wrong, and the loss goes up and down; averages go along."""
    setup = small(T["early_stopping"](2, min_delta=0.001), *average)
    state, result, rows = run_of(setup, tmp_path / "run")
    seen = losses(rows)
    best, bad = 0, 0
    for i, loss in enumerate(seen):  # the rule in plain Python
        assert bad < 2
        better = i == 0 or loss < seen[best] - 0.001
        best, bad = (i, 0) if better else (best, bad + 1)
    assert bad == 2
    assert result.epochs == len(seen) < 6
    assert result.best_epoch == best + 1
    assert int(state.step) == 4 * (best + 1)
    assert result.validation.loss == seen[best]
    job = setup.job(DATA)
    # The final test is another program, which hands out each example's loss too.
    assert evaluated(job, state, DATA) == pytest.approx(result.test.loss, rel=1e-6)
    again, repeated, more = run_of(setup, tmp_path / "run", resume=True)
    np.testing.assert_array_equal(
        again.params["head"]["kernel"], state.params["head"]["kernel"]
    )
    assert (repeated.test, losses(more)) == (result.test, seen)


@pytest.mark.parametrize("around", [[], [T["accumulation"]]], ids=len)
def test_a_plateau_counts_epochs_where_there_is_a_split_and_steps_elsewhere(
    tmp_path, around
):
    chosen = T["plateau"](factor=0.5, patience=2, rtol=0.0), *around
    _, _, rows = run_of(small(*chosen), tmp_path / "split")
    (name,) = [name for name in rows[0] if name.endswith("plateau_scale")]
    scale, best, bad, want = 1.0, np.inf, 0, []
    for loss in losses(rows):
        want += [scale] * 4
        best, bad = (loss, 0) if loss < best else (best, bad + 1)
        if bad == 2:
            scale, bad = scale / 2, 0
    found = [row[name] for row in rows if row["kind"] == "train"]
    assert found == want
    assert len(set(want)) > 1
    assert small(*chosen).job(dataset()).observe is None


def test_early_images_are_small_after_all_else_that_is_done_to_them():
    chosen = T["progressive_resizing"](0.25, until=0.8, stages=3), T["crop"](padding=1)
    job = base(Mlp(), epochs=10).take(*chosen).job(dataset())
    seen = []

    def apply(params, batch_stats, images, *, train, key=None):
        seen.append((images.shape, images.dtype))
        return job.apply(params, batch_stats, images, train=train, key=key)

    def augment(key, images):
        assert images.shape == (8, 8, 8, 3)
        return job.augment(key, images)

    watched = job._replace(apply=apply, augment=augment)
    data = jax.tree.map(jnp.asarray, dataset().train).take(jnp.arange(8))
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))
    steps = [watched.step_in(epoch) for epoch in range(10)]
    for step in dict.fromkeys(steps):
        jax.eval_shape(step, state, data)
    # Of 10 epochs eight are of three stages, 2.67 each; 8 pixels, from 2 on by 2.
    assert seen == [((8, side, side, 3), jnp.uint8) for side in (2, 4, 6, 8)]
    stages = [[*dict.fromkeys(steps)].index(step) for step in steps]
    assert stages == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


class Flat(nnx.Module):
    """Wants images of the size for which it was made."""

    def __init__(self):
        self.head = nnx.Linear(192, 3, rngs=nnx.Rngs(0))

    def __call__(self, images):
        return self.head(images.reshape(len(images), -1))


REFUSED = {
    "no split": (
        small(T["early_stopping"]),
        r"early_stopping needs a validation split: give --validation 0\.1",
    ),
    "too short": (
        small(T["progressive_resizing"], epochs=2),
        r"a whole epoch for each of its stages, got 2 stages in 0\.5 of 2 epochs",
    ),
    "start": (small(T["progressive_resizing"](1.5)), r"start must be in \[0, 1\]"),
    "of one size": (
        Setup(Flat(), epochs=8, batch_size=8).take(tricks.sgd, T["progressive_resizing"]),
        r"progressive_resizing needs a network that takes images of 4x4 pixels: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_sentence_before_anything_is_compiled(case):
    setup, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        setup.plan(dataset())


def test_two_ways_to_stop_conflict():
    other = tricks.trick("stop", calls=tricks.early_stopping.calls, name="other",
                         patience=1)(lambda context, call: call())  # fmt: skip
    with pytest.raises(ValueError, match="both are what ends the run before its time"):
        small(tricks.early_stopping, other)


def test_the_checkpoint_of_the_best_epoch_is_the_newest(tmp_path):
    state, _, _ = run_of(small(T["early_stopping"](1)), tmp_path / "run")
    saved = load_params(tmp_path / "run")["params"]["head"]["kernel"]
    np.testing.assert_array_equal(saved, state.params["head"]["kernel"])

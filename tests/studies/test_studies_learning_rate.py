"""`optix-tricks lr-find`: a recipe's range test, its files, and how it ends."""

import dataclasses
import json
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

import optix_tricks as ot
from optix_tricks import tricks
from optix_tricks.cli import main
from optix_tricks.recipes import RECIPES, new_run
from optix_tricks.studies import find_learning_rate
from optix_tricks.training import (
    Batch,
    create_state,
    epoch_order,
    generate,
    load_digits,
    make_train_step,
)
from optix_tricks.tricks._chain import peak_of

NAMES = tuple(RECIPES)


def run(capsys, *argv):
    code = 0
    try:
        main(list(argv))
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return code, out.out, out.err


class Linear(nnx.Module):
    """The smallest network of images."""

    def __init__(self, pixels, dtype, rngs):
        self.head = nnx.Linear(pixels, 10, dtype=dtype, rngs=rngs)

    def __call__(self, images, *, train):
        return self.head(images.reshape(len(images), -1))


def network(context, *, dtype=jnp.float32, rngs):
    return Linear(int(np.prod(context.dataset.image_shape)), dtype, rngs)


def setup():
    """Of a recipe that compiles fast."""
    return tricks.Setup(network, epochs=2, batch_size=512).take(
        tricks.momentum(0.1), tricks.crop(1), tricks.label_smoothing(0.1)
    )


linear = types.ModuleType("linear", "A linear classifier.")
linear.setup, linear.__file__ = setup, __file__


@pytest.fixture(autouse=True)
def recipe(monkeypatch):
    monkeypatch.setitem(RECIPES, "linear", linear)


@pytest.fixture(scope="module")
def images():
    return load_digits()


def test_the_curve_is_that_of_the_recipes_own_steps(images):
    """Its network, loss, augmentation, batches and chain, with the rate put in."""
    own = new_run("linear").at_seed(3)  # two steps an epoch
    seen = []
    study = find_learning_rate(
        own,
        images,
        min_rate=1e-3,
        max_rate=1.0,
        steps=10,
        seeds=2,
        on_step=lambda *at: seen.append(at),
    )
    assert seen == [(seed, step) for seed in range(2) for step in range(10)]

    job = own.at_seed(4).job(images)
    rates = jnp.geomspace(1e-3, 1.0, 10)
    tx = ot.sgd(lambda count: rates[count], momentum=0.9)
    step = jax.jit(make_train_step(job.apply, job.loss, tx, augment=job.augment))
    state = create_state(job.params, job.batch_stats, tx, jax.random.key(4))
    want = []
    for t in range(10):
        index = epoch_order(jax.random.key(4), t // 2, len(images.train.targets), 512)
        index = np.asarray(index[t % 2])
        labels = jnp.asarray(images.train.targets[index])
        batch = Batch(jnp.asarray(images.train.inputs[index]), labels)
        state, metrics = step(state, batch)
        want.append(metrics["loss"])
    np.testing.assert_allclose(study.test.losses[1], want, rtol=1e-4)
    assert want[-1] < want[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_takes_a_rate_in_the_unit_of_its_own(name):
    """At a rate equal to that of its flag, the peak of its own schedule."""
    own = RECIPES[name].setup()
    names = ["whitening/kernel", "whitening/bias", "norm/bias", "head/kernel", "kernel"]
    params = traverse_util.unflatten_dict({n: jnp.ones((2, 2)) for n in names}, sep="/")
    grads = jax.tree.map(lambda w: 0.1 * w, params)
    images = Batch(np.zeros((20_480, 8, 8, 3), np.uint8), np.zeros(20_480, np.int32))
    dataset = generate(8)._replace(train=images)  # 20 steps an epoch
    network = (lambda *_, **options: None, params, {})
    setup = dataclasses.replace(own, network=network, tricks=optimisation(own))
    plan = setup.change(batch_size=1024).plan(dataset)

    def used(step, tx):
        def counted(x):
            is_count = jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 0
            return jnp.asarray(step, x.dtype) if is_count else x

        state = jax.tree.map(counted, tx.init(params))
        seen = ot.report(tx.update(grads, state, params)[1])
        return [x for name, x in seen.items() if name.endswith("learning_rate")]

    rise = dict(own.filled()["warm_up"][0].numbers) if own.filled()["warm_up"] else {}
    epochs = rise.get("epochs") or rise.get("fraction", 0) * own.epochs
    peak = used(int(round(epochs * 20, 9)), plan.functions.tx)
    rate = plan.optimizer(lambda count: jnp.float32(peak_of(own)))
    given = used(0, rate)
    assert len(given) == (4 if name == "cifar10_airbench94_muon" else 1)  # groups
    np.testing.assert_allclose(given, peak, rtol=1e-5)


def optimisation(setup):
    """The tricks of the chain, without those of network and images."""
    slots = {"shape", "warm_up", "unit", "optimizer", "decay_mask"}
    return tuple(each for each in setup.tricks if slots & {*each.slots})


def test_a_loss_scale_leaves_the_curve_as_it_is(images):
    own = new_run("linear")
    half = dataclasses.replace(own, setup=own.setup.take(tricks.float16))
    study = find_learning_rate(half, images, steps=12, seeds=1)
    want = find_learning_rate(own, images, steps=12, seeds=1)
    np.testing.assert_allclose(study.test.losses, want.test.losses, rtol=2e-3)


def test_lr_find_prints_a_table_and_writes_curve_and_figure(capsys, tmp_path):
    code, out, err = run(
        capsys, "lr-find", "linear", "--crop", "2", "--batch-size", "256",
        "--steps", "12", "--seeds", "2", "--min-rate", "1e-3", "--seed", "1",
        "--run-dir", str(tmp_path / "r"),
    )  # fmt: skip
    assert code == 0, err
    assert re.search(r"steepest.*(\d|undecided)", out)
    assert "12 rates from 0.001 to 10, 2 seeds" in out
    written = json.loads((tmp_path / "r" / "range_test.json").read_text())
    assert np.shape(written["losses"]) == np.shape(written["smoothed"]) == (2, 12)
    np.testing.assert_allclose(written["rates"], np.geomspace(1e-3, 10, 12), rtol=1e-5)
    assert set(written["suggestions"]) == {"steepest", "minimum_tenth", "valley"}
    assert (tmp_path / "r" / "figures" / "range_test.png").stat().st_size > 10_000
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["recipe"] == "linear"
    assert dict(config["config"]["tricks"])["crop"]["padding"] == 2


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "lr-find needs a recipe: one of digits, "),
        (["digit"], 2, r"unknown recipe 'digit'.*Did you mean 'digits'\?"),
        (["linear", "--paddign", "3"], 2, "paddign.*Did you mean 'padding'"),
        (["linear", "--padding", "-1"], 2, "padding must be at least 0, got -1"),
        (["linear", "--min-rate", "0"], 2, "min_rate must be positive, got 0.0"),
        (["linear", "--min-rate", "20"], 2, "max_rate must be finite and above min_rate"),
        (["linear", "--steps", "3"], 2, "steps must be at least 10, got 3"),
        (["linear", "--seeds", "0"], 2, "seeds must be at least 1, got 0"),
        (["linear", "--dataset", "no.npz"], 1, "no.npz cannot be read"),
    ],
)
def test_bad_input_is_one_clear_error(capsys, tmp_path, monkeypatch, argv, code, message):
    monkeypatch.chdir(tmp_path)
    got, _, err = run(capsys, "lr-find", *argv)
    assert got == code
    assert re.search(message, " ".join(err.split()))
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_help_names_the_fields_of_the_range_and_of_the_recipe(capsys):
    code, out, _ = run(capsys, "lr-find", "digits", "--help")
    assert code == 0
    for flag in ("--min-rate", "--max-rate", "--steps", "--seeds", ".width", "--seed"):
        assert flag in out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_range_test(name):
    images = generate(16)
    run = new_run(name)
    numbers = {"width": 2, "size": 16, "batch_size": 64}
    known = {n for trick in run.setup.tricks for n, _ in trick.numbers} | {"batch_size"}
    setup = run.setup.change(**{n: x for n, x in numbers.items() if n in known})
    run = dataclasses.replace(run, setup=setup)
    test, _ = find_learning_rate(run, images, steps=30, seeds=1)
    counted = np.asarray(test.losses[0, : int(test.stop[0])])
    assert np.isfinite(counted).all()
    assert np.min(counted) < counted[0]

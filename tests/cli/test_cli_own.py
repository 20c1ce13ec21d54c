"""`optix-tricks train ./mine.py`: tricks by flags, resume, the user's mistakes."""

import json
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.recipes import find_recipe
from optix_tricks.recipes._restoring import restore
from optix_tricks.runs._restored import restore_run
from optix_tricks.training import (
    create_state,
    epoch_order,
    load_params,
    split_validation,
)
from tests.cli.command import run

MINE = textwrap.dedent(
    """\
    from flax import nnx
    import numpy as np
    from optix_tricks import tricks
    from optix_tricks.augment import random_flip
    from optix_tricks.training import Batch, Dataset
    from optix_tricks.tricks import Setup, trick

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
            self.a = nnx.Linear(4, 8, rngs=rngs)
            self.b = nnx.Linear(8, 2, rngs=rngs)
        def __call__(self, x):
            return self.b(nnx.relu(self.norm(self.a(x))))

    def setup():
        return Setup(lambda context, *, rngs: Net(rngs), epochs=2, batch_size=20).take(
            tricks.adamw(0.01), tricks.cosine)

    def data():
        x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
        y = (x[:, 0] > 0).astype(np.int32)
        train, test = Batch(x[:80], y[:80]), Batch(x[80:], y[80:])
        return Dataset("signs", train, test, ("no", "yes"))

    @trick("augment", calls=random_flip, place="flip", needs=["images"])
    def mirror(context, call):
        return call

    TRICKS = [mirror]
    """
)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_a_file_is_trained_resumed_and_says_what_it_was(mine, capsys):
    flags = ["--with", "ema=0.9", "--with", "group_norm=2", "--without", "cosine"]
    flags += ["--adamw.b2", "0.99", "--learning-rate", "0.02", "--seed", "3"]
    code, out, err = run(capsys, "train", "./mine.py", *flags, "--run-dir", "r")
    assert (code, err) == (0, "")
    assert "80 training and 40 test examples, 2 classes" in out
    config = json.loads((mine.parent / "r" / "config.json").read_text())
    tricks = dict(config["config"]["tricks"])
    assert tricks.keys() == {"adamw", "ema", "group_norm"}
    assert (tricks["adamw"]["b2"], tricks["adamw"]["learning_rate"]) == (0.99, 0.02)
    assert (tricks["ema"]["decay"], tricks["group_norm"]["num_groups"]) == (0.9, 2)
    assert config["config"]["seed"] == 3
    before = json.loads((mine.parent / "r" / "result.json").read_text())
    assert before["test_accuracy"] > 0.5

    code, _, _ = run(capsys, "train", "--resume", "r")
    assert code == 0
    assert json.loads((mine.parent / "r" / "result.json").read_text()) == before
    mine.write_text(MINE.replace("size=(120, 4)", "size=(120, 4) "))
    code, _, err = run(capsys, "train", "--resume", "r")
    assert code == 1
    assert "mine.py has changed since the run began, first in line 21" in err
    code, _, _ = run(capsys, "train", "--resume", "r", "--accept-changed-file")
    assert code == 0

    job = restore_run("r").job  # of the run's copy, whatever became of the file
    assert job.epochs == 2


def test_a_share_of_the_training_examples_is_set_aside_and_a_run_stops_by_it(
    mine, capsys
):
    flags = ["--validation", "0.25", "--with", "early_stopping=1", "--epochs", "4"]
    code, out, err = run(capsys, "train", "./mine.py", *flags, "--run-dir", "r")
    assert (code, err) == (0, "")
    assert "60 training, 20 validation and 40 test examples" in out
    assert "validation loss" in out
    config = json.loads((mine.parent / "r" / "config.json").read_text())
    assert config["config"]["validation"] == 0.25
    before = json.loads((mine.parent / "r" / "result.json").read_text())
    assert before["validation_size"] == 20
    code, _, _ = run(capsys, "train", "--resume", "r")
    assert code == 0
    after = json.loads((mine.parent / "r" / "result.json").read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}
    own, split = find_recipe("./mine.py"), restore_run("r").dataset
    want = split_validation(own.data(), 0.25, seed=0)
    np.testing.assert_array_equal(split.train.inputs, want.train.inputs)


@pytest.mark.further
def test_a_run_learns_from_the_network_of_an_earlier_one(mine, capsys):
    assert run(capsys, "train", "./mine.py", "--run-dir", "t")[0] == 0
    saved, network = load_params("t"), restore("t").module
    for kind, name in ((nnx.Param, "params"), (nnx.BatchStat, "batch_stats")):
        own = nnx.to_pure_dict(nnx.state(network, kind))
        jax.tree.map(np.testing.assert_array_equal, own, saved[name])
    flags = ["--with", "hints=t", "--hints.layer", "a", "--hints.teacher-layer", "a"]
    code, _, err = run(capsys, "train", "./mine.py", *flags, "--run-dir", "r")
    assert (code, err) == (0, "")
    before = json.loads((mine.parent / "r" / "result.json").read_text())
    assert run(capsys, "train", "--resume", "r")[0] == 0
    after = json.loads((mine.parent / "r" / "result.json").read_text())
    assert after["test_loss"] == before["test_loss"]
    code, _, err = run(
        capsys, "train", "./mine.py", "--with", "hints=no", "--run-dir", "s"
    )
    assert code == 1
    assert err.startswith("error: no is not a run directory: there is no such")


def test_a_rate_is_found_for_a_file_in_the_unit_of_its_optimiser(mine, capsys):
    flags = ["--steps", "12", "--seeds", "1", "--min-rate", "1e-3", "--with", "l2"]
    code, out, err = run(capsys, "lr-find", "./mine.py", *flags, "--run-dir", "lr")
    assert (code, err) == (0, "")
    assert "12 rates from 0.001 to 10" in out
    assert "nan" not in out
    curve = json.loads((mine.parent / "lr" / "range_test.json").read_text())
    own = find_recipe("./mine.py")
    plan = own.setup().take(tricks.l2).plan(own.data())
    job, rates = plan.job(0), np.geomspace(1e-3, 10, 12)
    tx = plan.optimizer(lambda count: jnp.asarray(rates, jnp.float32)[count])
    state = create_state(job.params, job.batch_stats, tx, jax.random.key(0))
    step, want = jax.jit(job._replace(tx=tx).step), []
    for epoch in range(3):
        for index in epoch_order(jax.random.key(0), epoch, 80, 20):
            batch = jax.tree.map(jnp.asarray, own.data().train).take(index)
            state, metrics = step(state, batch)
            want.append(metrics["loss"])
    np.testing.assert_allclose(curve["losses"][0], want, rtol=1e-4)


WRONG = {
    "unknown trick": (["--with", "mixpu"], "no trick 'mixpu'. Did you mean 'mixup'?"),
    "of images": (["--with", "mixup"], "mixup needs inputs that are images"),
    "own trick": (["--with", "mirror"], "mirror needs inputs that are images"),
    "no split": (
        ["--with", "early_stopping"],
        "early_stopping needs a validation split: give --validation 0.1",
    ),
    "no fraction": (
        ["--validation", "1.5"],
        "a validation split must be a fraction above 0 and below 1",
    ),
    "not there": (
        ["--without", "sgd"],
        "no trick 'sgd' to leave out: the setup has",
    ),
    "conflict": (
        ["--with", "mixup", "--with", "cutmix"],
        "cutmix cannot stand beside mixup",
    ),
    "no number": (["--learning-rat", "1"], "Did you mean 'learning_rate'?"),
    "two owners": (
        ["--with", "accumulation", "--with", "swa", "--every-steps", "2"],
        "every_steps is a number of accumulation and swa",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_flag_is_one_sentence_and_leaves_nothing(case, mine, capsys):
    flags, message = WRONG[case]
    code, _, err = run(capsys, "train", "./mine.py", *flags, "--run-dir", "r")
    assert code == 2
    assert message in err
    assert not (mine.parent / "r").exists()


BROKEN = {
    "raises": (MINE.replace("tricks.cosine)", "1 / 0)"), "mine.py, line 18"),
    "syntax": ("def setup(:\n", "mine.py, line 1: SyntaxError"),
    "lacks": ("x = 1\n", "mine.py must define setup(), which returns a tricks.Setup"),
    "taken": (MINE + "mirror = trick('augment', calls=random_flip, name='flip',"
              " place='flip')(lambda c, f: f)\nTRICKS = [mirror]\n",
              "trick 'flip' is one of the package: rename yours"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_raises_names_the_users_line(case, mine, capsys):
    text, message = BROKEN[case]
    mine.write_text(text)
    code, _, err = run(capsys, "train", "./mine.py")
    assert code == 1
    assert message in err
    assert "Traceback" not in err


def test_data_that_cannot_be_told_apart_are_said_in_one_line(mine, capsys):
    absent = MINE.replace("y = (x[:, 0] > 0)", "y = (np.arange(120) > 99)")
    mine.write_text(absent)
    code, _, err = run(capsys, "show", "./mine.py")
    assert (code, err) == (0, "")
    code, _, err = run(capsys, "train", "./mine.py", "--epochs", "1", "--run-dir", "r")
    said = "warning: no training example is of yes, as 20 test examples are: "
    assert (code, err.startswith(said), err.count("\n")) == (0, True, 1), err


def test_there_is_no_such_file_or_module(mine, capsys):
    for name, message in (
        ("./other.py", "there is no file other.py"),
        ("no.such.module", "there is no module 'no.such.module'"),
    ):
        code, _, err = run(capsys, "train", name)
        assert code == 1
        assert message in err


def test_tricks_are_listed_and_shown(capsys):
    code, out, _ = run(capsys, "tricks")
    assert code == 0
    assert "mixup" in out
    code, out, _ = run(capsys, "tricks", "mixup")
    assert "fills     mix (what mixes the examples of a batch)" in out
    assert "Zhang" in out
    code, _, err = run(capsys, "tricks", "mixpu")
    assert code == 2
    assert "Did you mean 'mixup'?" in err


def test_a_new_file_runs_as_it_is_and_is_not_written_over(mine, capsys):
    code, out, _ = run(capsys, "new", "yours.py")
    assert code == 0
    assert "optix-tricks train ./yours.py" in out
    assert len((mine.parent / "yours.py").read_text().splitlines()) <= 50
    code, out, err = run(
        capsys, "train", "./yours.py", "--epochs", "1", "--with", "group_norm=8"
    )
    assert (code, err) == (0, "")
    assert "digits: 1,437 training and 360 test examples, 10 classes" in out
    code, _, err = run(capsys, "new", "yours.py")
    assert code == 2
    assert "yours.py is there already" in err
    code, _, err = run(capsys, "new", "yours")
    assert "new takes one file, mine.py, got yours" in err

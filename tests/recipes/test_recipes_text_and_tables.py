"""Text and tables: their recipes learn, take tricks, and refuse those of images."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV

from optix_tricks import tricks
from optix_tricks.recipes import new_run, tabular_mlp, text_transformer
from optix_tricks.training import (
    Batch,
    Dataset,
    RunDirectory,
    bigram_loss,
    load_dataset,
    train,
)
from tests.cli.command import run
from tests.tricks.toys import evaluated, steps

T = tricks.TRICKS


def aab(count):
    """The text aabaab...: after an a, only the character before tells what comes."""
    starts = np.arange(count)[:, None] % 3
    tokens = (np.array([0, 0, 1], np.int32))[(starts + np.arange(13)) % 3]
    return Batch(tokens[:, :-1], tokens[:, 1:])


AAB = Dataset("aab", aab(96), aab(30), ("a", "b"))
SMALL = text_transformer.setup().change(width=8, depth=1, heads=2, epochs=10)


def trained(setup, dataset):
    """The test at the end of a run."""
    state, _, job = steps(setup.plan(dataset), dataset)
    return job.make_evaluate()(state, jax.tree.map(jnp.asarray, dataset.test))


def test_the_transformer_tells_what_pairs_cannot():
    of_pairs = bigram_loss(AAB)
    assert of_pairs > 0.4  # ln 2 after each a
    found = trained(SMALL, AAB)
    assert found.loss < 0.2 * of_pairs  # at the first position nobody can tell
    told = float(found.metrics["loss_over_bigram"])
    assert told == pytest.approx(float(found.loss) / of_pairs, rel=1e-5)


@pytest.mark.slow
def test_the_text_recipe_is_far_below_counted_pairs():
    found = trained(text_transformer.setup(), load_dataset("topics"))
    assert found.metrics["loss_over_bigram"] < 0.6


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer"])
def test_one_setup_tells_a_number_or_a_class_as_well_as_a_linear_model(name):
    dataset = load_dataset(name)
    found = trained(tabular_mlp.setup(), dataset).metrics
    if name == "diabetes":
        linear = RidgeCV(alphas=np.logspace(-3, 3, 20)).fit(*dataset.train[:2])
        assert found["r_squared"] > linear.score(*dataset.test[:2]) - 0.05
        assert found["absolute_error"] < 0.65
    else:
        linear = LogisticRegression().fit(*dataset.train[:2])
        assert found["accuracy"] > linear.score(*dataset.test[:2]) - 0.04


TAKEN = [
    [T["label_smoothing"], T["ema"], T["rms_norm"], T["lion"], T["dropout"](0.1)],
    [T["float16"], T["group_norm"](num_groups=2), T["layerwise_rates"], T["lamb"]],
    [T["weight_norm"], T["orthogonal"], T["drop_path"], T["layer_scale"], T["sam"]],
    [T["bfloat16"], T["batch_norm"], T["freeze"]("embed"), T["lsuv"](16), T["remat"]],
]


def named(chosen):
    return "+".join(each.name for each in chosen)


@pytest.mark.parametrize("chosen", TAKEN, ids=named)
def test_tricks_that_ask_for_no_image_train_on_text(chosen):
    plan = SMALL.without("muon", "warm_up").take(T["adam"]).take(*chosen).plan(AAB)
    state, metrics, job = steps(plan, AAB, count=3)
    assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
    assert np.isfinite(evaluated(job, state, AAB))


def of_tables():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    one = Batch(x, (x[:, 0] > 0).astype(np.int32))
    return Dataset("signs", one, one, ("no", "yes"))


OF_MLP = [
    [T["label_smoothing"], T["ema"], T["layer_norm"], T["lion"], T["dropout"]],
    [T["weight_norm"], T["batch_norm"], T["muon"], T["warm_up"], T["bfloat16"]],
]


@pytest.mark.parametrize("chosen", OF_MLP, ids=named)
def test_tricks_that_ask_for_no_image_train_on_tables(chosen):
    data = of_tables()
    plan = tabular_mlp.setup().change(batch_size=16).take(*chosen).plan(data)
    state, metrics, job = steps(plan, data, count=3)
    assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
    assert np.isfinite(evaluated(job, state, data))


OF_IMAGES = [each for each in T.values() if "images" in each.needs]


@pytest.mark.parametrize("recipe", [text_transformer, tabular_mlp])
def test_tricks_of_images_say_so(recipe):
    assert {"mixup", "cutmix", "flip", "crop", "resnet9"} <= {t.name for t in OF_IMAGES}
    data = AAB if recipe is text_transformer else of_tables()
    for each in OF_IMAGES:
        message = f"{each.name} needs inputs that are images, uint8"
        with pytest.raises(ValueError, match=message):
            recipe.setup().take(each).plan(data)


def test_a_loss_of_pairs_wants_one_class_an_example():
    setup = text_transformer.setup().take(T["pairwise_confusion"])
    with pytest.raises(ValueError, match="needs one class for each example"):
        setup.plan(AAB)


def test_a_refusal_is_one_sentence_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for recipe in ("text_transformer", "tabular_mlp"):
        code, _, err = run(capsys, "train", recipe, "--with", "mixup")
        assert code == 2
        assert err.startswith("error: mixup needs inputs that are images, uint8")
        assert len(err.splitlines()) == 1
    code, _, err = run(capsys, "train", "tabular_mlp", "--dataset", "topics")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "mlp needs inputs that are one array of numbers" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.further
def test_a_stopped_run_of_text_ends_in_the_same_bits(tmp_path):
    setup = dataclasses.replace(SMALL, epochs=4).take(T["drop_path"], T["ema"](0.9))
    job = setup.job(AAB)
    with RunDirectory.start(tmp_path / "whole", recipe="x", config={}) as directory:
        whole, _ = train(job, AAB, directory)
    with RunDirectory.start(tmp_path / "half", recipe="x", config={}) as directory:
        train(job._replace(epochs=2), AAB, directory)
    with RunDirectory.reopen(tmp_path / "half")[0] as directory:
        again, _ = train(job, AAB, directory, resume=True)
    chex.assert_trees_all_equal(
        *(s._replace(key=jax.random.key_data(s.key)) for s in (again, whole))
    )


@pytest.mark.slow
def test_a_table_is_searched_for_a_rate_diagnosed_and_reported(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    flags = ["--dataset", "diabetes", "--epochs", "2", "--with", "layer_norm"]
    code, out, err = run(capsys, "train", "tabular_mlp", *flags, "--run-dir", "r")
    assert (code, err) == (0, "")
    assert "test r squared" in out
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["test_absolute_error"] > 0
    code, out, err = run(capsys, "diagnose", "run", "r", "--probe")
    assert code == 0
    assert "Traceback" not in err
    flags = ["--steps", "10", "--seeds", "1", "--run-dir", "lr"]
    code, out, _ = run(capsys, "lr-find", "tabular_mlp", *flags)
    assert code == 0
    assert "10 rates from 1e-05 to 10" in out


def test_recipes_have_data_and_a_claim():
    for name, dataset in (
        ("text_transformer", "topics"),
        ("tabular_mlp", "breast_cancer"),
    ):
        whole = new_run(name)
        assert whole.dataset == dataset
        assert whole.recipe.claim.result

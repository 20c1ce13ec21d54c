"""A probe retraces the run, and what it measures is what is known of small problems."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks import recipes, tricks
from optix_tricks.recipes import cifar10_resnet9
from optix_tricks.studies import _probe as probe
from optix_tricks.studies import _stuck as stuck
from optix_tricks.training import (
    CheckpointError,
    RunDirectory,
    RunError,
    kernels_in_order,
    load_dataset,
)
from tests.studies.quadratics import H, quadratic


def two_layers(params, batch_stats, images, *, train, key=None):
    """Used in the order b, a; three units of b are below zero at every image."""
    x = images.reshape(len(images), -1) / 255
    hidden = jax.nn.relu(x @ params["b"] + params["bias"][None])
    return hidden @ params["a"], batch_stats


def logged(path, name="metrics.jsonl"):
    rows = [json.loads(line) for line in (path / name).read_text().splitlines()]
    return [row for row in rows if row.get("kind", "train") == "train"]


def test_steps_are_those_of_the_run(make_run):
    path, _ = make_run(quadratic, {"kernel": np.full((3, 4), 2.0, np.float32)})
    told = []
    rows = probe.probe_run(path, on_step=lambda *counts: told.append(counts))
    assert [row["step"] for row in rows] == list(range(41, 61))  # the third epoch
    assert told == [(i, 20) for i in range(1, 21)]
    for ours, theirs in zip(rows, logged(path)[40:], strict=True):
        for name in ("loss", "gradient_norm", "update_norm", "parameter_norm"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-6)
    assert [row["step"] for row in logged(path, "probe.jsonl")] == list(range(41, 61))


def test_curvature_and_noise_of_a_quadratic_loss(make_run):
    path, x = make_run(quadratic, {"kernel": np.full((3, 4), 2.0, np.float32)})
    rows = [row for row in probe.probe_run(path) if "curvature" in row]
    assert [row["step"] for row in rows] == [41, 51, 60]
    noise = np.sum(np.var(H * x, axis=0))
    for row in rows:
        assert row["curvature"] == pytest.approx(4.0, rel=1e-4)
        assert row["lowest_curvature"] == pytest.approx(0.5, rel=1e-3)
        # |H (w - mean x)| from the norm of one batch, which has 1/16 of the noise too.
        signal = row["gradient_norm"] ** 2 - noise / 16
        assert row["noise_scale"] == pytest.approx(noise / signal, rel=0.5)


def test_cosines_of_gradients_are_those_of_the_steps():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((4, 3, 5)).astype(np.float32)
    params = jnp.zeros((3, 5))
    tx = probe._recording(ot.sgd(0.1))
    state = probe._Recorded(tx.init(params), jnp.zeros((3, 5)), jnp.nan)
    for t, gradient in enumerate(gradients):
        _, state = tx.update(jnp.asarray(gradient), state, params)
        if t:
            a, b = gradients[t - 1].ravel(), gradient.ravel()
            want = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert state.cosine == pytest.approx(want, rel=1e-5)
        else:
            assert np.isnan(state.cosine)


def test_silent_units_and_layers_in_the_order_of_their_use(make_run):
    rng = np.random.default_rng(0)
    params = {
        "a": rng.standard_normal((6, 4)).astype(np.float32),
        "b": rng.uniform(0, 1, (12, 6)).astype(np.float32),
        "bias": np.array([0, 0, 0, -99, -99, -99], np.float32),
    }
    path, _ = make_run(two_layers, params)
    first = probe.probe_run(path)[0]
    assert [name for name in first if name.startswith("dead")] == [
        "dead_fraction/b",
        "dead_fraction/a",
    ]
    assert first["dead_fraction/b"] == 0.5
    assert first["dead_fraction/a"] == 0
    assert first["parameter_norm/b"] > 0
    assert first["gradient_norm/b"] > 0


def test_layers_of_a_residual_network_come_in_the_order_of_depth():
    dataset = load_dataset("digits")
    made = cifar10_resnet9.setup().change(width=2).job(dataset)
    found = kernels_in_order(*made[:3], jnp.asarray(dataset.train.inputs[:1]))
    assert [name.split("/")[0] for name in found] == [
        *("prep", "layer1", "layer1_residual1", "layer1_residual2"),
        *("layer2", "layer3", "layer3_residual1", "layer3_residual2", "head"),
    ]


def test_a_run_in_16_bits_is_measured_in_float32():
    asked = []

    def network(context, *, dtype, rngs):
        asked.append(jnp.dtype(dtype).name)
        return nnx.Linear(8, 10, dtype=dtype, rngs=rngs)

    run = recipes.new_run("digits")
    half = tricks.Setup(network, epochs=3).take(tricks.sgd(0.01), tricks.bfloat16)
    run = dataclasses.replace(run, setup=half)
    dataset = run.load()
    exact = run.in_float32().job(dataset)
    assert {*asked} == {"float32"}
    job = run.job(dataset)
    assert {*asked} == {"float32", "bfloat16"}
    assert jax.tree.structure(job.params) == jax.tree.structure(exact.params)


def test_where_noise_is_all_that_is_seen_the_noise_scale_is_its_lower_bound():
    rng = np.random.default_rng(0)
    noise, size = 400.0, 16  # tr Σ of an example; no signal at all
    places = []
    for _ in range(3):
        gradients = rng.normal(0, np.sqrt(noise / size / 50), (probe.BATCHES, 50))
        small = np.mean(np.sum(gradients**2, axis=1))
        big = np.sum(gradients.mean(axis=0) ** 2)
        places.append(probe._Place({}, jnp.float32(small), jnp.float32(0.9 * big)))
    found = probe._noise_scale(places, size)
    assert np.isfinite(found)
    assert found > 3 * size


def test_a_diagnosis_with_a_probe_has_its_columns(make_run):
    path, _ = make_run(quadratic, {"kernel": np.full((3, 4), 2.0, np.float32)})
    text = stuck.diagnose_run(path, probe=True)
    assert "(toy, 60 rows, the last of a probe)" in text
    assert "curvature" not in text.partition("Not logged")[2]
    assert (path / "figures" / "diagnosis.png").exists()


def test_a_run_without_a_checkpoint_or_recipe_is_refused(make_run, tmp_path):
    gone = recipes.new_run("digits").as_json()
    with RunDirectory.start(tmp_path / "a", recipe="gone", config=gone):
        (tmp_path / "a" / "checkpoints").mkdir()
    with pytest.raises(RunError, match="is of 'gone', which is no recipe here"):
        probe.probe_run(tmp_path / "a")
    path, _ = make_run(quadratic, {"kernel": np.full((3, 4), 2.0, np.float32)})
    (path / "checkpoints").rename(path / "elsewhere")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        probe.probe_run(path)

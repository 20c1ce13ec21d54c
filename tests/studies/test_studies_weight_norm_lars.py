"""LARS beside SGD: one step, one start, and the arms of both comparisons."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.studies._weight_norm import _lars as lars
from optix_tricks.studies._weight_norm._config import peaked_schedule
from optix_tricks.studies._weight_norm._lars import at_equilibrium, lars_job
from tests.studies.toy_study import TOY, paths


@pytest.fixture
def sweeps(monkeypatch):
    """The trainings that are asked for, none of which is run."""
    asked = []

    def sweep(build, dataset, *, rates, seeds, path, name, on_epoch):
        asked.append((build.keywords, rates, list(seeds), path.name, name))
        on_epoch(1, 5)
        return types.SimpleNamespace(accuracy=np.array([[0.5, np.nan]]))

    monkeypatch.setattr(lars, "sweep_learning_rates", sweep)
    monkeypatch.setattr(
        lars, "invariant_layers", lambda *_: types.SimpleNamespace(mask=None)
    )
    return asked


@pytest.mark.parametrize("part", [lars.run_lars, lars.run_batch])
def test_arms_differ_in_rule_start_batch_and_rate(part, sweeps, digits, tmp_path):
    told = []
    config = TOY.__class__(**TOY.__dict__ | {"seeds": 2, "seed": 3, "batch_size": 16})
    found = part(config, digits, tmp_path, lambda *at: told.append(at))
    if part is lars.run_lars:
        usual, balanced = "usual start", "equilibrium start"
        arms = [
            {"rule": rule, "start": start}
            for start in (usual, balanced)
            for rule in ("sgd", "lars")
        ]
        assert list(found) == [f"{arm['rule']}, {arm['start']}" for arm in arms]
    else:
        # η to the power 1/2 is LARS's rate: four times as much of it is 16 η.
        factors = [None, 4, 2, None, 4, 16]
        arms = [{"rule": rule} for rule in ["sgd"] * 3 + ["lars"] * 3]
        for arm, factor in zip(arms, factors, strict=True):
            arm |= {"factor": factor, "batch_size": 64} if factor else {}
        assert [arm.rsplit(" ", 1)[1] for arm in found] == ["1", "4", "2", "1", "2", "4"]
    assert [keywords for keywords, *_ in sweeps] == arms
    assert {(tuple(rates), tuple(seeds)) for _, rates, seeds, *_ in sweeps} == {
        ((config.learning_rate,), (3, 4))
    }
    names = [name for *_, name in sweeps]
    assert names[0] == "batch_size 16, factor 1.0, rule sgd, start usual start"
    assert len(set(names)) == len(arms)
    assert told == [(5 * i, 5 * len(arms)) for i in range(len(arms))]
    assert found[next(iter(found))] == {"test_accuracy": [0.5, None]}


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

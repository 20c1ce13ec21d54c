"""Every trick on a bare base: it trains, changes what it should, and resumes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import tricks
from optix_tricks.training import Checkpoints
from optix_tricks.tricks import TRICKS
from tests.tricks.toys import base, dataset, evaluated, steps

# Where a default would do nothing in twenty steps of a tiny network, another number.
SETTINGS = {
    "clip_value": {"max_delta": 0.01},
    "clip_norm": {"max_norm": 0.01},
    "clip_global_norm": {"max_norm": 0.1},
    "crop": {"padding": 2},
    "cutout": {"size": 4},
    "erasing": {"probability": 1.0},
    "ghost_batch_norm": {"ghost_size": 4},
    "plateau": {"patience": 1, "rtol": 0.5},
    "group_norm": {"num_groups": 2},
    "zero_gamma": {"pattern": "conv1/norm/scale$"},
    "swa": {"start": 0.5},
    "lsuv": {"examples": 16},
    "whitening": {"examples": 16},
}
# What the base has already, what only acts on trouble, and where it begins to act.
NEUTRAL = {"sgd", "float32", "constant", "skip_nonfinite", "batch_norm", "remat"}
# What shows in the test alone.
TESTED = {"flip_views", "crop_views", "selective_views", "ema", "swa"}
DATA = dataset()


@functools.cache
def bare():
    plan = base().plan(DATA)
    state, _, job = steps(plan, DATA)
    return flat(state), evaluated(job, state, DATA)


def flat(state):
    leaves = jax.tree.leaves(state.params)
    return np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in leaves])


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    """The directory of a run of the same network from another seed."""
    path = tmp_path_factory.mktemp("run")
    state, _, _ = steps(base().plan(DATA), DATA, seed=1)
    with Checkpoints(path / "checkpoints") as checkpoints:
        checkpoints.save(4, state)
    return str(path)


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_trains_differs_from_the_base_and_resumes(name, other_run):
    settings = SETTINGS | {"pretrained": {"run": other_run}}
    chosen = TRICKS[name](**settings.get(name, {}))
    setup = base().take(chosen)
    if "decay_mask" in chosen.slots:
        setup = setup.take(tricks.l2(0.1))
    plan = setup.plan(DATA)
    half, _, _ = steps(plan, DATA, count=10)
    kept = jax.tree.map(np.asarray, half._replace(key=jax.random.key_data(half.key)))
    whole, metrics, job = steps(plan, DATA, start=half)
    assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
    loss = evaluated(job, whole, DATA)
    assert np.isfinite(loss)

    params, bare_loss = bare()
    found = flat(whole)
    same = found.shape == params.shape and np.allclose(
        found, params, rtol=1e-5, atol=1e-6
    )
    if name in TESTED:
        assert same
        assert loss != bare_loss
    else:
        assert same == (name in NEUTRAL)

    restored = jax.tree.map(jnp.asarray, kept)
    restored = restored._replace(key=jax.random.wrap_key_data(restored.key))
    again, _, _ = steps(plan, DATA, start=restored)
    np.testing.assert_array_equal(flat(again), flat(whole))

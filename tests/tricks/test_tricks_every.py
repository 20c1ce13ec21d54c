"""Every trick on a bare base: it trains, changes what it should, and resumes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import tricks
from optix_tricks.training import Checkpoints, create_state
from optix_tricks.tricks import TRICKS, Earlier
from tests.tricks.toys import NETWORK, Linears, base, dataset, evaluated, steps, text

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
    "airbench": {"width": 2},
    "hardest": {"widths": (2, 2, 2)},
    "resnet9": {"width": 2},
    "resnet18": {"width": 2},
    "resnet50": {"width": 2},
    "hints": {"run": "teacher", "layer": "layers.3", "teacher_layer": "layers.3"},
    "mlp": {"width": 4},
    "transformer": {"width": 4, "depth": 1, "heads": 2},
}
# What the base has already, what only acts on trouble, and where it begins to act.
NEUTRAL = {"sgd", "float32", "constant", "skip_nonfinite", "batch_norm", "remat"}
NEUTRAL |= {"early_stopping"}  # until it stops, which `train` does
# What shows in the test alone.
TESTED = {"flip_views", "crop_views", "selective_views", "ema", "swa"}
DATA = dataset()
SPLIT = DATA._replace(validation=DATA.test)
OTHER_DATA = {
    "airbench": dataset(size=16),
    "hardest": dataset(size=16),
    "transformer": text(),
}


@functools.cache
def bare(network):
    plan = base(network).plan(DATA)
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


def teacher(run):
    """The linear layers of another seed."""
    context = base(Linears).plan(DATA).context
    return Earlier(context.network.module(1), context.prepare)


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_trains_differs_from_the_base_and_resumes(name, other_run):
    settings = SETTINGS | {"pretrained": {"run": other_run}}
    chosen = TRICKS[name](**settings.get(name, {}))
    network = Linears if "begin" in TRICKS[name].slots else NETWORK
    setup = base(network).take(chosen)
    if "decay_mask" in chosen.slots:
        setup = setup.take(tricks.l2(0.1))
    data = OTHER_DATA.get(name, DATA)
    plan = setup.plan(SPLIT if "validation" in chosen.needs else data, restore=teacher)
    half, _, _ = steps(plan, data, count=10)
    kept = jax.tree.map(np.asarray, half._replace(key=jax.random.key_data(half.key)))
    whole, metrics, job = steps(plan, data, start=half)
    assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
    loss = evaluated(job, whole, data)
    assert np.isfinite(loss)

    params, bare_loss = bare(network)
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
    again, _, _ = steps(plan, data, start=restored)
    np.testing.assert_array_equal(flat(again), flat(whole))


def test_weights_come_from_a_run_without_batch_statistics_too(tmp_path):
    other = base().take(tricks.group_norm(num_groups=1)).plan(DATA).job(seed=1)
    state = create_state(other.params, other.batch_stats, other.tx, jax.random.key(0))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, state)
    chosen = tricks.pretrained(run=str(tmp_path))
    job = base().take(chosen).plan(DATA).job(seed=0)
    drawn = base().plan(DATA).job(seed=0)
    jax.tree.map(np.testing.assert_array_equal, job.params, other.params)
    jax.tree.map(np.testing.assert_array_equal, job.batch_stats, drawn.batch_stats)

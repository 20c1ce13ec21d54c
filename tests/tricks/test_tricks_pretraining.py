"""Layer-wise pretraining as a trick: which blocks, and what is trained of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import create_state
from optix_tricks.tricks import Setup
from optix_tricks.tricks._pretraining import blocks_of
from tests.tricks.toys import Linears, Mlp, base, dataset

DATA = dataset()
TRAIN = jax.tree.map(jnp.asarray, DATA.train)


def begun(setup, seed=0):
    """The job, its states before and after pretraining, and what was told meanwhile."""
    job = setup.job(DATA, seed=seed)
    before = create_state(job.params, job.batch_stats, job.tx, jax.random.key(seed))
    told = []
    return job, before, job.begun(before, TRAIN, lambda *said: told.append(said)), told


def test_a_block_is_a_layer_with_weights_and_the_functions_behind_it():
    rngs = nnx.Rngs(0)
    a, b, c = (nnx.Linear(2, 2, rngs=rngs) for _ in range(3))
    drop = nnx.Dropout(0.5, rngs=rngs)
    model = nnx.Sequential(jnp.abs, drop, a, nnx.relu, b, drop, jnp.tanh, c)
    layers = [[*block.layers] for block in blocks_of(model)]
    assert layers == [[jnp.abs, drop, a, nnx.relu], [b, drop, jnp.tanh], [c]]


class Blocks(nnx.Module):
    """A convolution with its norm, a second block, and a head."""

    def __init__(self, rngs):
        conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.low = nnx.Sequential(
            conv, nnx.BatchNorm(4, momentum=0.9, rngs=rngs), nnx.relu
        )
        self.high = nnx.Sequential(nnx.Conv(4, 5, (3, 3), rngs=rngs), nnx.relu)
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def blocks(self):
        return [self.low, nnx.Sequential(self.high, mean), self.head]

    def __call__(self, x):
        return self.head(mean(self.high(self.low(x))))


def mean(x):
    return x.mean(axis=(1, 2))


def test_all_blocks_and_statistics_move_and_the_optimiser_starts_with_them():
    setup = base(lambda context, *, rngs: Blocks(rngs))
    setup = setup.take(tricks.layerwise_pretraining(0.6), tricks.ema(0.9))
    job, before, state, told = begun(setup)
    for tree in ("params", "batch_stats"):
        old, new = getattr(before, tree), getattr(state, tree)
        moved = jax.tree.map(lambda x, y: not np.array_equal(x, y), old, new)
        assert all(jax.tree.leaves(moved))
        assert len(jax.tree.leaves(moved)) == {"params": 8, "batch_stats": 2}[tree]
    assert told == [(i, 6) for i in range(1, 7)]  # 0.6 of five steps are three
    assert int(state.step) == 0
    fresh = job.tx.init(state.params)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, fresh)


def test_each_block_is_trained_in_its_stage_and_in_no_other():
    """Adam's first step is of its rate in each coordinate, its second would add to it."""
    setup = base(Linears).take(tricks.layerwise_pretraining(0.2, adam_rate=0.01))
    _, before, state, told = begun(setup)
    assert told == [(1, 2), (2, 2)]
    for layer in (1, 3, 5):
        old, new = (x.params["layers"][layer]["bias"] for x in (before, state))
        np.testing.assert_allclose(np.abs(new - old), 0.01, rtol=1e-3)
    _, _, other, _ = begun(setup, seed=1)
    assert not np.array_equal(other.params["layers"][1]["kernel"],
                              state.params["layers"][1]["kernel"])  # fmt: skip


REFUSED = {
    "no blocks": (Mlp(), r"Mlp has 0\."),
    "a head alone": (
        nnx.Sequential(jnp.ravel, nnx.Linear(1, 3, rngs=nnx.Rngs(0))),
        r"Sequential has 1\.",
    ),
    "a function": ((lambda *_, **__: None, {}, {}), "a flax.nnx module"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_without_blocks_is_refused(case):
    network, message = REFUSED[case]
    setup = Setup(network, batch_size=8).take(tricks.sgd, tricks.layerwise_pretraining)
    with pytest.raises(ValueError, match=f"layerwise_pretraining needs.* {message}"):
        setup.plan(DATA)

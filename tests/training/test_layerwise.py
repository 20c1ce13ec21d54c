"""Greedy pretraining: what is trained in a stage, what is not, and where it helps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    compile_step,
    create_state,
    functional,
    greedy_layerwise,
    make_train_step,
)


class Dense(nnx.Module):
    def __init__(self, n, m, activation, *, std, seed):
        init = nnx.initializers.normal(std)
        self.linear = nnx.Linear(n, m, kernel_init=init, rngs=nnx.Rngs(seed))
        self.activation = activation

    def __call__(self, x, *, train):
        return self.activation(self.linear(x))


class Normalised(nnx.Module):
    def __init__(self, n, m, *, dropout=0.0, seed=0):
        rngs = nnx.Rngs(seed)
        self.linear = nnx.Linear(n, m, rngs=rngs)
        self.norm = nnx.BatchNorm(m, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x, *, train):
        x = nnx.relu(self.norm(self.linear(x), use_running_average=not train))
        return self.dropout(x, deterministic=not train)


class Network(nnx.Module):
    def __init__(self, blocks, head):
        self.blocks, self.head = nnx.List(blocks), head

    def __call__(self, x, *, train):
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(x, train=train)


def circle(seed, n=256):
    """Points within the unit circle, and points around it."""
    rng = np.random.default_rng(seed)
    radius, angle = rng.uniform(0, 2, n), rng.uniform(0, 2 * np.pi, n)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Batch(jnp.asarray(points, jnp.float32), jnp.asarray(radius > 1, jnp.int32))


def head(seed=0, width=16):
    return Dense(width, 2, jnp.asarray, std=0.1, seed=seed)


def arrays(module):
    return nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat)))


def trained_by_steps(seen, steps=3):
    """A stage as a user writes it, with the state donated; keeps what went in and out."""

    def train_stage(k, apply, params, batch_stats):
        tx = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5, momentum=0.9))
        step = compile_step(make_train_step(apply, cross_entropy, tx))
        state = create_state(params, batch_stats, tx, jax.random.key(k))
        before = jax.device_get((params, batch_stats))
        for _ in range(steps):
            state, _ = step(state, circle(0, 32))
        after = jax.device_get((state.params, state.batch_stats))
        seen.append((before, after))
        return state.params, state.batch_stats

    return train_stage


def test_a_stage_trains_its_block_and_head_and_leaves_those_below_bit_by_bit():
    blocks = [Normalised(2, 16, seed=1, dropout=0.2), Normalised(16, 16, seed=2)]
    given = jax.device_get([arrays(block) for block in blocks])
    seen = []
    new, last_head = greedy_layerwise(blocks, lambda k: head(), trained_by_steps(seen))

    for block, as_given in zip(blocks, given, strict=True):
        chex.assert_trees_all_equal(arrays(block), as_given)
    for before, after in seen:
        assert before[0].keys() == after[0].keys() == {"block", "head"}
        for w, w_new in zip(*map(jax.tree.leaves, (before[0], after[0])), strict=True):
            assert not np.array_equal(w, w_new)
        moved = before[1]["block"]["norm"]["mean"] != after[1]["block"]["norm"]["mean"]
        assert moved.all()
    first, second = seen
    assert first[0][1]["below"] == []
    frozen = [(first[1][0]["block"], first[1][1]["block"])]
    chex.assert_trees_all_equal(second[0][1]["below"], frozen)
    chex.assert_trees_all_equal(second[1][1]["below"], frozen)

    for block, (_, (params, stats)) in zip(new, seen, strict=True):
        _, learnt, gathered = functional(block)
        chex.assert_trees_all_equal(learnt, params["block"])
        chex.assert_trees_all_equal(gathered, stats["block"])
    chex.assert_trees_all_equal(functional(last_head)[1], second[1][0]["head"])


def test_the_stage_is_the_network_cut_after_its_block():
    """Blocks below as in evaluation; block and head as asked; images prepared once."""
    blocks = [Normalised(2, 16, seed=1), Normalised(16, 16, seed=2)]
    images, checked = circle(0, 8).inputs, []

    def train_stage(k, apply, params, batch_stats):
        x = images / 2
        for block in blocks[:k]:
            x = block(x, train=False)
        block, top = nnx.clone(blocks[k]), head(seed=k)
        for train in (False, True):
            key = jax.random.key(0) if train else None
            logits, new = apply(params, batch_stats, images, train=train, key=key)
            expected = top(block(x, train=train), train=train)
            np.testing.assert_allclose(logits, expected, rtol=1e-6)
            np.testing.assert_allclose(new["block"]["norm"]["mean"], block.norm.mean[...])
            checked.append(k)
        return params, batch_stats

    greedy_layerwise(blocks, head, train_stage, preprocess=lambda x: x / 2)
    assert checked == [0, 0, 1, 1]


def fit(network, batch, *, steps, learning_rate):
    """Full-batch gradient descent with momentum; the last loss and accuracy."""
    apply, params, stats = network

    def objective(params):
        logits, _ = apply(params, stats, batch.inputs, train=True)
        accuracy = jnp.mean(jnp.argmax(logits, axis=1) == batch.targets)
        return jnp.mean(cross_entropy(logits, batch.targets)), accuracy

    def step(carry, _):
        params, trace = carry
        measured, g = jax.value_and_grad(objective, has_aux=True)(params)
        trace = jax.tree.map(lambda v, g: 0.9 * v + g, trace, g)
        params = jax.tree.map(lambda w, v: w - learning_rate * v, params, trace)
        return (params, trace), measured

    @jax.jit
    def run(params):
        start = (params, jax.tree.map(jnp.zeros_like, params))
        (params, _), series = jax.lax.scan(step, start, length=steps)
        return params, series

    params, (losses, accuracies) = run(params)
    return params, float(losses[-1]), float(accuracies[-1])


def from_scratch_and_greedily(blocks, seed, *, steps, learning_rate):
    """Loss and accuracy of both after the same number of steps."""
    batch = circle(seed)

    def train_stage(k, apply, params, batch_stats):
        network = (apply, params, batch_stats)
        params, _, _ = fit(network, batch, steps=steps, learning_rate=learning_rate)
        return params, batch_stats

    whole = functional(Network(blocks, head(seed)))
    all_steps = steps * (len(blocks) + 1)
    scratch = fit(whole, batch, steps=all_steps, learning_rate=learning_rate)
    pretrained = Network(*greedy_layerwise(blocks, lambda k: head(seed), train_stage))
    tuned = fit(functional(pretrained), batch, steps=steps, learning_rate=0.1)
    return scratch[1:], tuned[1:]


@pytest.mark.parametrize("seed", [0, 1])
def test_it_trains_a_deep_sigmoid_network_that_stalls_by_itself(seed):
    blocks = [
        Dense(2 if i == 0 else 16, 16, nnx.sigmoid, std=0.1, seed=10 * seed + i)
        for i in range(4)
    ]
    scratch, greedy = from_scratch_and_greedily(
        blocks, seed, steps=200, learning_rate=1.0
    )
    assert scratch[0] > 0.65
    assert scratch[1] < 0.6
    assert greedy[0] < 0.1
    assert greedy[1] > 0.97


def test_it_gains_nothing_where_the_network_trains_by_itself():
    blocks = [
        Dense(2, 16, nnx.relu, std=1.0, seed=0),
        Dense(16, 16, nnx.relu, std=8**-0.5, seed=1),
    ]
    scratch, greedy = from_scratch_and_greedily(blocks, 0, steps=200, learning_rate=0.1)
    assert scratch[1] >= greedy[1] > 0.99
    assert scratch[0] < 1.5 * greedy[0]


def test_bad_input_raises():
    with pytest.raises(ValueError, match="blocks must hold at least one module"):
        greedy_layerwise([], head, lambda k, apply, params, stats: (params, stats))
    block = Dense(2, 16, jnp.tanh, std=0.1, seed=0)
    with pytest.raises(
        ValueError, match=r"train_stage must return \(params, batch_stats"
    ):
        greedy_layerwise([block], head, lambda k, apply, params, stats: (stats, params))

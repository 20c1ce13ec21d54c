"""Epochs and evaluation over data on the device."""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.augment import flip_predict, random_flip
from optix_tricks.losses import (
    cross_entropy,
    pairwise_confusion,
    supervised_contrastive_loss,
)
from optix_tricks.training import (
    Batch,
    ResNet9,
    compile_step,
    create_state,
    epoch_order,
    epoch_orders,
    functional,
    make_epoch,
    make_evaluate,
    make_train_step,
    total_steps,
)
from optix_tricks.training._epoch import run_steps


@pytest.fixture(scope="module")
def setting():
    # Of two channels both are off in whole pooling windows, whose ties a rounding breaks.
    apply, params, stats = functional(
        ResNet9(3, width=4, in_channels=1, rngs=nnx.Rngs(0)),
        preprocess=lambda x: x.astype(jnp.float32) / 255,
    )
    tx = ot.sgd(0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    data = Batch(
        jnp.asarray(rng.integers(0, 256, (37, 8, 8, 1), np.uint8)),
        jnp.asarray(rng.integers(0, 3, 37)),
    )
    step = make_train_step(apply, cross_entropy, tx, augment=random_flip)

    def new_state():
        return create_state(params, stats, tx, jax.random.key(1))

    return apply, new_state, data, step


def test_order_is_a_permutation_with_full_batches_fresh_each_epoch():
    key = jax.random.key(0)
    first, second = (np.asarray(epoch_order(key, e, 37, 8)) for e in (0, 1))
    assert first.shape == (4, 8)
    assert len(set(first.ravel())) == 32
    assert (first >= 0).all()
    assert (first < 37).all()
    assert (first != second).any()
    np.testing.assert_array_equal(first, epoch_order(key, 0, 37, 8))


@pytest.mark.parametrize(
    ("epochs", "steps"), [(3, 12), (2.5, 10), (1.01, 5), (0.1 * 30, 12), (1e-3, 1)]
)
def test_a_run_ends_within_its_last_epoch(epochs, steps):
    """Four batches an epoch; those of a fraction are the first of a whole one."""
    key = jax.random.key(0)
    assert total_steps(epochs, 37, 8) == steps
    orders = list(epoch_orders(key, epochs, 37, 8))
    assert sum(map(len, orders)) == steps
    for epoch, order in enumerate(orders):
        np.testing.assert_array_equal(order, epoch_order(key, epoch, 37, 8)[: len(order)])
    resumed = list(epoch_orders(key, epochs, 37, 8, first=1))
    chex.assert_trees_all_equal(resumed, orders[1:])


def test_orders_go_on_after_the_first_step_has_taken_the_key():
    key = jax.random.key(3)
    orders = epoch_orders(key, 2, 37, 8)
    first = next(orders)
    key.delete()
    second = next(orders)
    chex.assert_shape((first, second), (4, 8))
    np.testing.assert_array_equal(second, epoch_order(jax.random.key(3), 1, 37, 8))


def test_too_large_batch_is_named():
    with pytest.raises(ValueError, match=r"batch_size must be at most .* 37, got 38"):
        epoch_order(jax.random.key(0), 0, 37, 38)


@pytest.mark.parametrize("mode", ["scan", "loop", "auto"])
def test_every_mode_is_step_after_step(setting, mode):
    _, new_state, data, step = setting
    order = epoch_order(jax.random.key(2), 0, 37, 8)
    compiled, by_hand, losses = compile_step(step), new_state(), []
    for index in order:
        by_hand, metrics = compiled(
            by_hand, Batch(data.inputs[index], data.targets[index])
        )
        losses.append(float(metrics["loss"]))
    seen = []
    state, metrics = make_epoch(step, mode=mode)(
        new_state(), data, order, on_step=seen.append
    )
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)
    chex.assert_trees_all_close(state.params, by_hand.params, rtol=1e-4, atol=1e-6)
    assert seen == ([3] if mode == "scan" else [0, 1, 2, 3])


class Row:
    """Metrics of a step that say when they are waited for."""

    def __init__(self, number, seen):
        self.number, self.seen = number, seen

    def block_until_ready(self):
        self.seen.append(("waited for", self.number))
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(self.number, dtype)


@pytest.mark.parametrize("steps", [1, 3])
def test_at_most_two_steps_are_under_way(steps):
    seen = []

    def step(state, number):
        seen.append(("begun", number))
        return state + 1, Row(number, seen)

    state, rows = inspect.unwrap(run_steps)(
        step, 0, range(steps), on_step=lambda i: seen.append(("told", i))
    )
    assert state == steps
    assert rows.tolist() == list(range(steps))
    order = [("begun", 0)]
    for i in range(steps):
        order += [("begun", i + 1)] if i + 1 < steps else []
        order += [("waited for", i), ("told", i)]
    assert seen == order


def test_unknown_mode_is_named(setting):
    with pytest.raises(ValueError, match=r"mode must be .* got 'quick'"):
        make_epoch(setting[3], mode="quick")


@pytest.mark.parametrize("batch_size", [1, 8, 36, 37, 500])
@pytest.mark.parametrize("flip", [False, True])
def test_evaluation_is_exact_whatever_the_batch_size(setting, batch_size, flip):
    apply, new_state, data, _ = setting
    state = new_state()
    evaluate = make_evaluate(
        apply,
        cross_entropy,
        batch_size=batch_size,
        views=flip_predict if flip else None,
    )
    result = evaluate(state.params, state.batch_stats, data)
    views = [data.inputs, data.inputs[:, :, ::-1]] if flip else [data.inputs]
    logits = np.mean(
        [apply(state.params, state.batch_stats, x, train=False)[0] for x in views],
        axis=0,
        dtype=np.float64,
    )
    labels = np.asarray(data.targets)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(37), labels]
    assert result.size == 37
    correct = (logits.argmax(axis=1) == labels).sum()
    assert result.metrics == {"accuracy": correct / 37}
    assert result.loss == pytest.approx(losses.mean(), rel=1e-5)


def embedded(params, batch_stats, images, *, train, key=None):
    return images.reshape(len(images), -1) @ params, batch_stats


LOSSES = {
    "supervised contrastive": supervised_contrastive_loss,
    "pairwise confusion": functools.partial(pairwise_confusion, weight=0.5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_fills_up_a_batch_is_not_compared_with(name):
    """A loss that compares examples sees those of a batch, no copies of the first."""
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(8, 4)), jnp.float32)
    images = jnp.asarray(rng.normal(size=(10, 2, 2, 2)), jnp.float32)
    data = Batch(images, jnp.arange(10) % 3)
    z = embedded(params, {}, images, train=False)[0]
    of_batch = jax.jit(LOSSES[name])
    for batch_size in (4, 16):
        evaluate = make_evaluate(embedded, LOSSES[name], batch_size=batch_size)
        parts = [
            of_batch(z[i : i + batch_size], data.targets[i : i + batch_size])
            for i in range(0, 10, batch_size)
        ]
        result = evaluate(params, {}, data)
        assert result.loss == pytest.approx(np.concatenate(parts).mean(), rel=1e-5)
        correct = (jnp.argmax(z, axis=1) == data.targets).sum()
        assert result.metrics == {"accuracy": pytest.approx(int(correct) / 10)}


def test_nothing_to_evaluate_or_to_train_on_is_named(setting):
    apply, new_state, data, step = setting
    state = new_state()
    evaluate = make_evaluate(apply, cross_entropy, batch_size=8)
    with pytest.raises(ValueError, match=r"data must hold at least one example, got no"):
        evaluate(state.params, state.batch_stats, data.take(jnp.arange(0)))
    for mode in ("scan", "loop"):
        with pytest.raises(ValueError, match=r"order must hold at least one batch"):
            make_epoch(step, mode=mode)(state, data, jnp.zeros((0, 8), jnp.int32))

"""What the step takes beside a loss: penalties, mixed labels, dropout, 16 bits."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.augment import mixup
from optix_tricks.layers import Dropout
from optix_tricks.losses import cross_entropy, distillation, l2_penalty
from optix_tricks.training import (
    BasicBlock,
    Batch,
    Policy,
    ResNet,
    ResNet9,
    compile_step_on_mesh,
    create_state,
    functional,
    make_train_step,
    policy,
    step_keys,
    teacher_labels,
)


class Net(nnx.Module):
    """A dense layer, batch normalisation, dropout if wanted, and a head."""

    def __init__(self, rngs, rate=0.0, dtype=jnp.float32, param_dtype=jnp.float32):
        kinds = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.dense = nnx.Linear(12, 32, **kinds)
        self.norm = nnx.BatchNorm(32, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(rate, rngs=rngs if rate else None)
        self.head = nnx.Linear(32, 3, **kinds)

    def __call__(self, images, *, train):
        x = self.dense(images.reshape(len(images), -1))
        x = nnx.relu(self.norm(x, use_running_average=not train))
        return self.head(self.dropout(x, deterministic=not train)).astype(jnp.float32)


def key():
    """A fresh one: a donated state takes its key along."""
    return jax.random.key(0)


def batch_of(size=16, seed=0):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.normal(size=(size, 2, 2, 3)), jnp.float32)
    return Batch(images, jnp.asarray(rng.integers(0, 3, size)))


def one_step(net, tx, batch=None, **options):
    apply, params, stats = functional(net)
    step = jax.jit(make_train_step(apply, cross_entropy, tx, **options))
    return step(create_state(params, stats, tx, key()), batch or batch_of())


def test_a_penalty_of_the_weights_is_weight_decay():
    def penalty(params):
        return 0.1 * l2_penalty(params, mask=ot.no_bias_or_norm)

    state, metrics = one_step(Net(nnx.Rngs(0)), ot.sgd(0.5), penalty=penalty)
    decay = ot.add_decayed_weights(0.1, mask=ot.no_bias_or_norm)
    other, plain = one_step(Net(nnx.Rngs(0)), optax.chain(decay, ot.sgd(0.5)))
    chex.assert_trees_all_close(state.params, other.params, rtol=1e-5, atol=1e-7)
    kernels = [Net(nnx.Rngs(0)).dense.kernel[...], Net(nnx.Rngs(0)).head.kernel[...]]
    extra = 0.05 * sum(np.sum(np.square(np.asarray(w, np.float64))) for w in kernels)
    assert metrics["loss"] == pytest.approx(float(plain["loss"]) + extra, rel=1e-5)


def test_mixed_labels_are_trained_on_and_counted_by_their_largest_class():
    batch = batch_of()

    def mix(key, images, labels):
        mixed = mixup(key, images, labels, alpha=1.0)
        return mixed.images, mixed.dense(3)

    state, metrics = one_step(Net(nnx.Rngs(0)), ot.sgd(0.5), batch, mix=mix)

    mixing = step_keys(key(), 0).mix
    images, a, b, lam = mixup(mixing, batch.inputs, batch.targets, alpha=1.0)
    apply, params, stats = functional(Net(nnx.Rngs(0)))

    def loss(params):
        logits, _ = apply(params, stats, images, train=True)
        one, other = cross_entropy(logits, a), cross_entropy(logits, b)
        return jnp.mean(lam * one + (1 - lam) * other), logits

    (value, logits), grads = jax.value_and_grad(loss, has_aux=True)(params)
    want = jax.tree.map(lambda w, g: w - 0.5 * g, params, grads)
    chex.assert_trees_all_close(state.params, want, rtol=1e-5, atol=1e-6)
    assert metrics["loss"] == pytest.approx(float(value), rel=1e-5)
    largest = np.where(np.asarray(lam) >= 0.5, a, b)
    assert metrics["accuracy"] == np.mean(np.argmax(logits, axis=1) == largest)


def test_a_teacher_and_the_labels_are_both_distilled():
    """Half of each at temperature 1 is the cross-entropy with the mean of both."""
    teacher = functional(Net(nnx.Rngs(1)))
    batch = batch_of()
    mix = teacher_labels(*teacher, keep_labels=True)
    apply, params, stats = functional(Net(nnx.Rngs(0)))

    def loss(logits, labels):
        return distillation(logits, *labels, temperature=1.0, alpha=0.5)

    step = jax.jit(make_train_step(apply, loss, ot.sgd(0.5), mix=mix))
    state, metrics = step(create_state(params, stats, ot.sgd(0.5), key()), batch)

    says, _ = teacher[0](*teacher[1:], batch.inputs, train=False)
    target = (np.eye(3)[np.asarray(batch.targets)] + np.asarray(nnx.softmax(says))) / 2

    def mean_loss(params):
        logits, _ = apply(params, stats, batch.inputs, train=True)
        return jnp.mean(cross_entropy(logits, jnp.asarray(target, jnp.float32))), logits

    grads, logits = jax.grad(mean_loss, has_aux=True)(params)
    want = jax.tree.map(lambda w, g: w - 0.5 * g, params, grads)
    chex.assert_trees_all_close(state.params, want, rtol=1e-5, atol=1e-6)
    correct = np.argmax(logits, axis=1) == np.asarray(batch.targets)
    assert metrics["accuracy"] == correct.mean()


def test_dropout_draws_anew_each_step_and_the_same_again_after_a_resume():
    apply, params, stats = functional(Net(nnx.Rngs(0), rate=0.5))
    tx = ot.sgd(0.0)
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    start = create_state(params, stats, tx, key())
    losses, state = [], start
    for _ in range(3):
        state, metrics = step(state, batch_of())
        losses.append(float(metrics["loss"]))
    assert len(set(losses)) == 3
    resumed, _ = step(start, batch_of())
    assert float(step(resumed, batch_of())[1]["loss"]) == losses[1]


def test_drop_path_on_a_mesh_is_that_of_one_device():
    model = ResNet(
        3,
        stages=(1, 1),
        block=BasicBlock,
        stem="cifar",
        width=2,
        drop_path=0.5,
        rngs=nnx.Rngs(0),
    )
    apply, params, stats = functional(model, preprocess=lambda x: x.astype(jnp.float32))
    rng = np.random.default_rng(0)
    batch = Batch(
        jnp.asarray(rng.integers(0, 256, (16, 8, 8, 3)), jnp.uint8),
        jnp.asarray(rng.integers(0, 3, 16)),
    )
    tx = ot.sgd(0.1)
    step = make_train_step(apply, cross_entropy, tx)
    state = create_state(params, stats, tx, key())
    _, alone = jax.jit(step)(state, batch)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    compiled, placed = compile_step_on_mesh(step, mesh, state)
    _, metrics = compiled(placed, batch)
    for name in ("loss", "gradient_norm"):
        assert metrics[name] == pytest.approx(float(alone[name]), rel=1e-4)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_network_learns_at_each_precision(name):
    chosen = policy(name)
    model = ResNet9(3, width=2, **chosen.of_network, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    images = 80 * labels[:, None, None, None] + rng.integers(0, 60, (24, 8, 8, 3))
    batch = Batch(jnp.asarray(images, jnp.float32) / 255, jnp.asarray(labels))
    tx = chosen.optimizer(ot.sgd(0.1, momentum=0.9))
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    state = create_state(params, stats, tx, key())
    losses = []
    for _ in range(20):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[0] == pytest.approx(np.log(3), abs=0.7)  # not multiplied by the scale
    assert losses[-1] < 0.5 * losses[0]
    for tree in (state.params, state.batch_stats):
        assert {x.dtype for x in jax.tree.leaves(tree)} == {jnp.dtype("float32")}


def test_a_loss_scale_changes_neither_the_step_nor_what_is_reported():
    for inner in (ot.sgd(0.5), ot.sam(ot.sgd(0.5), 0.1)):
        plain, metrics = one_step(Net(nnx.Rngs(0)), inner)
        tx = ot.dynamic_loss_scale(inner, init_scale=2.0**12)
        scaled, reported = one_step(Net(nnx.Rngs(0)), tx)
        chex.assert_trees_all_close(scaled.params, plain.params, rtol=1e-5, atol=1e-7)
        for name in metrics:
            assert reported[name] == pytest.approx(float(metrics[name]), rel=1e-5)


def test_a_step_that_overflows_is_left_out_with_its_statistics():
    half = policy("float16")
    net = Net(nnx.Rngs(0), **half.of_network)
    apply, params, stats = functional(net)
    tx = ot.dynamic_loss_scale(ot.sgd(0.5), init_scale=2.0**24, backoff_factor=2.0**-12)
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    start = create_state(params, stats, tx, key())
    state, metrics = step(start, batch_of())
    assert not metrics["last_finite"]
    assert not np.isfinite(metrics["gradient_norm"])
    assert np.isfinite(metrics["loss"])
    chex.assert_trees_all_equal(state.params, start.params)
    chex.assert_trees_all_equal(state.batch_stats, start.batch_stats)
    state, metrics = step(state, batch_of())
    assert metrics["last_finite"]
    assert np.isfinite(metrics["gradient_norm"])
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), state, start)
    assert all(jax.tree.leaves(changed.batch_stats))


def test_16_bit_parameters_move_by_less_than_their_last_place():
    """Without masters 1 - 0.001 stays 1 in bfloat16."""
    low = Policy(param=jnp.bfloat16, compute=jnp.bfloat16)
    kernel = Net(nnx.Rngs(0), **low.of_network).dense.kernel[...]
    assert kernel.dtype == jnp.bfloat16
    moved = {}
    for masters in (False, True):
        tx = low.optimizer(ot.sgd(1e-4)) if masters else ot.sgd(1e-4)
        apply, params, stats = functional(Net(nnx.Rngs(0), **low.of_network))
        step = jax.jit(make_train_step(apply, cross_entropy, tx))
        state = create_state(params, stats, tx, key())
        for _ in range(50):
            state, _ = step(state, batch_of())
        moved[masters] = np.mean(state.params["dense"]["kernel"] != kernel)
        assert state.params["dense"]["kernel"].dtype == jnp.bfloat16
    assert moved[True] > 3 * moved[False]


def test_a_policy_is_a_value():
    assert policy("float32") == Policy()
    assert hash(policy("bfloat16")) == hash(Policy(compute=jnp.dtype("bfloat16")))
    assert policy("bfloat16").of_network == {
        "dtype": jnp.dtype("bfloat16"),
        "param_dtype": jnp.dtype("float32"),
    }
    tx = ot.sgd(0.1)
    assert policy("bfloat16").optimizer(tx) is tx
    with pytest.raises(ValueError, match=r"name must be float32, .*got 'fp16'"):
        policy("fp16")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: ot.dynamic_loss_scale(tx),
        lambda tx: ot.dynamic_loss_scale(ot.sam(ot.skip_nonfinite(tx), 0.1)),
        lambda tx: ot.accumulate(ot.skip_nonfinite(tx), 2),
    ],
    ids=["scale", "scale, sam, skip", "accumulate, skip"],
)
def test_statistics_of_a_bad_batch_are_left_out_and_of_a_good_one_kept(wrap):
    """Whatever an inner wrapper said of an earlier step."""
    tx = wrap(ot.sgd(0.1))
    apply, params, stats = functional(Net(nnx.Rngs(0)))
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    state = create_state(params, stats, tx, key())
    bad = batch_of()._replace(inputs=jnp.full((16, 2, 2, 3), jnp.nan))
    for batch, is_good in ((bad, False), (batch_of(), True), (batch_of(), True)) * 2:
        new, _ = step(state, batch)
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), new, state).batch_stats
        assert set(jax.tree.leaves(moved)) == {is_good}
        state = new
    assert np.isfinite(jax.tree.leaves(state.params)[0]).all()


def test_kernels_in_float16_need_a_loss_scale_too():
    tx = Policy(param=jnp.dtype("float16")).optimizer(ot.sgd(0.1))
    assert ot.loss_scale(tx.init(jnp.ones(2, jnp.float16))) == 2.0**15


def test_evaluation_in_float16_survives_a_large_running_variance():
    """Cast to float16 a variance of 1e5 is infinite, and its channel dead."""
    model = ResNet9(3, width=2, **policy("float16").of_network, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    stats["prep"]["norm"]["var"] = jnp.full(2, 1e5)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    features = [
        apply(params, stats, factor * images, train=False)[0] for factor in (1, 100)
    ]
    assert (jnp.abs(features[0] - features[1]) > 1e-3).any()

"""Hints: the loss and its gradient against NumPy, what is trained, and both stages."""

import functools
import inspect
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.losses import cross_entropy, distillation
from optix_tricks.training import (
    Batch,
    LayerOutput,
    create_state,
    functional,
    hint_loss,
    make_train_step,
    teacher_labels,
)

unchecked = inspect.unwrap(hint_loss)


# Not truncated, as nnx's own: that takes a second to compile for each shape.
NORMAL = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")
Linear = functools.partial(nnx.Linear, kernel_init=NORMAL)
Conv = functools.partial(nnx.Conv, kernel_init=NORMAL)


class Deep(nnx.Module):
    """Linear layers with tanh between; thin and deep, or wide and shallow."""

    def __init__(self, *widths, seed=0):
        rngs = nnx.Rngs(seed)
        pairs = itertools.pairwise(widths)
        self.layers = nnx.List([Linear(n, m, rngs=rngs) for n, m in pairs])

    def __call__(self, x, *, train):
        for layer in self.layers[:-1]:
            x = jnp.tanh(layer(x))
        return self.layers[-1](x)


class Convolutions(nnx.Module):
    def __init__(self, width, seed=0):
        rngs = nnx.Rngs(seed)
        self.conv = Conv(3, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.head = Linear(width, 2, rngs=rngs)

    def __call__(self, x, *, train):
        x = nnx.relu(self.norm(self.conv(x), use_running_average=not train))
        return self.head(x.mean(axis=(1, 2)))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 6, 3), (1, 1)])
def test_loss_and_gradient_are_the_formula(shape):
    regressed, hint = normal(*shape), normal(*shape, seed=1)
    difference = np.asarray(regressed, np.float64) - np.asarray(hint, np.float64)
    expected = [(example**2).sum() / 2 for example in difference]
    np.testing.assert_allclose(hint_loss(regressed, hint), expected, rtol=1e-5)
    gradients = jax.grad(lambda r, h: hint_loss(r, h).sum(), argnums=(0, 1))(
        regressed, hint
    )
    np.testing.assert_allclose(gradients[0], difference, rtol=1e-5, atol=1e-6)
    assert not gradients[1].any()
    assert not hint_loss(hint, hint).any()
    assert not jax.grad(lambda r: hint_loss(r, hint).sum())(hint).any()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    """Squares of 300 are beyond float16."""
    regressed, hint = (300 * normal(4, 9, seed=s).astype(dtype) for s in (0, 1))
    loss = hint_loss(regressed, hint)
    assert loss.dtype == jnp.float32
    wide = hint_loss(regressed.astype(jnp.float32), hint.astype(jnp.float32))
    np.testing.assert_allclose(loss, wide, rtol=1e-6)


def test_jit_vmap_and_float64():
    regressed, hint = normal(3, 4, 5), normal(3, 4, 5, seed=1)
    mapped = jax.vmap(hint_loss)(regressed, hint)
    assert mapped.shape == (3, 4)
    np.testing.assert_allclose(mapped[1], jax.jit(hint_loss)(regressed[1], hint[1]))
    with jax.enable_x64(True):
        wide = hint_loss(jnp.ones((2, 3), jnp.float64), jnp.zeros((2, 3), jnp.bfloat16))
        assert wide.dtype == jnp.float64


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (jnp.zeros((4, 2)), r"float32\[4, 3\], got float32\[4, 2\]; bring"),
        (jnp.zeros((4, 3), int), r"got int32\[4, 3\]"),
        (jnp.zeros(()), r"got float32\[\]"),
    ],
)
def test_bad_hints_raise_when_traced(hint, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(unchecked, jnp.zeros((4, 3)), hint)


def test_an_unknown_layer_raises_and_names_those_there_are():
    with pytest.raises(ValueError, match=r"got 'layers.7'; it has .*layers.0"):
        LayerOutput(Deep(2, 3, 2), "layers.7")


def test_the_gradient_is_the_chain_rule_and_zero_behind_the_guided_layer():
    """tanh(x A) B R against the hint; by A, B and R in NumPy."""
    student, regressor = Deep(5, 4, 3, 2), Linear(3, 6, rngs=nnx.Rngs(9))
    network = LayerOutput(student, "layers.1", regressor=regressor)
    apply, params, stats = functional(network)
    x, hint = normal(8, 5), normal(8, 6, seed=1)

    @jax.jit
    @jax.grad
    def gradient(params):
        regressed, _ = apply(params, stats, x, train=True)
        return jnp.mean(hint_loss(regressed, hint))

    g = gradient(params)
    layers = [params["model"]["layers"][i] for i in range(2)] + [params["regressor"]]
    a, b, r = (np.asarray(layer["kernel"], np.float64) for layer in layers)
    hidden = np.tanh(np.asarray(x, np.float64) @ a)  # biases are zero
    error = (hidden @ b @ r - np.asarray(hint)) / 8
    by_hidden = error @ r.T @ b.T * (1 - hidden**2)
    expected = [np.asarray(x).T @ by_hidden, hidden.T @ error @ r.T]
    expected.append((hidden @ b).T @ error)
    ours = [g["model"]["layers"][0], g["model"]["layers"][1], g["regressor"]]
    for layer, kernel in zip(ours, expected, strict=True):
        np.testing.assert_allclose(layer["kernel"], kernel, rtol=2e-4, atol=1e-6)
    assert not g["model"]["layers"][2]["kernel"].any()
    assert not g["model"]["layers"][2]["bias"].any()


def test_the_step_sees_the_teacher_on_the_augmented_images_in_evaluation_mode():
    teacher, student = Convolutions(6, seed=1), Convolutions(4)
    teacher.norm.mean.set_value(jnp.arange(6.0))
    hint = LayerOutput(teacher, "norm")
    regressor = Conv(4, 6, (1, 1), rngs=nnx.Rngs(2))
    apply, params, stats = functional(LayerOutput(student, "norm", regressor=regressor))

    def darken(key, images):
        return images / 2

    mix = teacher_labels(*functional(hint))
    tx = optax.sgd(0.01)
    step = jax.jit(make_train_step(apply, hint_loss, tx, augment=darken, mix=mix))
    state = create_state(params, stats, tx, jax.random.key(0))
    images, labels = normal(4, 5, 5, 3), jnp.zeros(4, int)
    new, metrics = step(state, Batch(images, labels))

    x, y = (np.asarray(net.conv(images / 2), np.float64) for net in (student, teacher))
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    x = x @ np.asarray(regressor.kernel[...])[0, 0]  # the bias is zero
    y = (y - np.arange(6)) / np.sqrt(1 + 1e-5)
    expected = ((x - y) ** 2).sum() / 2 / 4
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)
    chex.assert_trees_all_equal(new.params["model"]["head"], params["model"]["head"])
    moved = new.params["model"]["conv"]["kernel"] != params["model"]["conv"]["kernel"]
    assert moved.all()


def trained(apply, params, stats, batch, loss, *, steps, mix=None, rate=0.1):
    tx = optax.sgd(rate, momentum=0.9)
    step = jax.jit(make_train_step(apply, loss, tx, mix=mix))
    state = create_state(params, stats, tx, jax.random.key(0))
    for _ in range(steps):
        state, metrics = step(state, batch)
    return state, metrics


def test_a_hint_shows_a_deep_thin_student_what_labels_do_not():
    """Both stages; the teacher's hidden layer holds the answer, the start does not."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(256, 2)).astype(np.float32)
    batch = Batch(jnp.asarray(x), jnp.asarray((x[:, 0] * x[:, 1] > 0).astype(np.int32)))
    teacher = Deep(2, 32, 2, seed=1)
    taught, at_end = trained(
        *functional(teacher), batch, cross_entropy, steps=200, rate=0.5
    )
    assert at_end["accuracy"] > 0.97
    nnx.update(teacher, taught.params)

    student = Deep(2, 8, 8, 8, 8, 2)
    for layer in student.layers:
        layer.kernel.set_value(0.1 * layer.kernel[...])  # a poor start
    apply, params, stats = functional(student)
    regressor = Linear(8, 32, rngs=nnx.Rngs(3))
    guided = functional(LayerOutput(student, "layers.2", regressor=regressor))
    hints = teacher_labels(*functional(LayerOutput(teacher, "layers.0")))
    first, _ = trained(*guided, batch, hint_loss, steps=200, mix=hints, rate=0.01)
    logits = teacher_labels(*functional(teacher))

    def soft(z, t):
        return distillation(z, jax.nn.softmax(t), t, temperature=2.0, alpha=0.0)

    kinds = (params, first.params["model"])
    plain, hinted = (
        trained(apply, p, stats, batch, soft, steps=200, mix=logits)[1]["accuracy"]
        for p in kinds
    )
    assert hinted > 0.9
    assert plain < 0.7


def test_a_hint_that_is_met_changes_nothing():
    """A student that is the teacher, and the identity as regressor, is at the optimum."""
    teacher = Deep(3, 4, 2)
    mix = teacher_labels(*functional(LayerOutput(teacher, "layers.0")))
    apply, params, stats = functional(LayerOutput(teacher, "layers.0"))
    batch = Batch(normal(8, 3), jnp.zeros(8, int))
    state, metrics = trained(apply, params, stats, batch, hint_loss, steps=1, mix=mix)
    assert metrics["loss"] == 0
    chex.assert_trees_all_equal(state.params, params)

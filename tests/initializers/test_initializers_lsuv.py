import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.initializers import lsuv, normal
from optix_tricks.layers import (
    SpectralNorm,
    WeightNorm,
    WSConv,
    layer_outputs,
    named_layers,
)
from optix_tricks.training import ResNet9

unchecked = inspect.unwrap(lsuv)


def mlp(widths=(12, 12, 12, 12), nonlinearity=nnx.relu, **options):
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers += [nnx.Linear(inputs, outputs, rngs=nnx.Rngs(i), **options), nonlinearity]
    return nnx.Sequential(*layers[:-1])


def batch(n=64, width=12, seed=0):
    return 3 * jax.random.normal(jax.random.key(seed), (n, width)) + 1


def by_hand(x, kernels):
    """Variances before each scaling, and the kernels after, in NumPy float64."""
    before, scaled = [], []
    for w in kernels:
        y = x @ w
        before.append(y.var())
        scaled.append(w / np.sqrt(y.var()))
        x = np.maximum(y / np.sqrt(y.var()), 0)
    return before, scaled


def test_is_the_algorithm_from_given_kernels():
    model, x = mlp(), batch()
    kernels = [np.asarray(layer.kernel, np.float64) for layer in model.layers[::2]]
    before, scaled = by_hand(np.asarray(x, np.float64), kernels)
    new, report = lsuv(model, x, key=None, tolerance=1e-3)
    for layer, expected in zip(new.layers[::2], scaled, strict=True):
        np.testing.assert_allclose(layer.kernel[...], expected, rtol=1e-4)
    np.testing.assert_allclose([r.variance_before for r in report], before, rtol=1e-4)
    for layer, given in zip(model.layers[::2], kernels, strict=True):
        np.testing.assert_array_equal(layer.kernel[...], given)  # ours was not touched


def test_kernels_are_orthonormal_times_a_scale_and_variances_one():
    new, report = lsuv(mlp((12, 16, 5)), batch(), key=jax.random.key(1), tolerance=0.01)
    for layer in new.layers[::2]:
        w = np.asarray(layer.kernel, np.float64)
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(gram)), atol=1e-5)
    assert [row.path for row in report] == ["layers.0", "layers.2"]
    assert all(row.iterations == 1 and row.converged for row in report)


def test_resnet9_with_batch_norm():
    shapes = nnx.eval_shape(lambda: ResNet9(3, width=4, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(shapes)
    model = nnx.merge(graph, jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), state))
    images = jax.random.normal(jax.random.key(2), (16, 8, 8, 3))
    new, report = lsuv(model, images, key=jax.random.key(3), train=True)
    given = dict(nnx.to_flat_state(nnx.state(model)))
    after = dict(nnx.to_flat_state(nnx.state(new)))
    changed = [p for p, x in after.items() if not np.array_equal(x[...], given[p][...])]
    assert all(path[-1] == "kernel" for path in changed)
    assert len(report) == len(changed) == 9
    measured = jax.jit(
        lambda state: layer_outputs(
            nnx.merge(nnx.graphdef(new), state, copy=True), images, train=True
        )[1]
    )(nnx.state(new))
    assert {row.path for row in report} == set(named_layers(new)) == set(measured)
    for row in report:
        variance = np.asarray(measured[row.path], np.float64).var()
        np.testing.assert_allclose(row.variance_after, variance, rtol=1e-4)
        assert row.converged
        assert abs(variance - 1) <= 0.1
        assert row.iterations == (abs(row.variance_before - 1) > 0.1)
    assert [row.path for row in report][:2] == ["prep.conv", "layer1.conv"]
    assert report[-1].path == "head"


def test_unit_variances_are_left_alone():
    width = 8
    x = jnp.concatenate([jnp.eye(width), -jnp.eye(width)]) * jnp.sqrt(width)
    model = mlp((width, width, width), nonlinearity=lambda x: x)
    new, report = lsuv(model, x, key=jax.random.key(0), tolerance=1e-3)
    assert [row.iterations for row in report] == [0, 0]
    again, report = lsuv(new, x, key=None, tolerance=1e-3)
    assert [row.iterations for row in report] == [0, 0]
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again), nnx.state(new))


def test_a_deep_tanh_net_keeps_its_variance_to_the_end():
    x = batch()
    small = mlp((12,) * 7, jnp.tanh, kernel_init=normal(0.01))
    new, _ = lsuv(small, x, key=jax.random.key(0))
    assert small(x).var() < 1e-10
    assert 0.9 < new(x).var() < 1.1


def test_biases_need_iterations_or_do_not_converge():
    model = mlp((12, 12), bias_init=normal(0.5))
    _, (row,) = lsuv(model, batch(), key=None, tolerance=0.01)
    assert 1 < row.iterations < 10
    assert row.converged


def test_what_does_not_converge_keeps_its_last_good_scale():
    """Biases of more variance than 1: shrinking the kernel does nothing in the end."""
    model = mlp((12, 12), bias_init=normal(2.0))
    x = np.asarray(batch(), np.float64)
    w, bias = (np.asarray(p, np.float64) for p in jax.tree.leaves(nnx.state(model))[::-1])
    scale, variances = 1.0, [(x @ w + bias).var()]
    while True:
        smaller = scale / np.sqrt(variances[-1])
        variance = (x @ (smaller * w) + bias).var()
        if variance - 1 > 0.9 * (variances[-1] - 1):
            break
        scale, variances = smaller, [*variances, variance]
    new, (row,) = lsuv(model, batch(), key=None)
    assert not row.converged
    assert 0 < row.iterations == len(variances) - 1 < 10
    np.testing.assert_allclose(new.layers[0].kernel[...], scale * w, rtol=1e-4)
    np.testing.assert_allclose(row.variance_after, variances[-1], rtol=1e-4)


def test_bfloat16_kernels_stay_bfloat16():
    model = mlp((12, 6), param_dtype=jnp.bfloat16, dtype=jnp.bfloat16)
    x = batch()
    new, (row,) = lsuv(model, x, key=jax.random.key(0), tolerance=0.02)
    assert new.layers[0].kernel.dtype == jnp.bfloat16
    assert row.converged
    assert abs(np.asarray(new(x), np.float64).var() - 1) <= 0.02


def test_layers_with_several_feature_axes_and_layers_not_called():
    class Model(nnx.Module):
        def __init__(self):
            self.unused = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
            self.heads = nnx.LinearGeneral(12, (3, 2), rngs=nnx.Rngs(1))

        def __call__(self, x):
            return self.heads(x)

    model = Model()
    new, (row,) = lsuv(model, batch(), key=jax.random.key(0))
    assert row.path == "heads"
    w = np.asarray(new.heads.kernel, np.float64).reshape(12, 6)
    np.testing.assert_allclose(w.T @ w / (w.T @ w)[0, 0], np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(new.unused.kernel, model.unused.kernel)


def test_no_variance_raises():
    x = batch()
    dead = nnx.Sequential(
        nnx.Linear(12, 12, rngs=nnx.Rngs(0)),
        lambda y: 0 * y,
        nnx.Linear(12, 12, rngs=nnx.Rngs(0)),
    )
    message = "output of layer 'layers.2' must have a positive, finite variance .*got 0.0"
    with pytest.raises(ValueError, match=message):
        lsuv(dead, x, key=None)
    with pytest.raises(ValueError, match=r"layer 'layers\.0' .*got nan"):
        lsuv(mlp(), x.at[0, 0].set(jnp.nan), key=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be positive, got 0.0"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
    ],
)
def test_bad_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        lsuv(mlp(), batch(), key=None, **options)


def test_a_model_without_layers_raises():
    with pytest.raises(ValueError, match="at least one layer of the model, got none"):
        unchecked(nnx.Sequential(nnx.relu), batch(), key=None)


def test_a_transposed_kernel_is_orthonormal_over_its_outputs():
    model = nnx.ConvTranspose(4, 3, (2, 2), transpose_kernel=True, rngs=nnx.Rngs(0))
    batch = jax.random.normal(jax.random.key(0), (8, 5, 5, 4))
    made, _ = lsuv(model, batch, key=jax.random.key(1))
    kernel = np.asarray(made.kernel[...], np.float64)  # [2, 2, out, in]
    rows = np.moveaxis(kernel, 2, 0).reshape(3, -1)
    gram = rows @ rows.T
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(3), atol=1e-5)


class Normalised(nnx.Conv):
    """A convolution that normalises what it puts out."""

    def __call__(self, x):
        y = super().__call__(x)
        return 3 * (y - y.mean()) / y.std()


class Tied(nnx.Module):
    """A layer called twice, and another one with its kernel."""

    def __init__(self, make):
        self.first, self.last = make(0), make(1)
        self.last.kernel = self.first.kernel

    def __call__(self, x):
        return self.last(self.first(self.first(x)))


@pytest.mark.parametrize("key", [None, jax.random.key(0)], ids=["kept", "drawn"])
def test_a_kernel_whose_scale_has_no_effect_is_left_alone(key):
    def conv(kind, seed, **options):
        return kind(6, 6, (3, 3), use_bias=False, rngs=nnx.Rngs(seed), **options)

    without = {
        "layers.0": conv(WSConv, 0),
        "layers.1": conv(WSConv, 1, scaled=True, epsilon=1e-4),
        "layers.2.layer": WeightNorm(conv(nnx.Conv, 2)),
        "layers.3.layer": SpectralNorm(conv(nnx.Conv, 3), rngs=nnx.Rngs(3)),
        "layers.4": conv(Normalised, 4),
    }
    plain = conv(nnx.Conv, 5)
    model = nnx.Sequential(*without.values(), plain)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6, 6, 6)), jnp.float32)
    new, report = lsuv(model, x, key=key, tolerance=0.01)
    given, after = (named_layers(m) for m in (model, new))
    for row in report[:-1]:
        assert row.left_alone == "its scale has no effect"
        assert row.iterations == 0
        assert row.converged == (abs(row.variance_after - 1) <= 0.01)
        np.testing.assert_array_equal(after[row.path].kernel, given[row.path].kernel)
    assert [row.path for row in report[:-1]] == list(without)
    assert abs(report[0].variance_after - 1) > 0.1  # what was scaled for ever before
    assert report[-1].left_alone == ""
    assert report[-1].converged


def test_a_shared_kernel_is_scaled_once():
    model = Tied(lambda seed: nnx.Linear(12, 12, rngs=nnx.Rngs(seed)))
    new, (first, last) = lsuv(model, batch(), key=None, tolerance=0.01)
    assert new.last.kernel is new.first.kernel
    assert (last.path, last.left_alone) == ("last", "its kernel is that of first")
    assert (last.iterations, first.left_alone) == (0, "")
    twice = np.asarray(batch(), np.float64) @ np.asarray(new.first.kernel, np.float64)
    twice = twice @ np.asarray(new.first.kernel, np.float64)
    np.testing.assert_allclose(first.variance_after, twice.var(), rtol=1e-4)
    assert first.converged
    assert first.iterations == 2  # the first one finds the fourth power


def test_one_scaling_may_be_the_last_and_at_the_tolerance_there_is_none():
    model = mlp((12, 12), bias_init=normal(0.5))
    once, (first,) = lsuv(model, batch(), key=None, tolerance=0.01, max_iterations=1)
    assert first.iterations == 1
    assert not first.converged
    kernel = np.asarray(model.layers[0].kernel, np.float64)
    want = kernel / np.sqrt(first.variance_before)
    np.testing.assert_allclose(once.layers[0].kernel[...], want, rtol=1e-5)
    as_far = abs(first.variance_before - 1)
    _, (kept,) = lsuv(model, batch(), key=None, tolerance=as_far)
    assert (kept.iterations, kept.converged) == (0, True)

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.layers import SpectralNorm
from optix_tricks.training import functional


def linear(seed=0, **options):
    return nnx.Linear(4, 3, rngs=nnx.Rngs(seed), **options)


def normed_linear(seed=0, n_steps=1, **options):
    return SpectralNorm(linear(seed, **options), n_steps=n_steps, rngs=nnx.Rngs(seed + 1))


def example(seed=0):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    return jnp.asarray(x, jnp.float32), jnp.asarray(target, jnp.float32)


def loss(model, x, target):
    return 0.5 * jnp.sum((model(x) - target) ** 2)


def top(w):
    return np.linalg.svd(np.asarray(w, np.float64), compute_uv=False)[0]


def unit(x):
    return x / np.linalg.norm(x)


def numpy_gradient(w, u, v, x, target):
    """Of W / (uᵀ W v), for W [in, out], u [out], v [in]."""
    sigma = v @ w @ u
    residual = x @ (w / sigma) - target
    grad = x.T @ residual  # of the divided kernel
    along = (grad * w).sum() / sigma**2
    return 0.5 * (residual**2).sum(), grad / sigma - along * np.outer(v, u)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_three_steps_of_sgd_with_momentum_are_those_of_the_formula(n_steps):
    normed = normed_linear(n_steps=n_steps, use_bias=False)
    w, u, v = (
        np.asarray(z, np.float64) for z in (normed.layer.kernel, normed.u, normed.v)
    )
    trace = 0
    optimizer = nnx.Optimizer(normed, optax.sgd(0.05, momentum=0.9), wrt=nnx.Param)
    for seed in range(3):
        for _ in range(n_steps):
            u = unit(v @ w)
            v = unit(w @ u)
        x, target = example(seed)
        value, grads = nnx.value_and_grad(loss)(normed, x, target)
        want, gradient = numpy_gradient(w, u, v, np.asarray(x), np.asarray(target))
        np.testing.assert_allclose(value, want, rtol=1e-5)
        np.testing.assert_allclose(
            grads.layer.kernel[...], gradient, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(normed.u[...], u, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(normed.v[...], v, rtol=1e-4, atol=1e-5)
        trace = 0.9 * trace + gradient
        w = w - 0.05 * trace
        optimizer.update(normed, grads)
        np.testing.assert_allclose(normed.layer.kernel[...], w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        linear,
        lambda: nnx.Conv(3, 5, (3, 3), use_bias=False, rngs=nnx.Rngs(0)),
        lambda: nnx.LinearGeneral((2, 3), 4, axis=(-2, -1), rngs=nnx.Rngs(0)),
    ],
)
def test_divides_by_the_largest_singular_value(make):
    layer = make()
    normed = SpectralNorm(layer, n_steps=30, rngs=nnx.Rngs(1))
    shape = {2: (1, 4), 4: (1, 3, 3, 3), 3: (1, 2, 3)}[layer.kernel.ndim]
    x = jax.random.normal(jax.random.key(0), shape)
    sigma = top(layer.kernel[...].reshape(-1, layer.kernel.shape[-1]))
    before = np.asarray(layer.kernel[...])
    np.testing.assert_allclose(normed(x), layer(x) / sigma, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(layer.kernel[...], before)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_bounds_the_slope_whatever_the_kernels_scale(seed, factor):
    normed = normed_linear(seed, n_steps=20, use_bias=False)
    (x, _), (other, _) = example(seed), example(seed + 1)
    y = normed(x)
    distance = jnp.linalg.norm(y - normed(other), axis=-1)
    assert (distance <= 1.01 * jnp.linalg.norm(x - other, axis=-1)).all()
    normed.layer.kernel[...] *= factor
    np.testing.assert_allclose(normed(x), y, rtol=1e-3, atol=1e-4)


def test_evaluation_keeps_the_vectors_and_training_follows_the_kernel():
    normed, (x, _) = normed_linear(use_bias=False), example()
    normed.layer.kernel[...] += 0.2 * jnp.outer(jnp.arange(4.0), jnp.ones(3))
    u, v = normed.u[...], normed.v[...]
    normed.eval()
    want = x @ normed.layer.kernel[...] / (v @ normed.layer.kernel[...] @ u)
    np.testing.assert_allclose(normed(x), want, rtol=1e-5)
    nnx.view(normed, use_running_average=True)(x)
    np.testing.assert_array_equal(normed.v[...], v)
    normed(x, update_stats=True)
    assert np.abs(normed.v[...] - v).max() > 1e-3
    normed.train()
    for _ in range(30):
        y = normed(x)
    want = x @ normed.layer.kernel[...] / top(normed.layer.kernel[...])
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normed(x, update_stats=False), want, rtol=1e-5, atol=1e-6)


def test_a_kernel_of_zeros_stays_zeros_and_can_grow():
    normed, (x, target) = normed_linear(kernel_init=nnx.initializers.zeros), example()
    value, grads = nnx.value_and_grad(loss)(normed, x, target)
    assert np.isfinite(value)
    np.testing.assert_array_equal(normed(x), np.zeros((5, 3)))
    gradient = grads.layer.kernel[...]
    np.testing.assert_allclose(gradient, -(x.T @ target), rtol=1e-5, atol=1e-6)
    normed.layer.kernel[...] -= gradient
    for _ in range(30):
        y = normed(x)
    want = -(x @ gradient) / top(gradient)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_kernel_in_half_precision_is_divided_in_float32(dtype):
    normed = normed_linear(n_steps=20, param_dtype=dtype, use_bias=False)
    assert normed.u[...].dtype == normed.v[...].dtype == jnp.float32
    x = jnp.eye(4, dtype=dtype)
    w = normed(x)
    assert w.dtype == dtype
    kernel = np.asarray(normed.layer.kernel, np.float64)
    want = jnp.asarray(kernel / top(kernel), dtype)
    close = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(w.astype(float), want.astype(float), rtol=close)


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        conv = nnx.Conv(3, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs)
        self.conv = SpectralNorm(conv, rngs=rngs)
        self.head = SpectralNorm(nnx.Linear(4, 2, rngs=rngs), rngs=rngs)

    def __call__(self, x, *, train):
        x = nnx.relu(self.conv(x, update_stats=train))
        return self.head(jnp.mean(x, axis=(1, 2)), update_stats=train)


def test_in_a_net_its_vectors_are_batch_statistics():
    apply, params, stats = functional(Net())
    assert set(stats["conv"]) == {"u", "v"}
    images = jax.random.normal(jax.random.key(0), (4, 5, 5, 3))

    @jax.jit
    def step(params, stats):
        def total(params):
            y, after = apply(params, stats, images, train=True)
            return jnp.sum(y), after

        grads, after = jax.grad(total, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), after

    moved, after = step(*step(params, stats))
    for was, now in zip(*map(jax.tree.leaves, (params, moved)), strict=True):
        assert np.abs(was - now).max() > 0
    assert np.abs(after["conv"]["v"] - stats["conv"]["v"]).max() > 1e-6
    _, same = apply(moved, after, images, train=False)
    jax.tree.map(np.testing.assert_array_equal, same, after)


def test_vmap_over_models():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def create(rngs):
        return SpectralNorm(nnx.Linear(4, 3, rngs=rngs), rngs=rngs)

    models, (x, _) = create(nnx.Rngs(0)), example()
    graph, state = nnx.split(models)

    def call(state, x):
        model = nnx.merge(graph, state, copy=True)
        return model(x), model.v[...]

    y, v = jax.vmap(call, in_axes=(0, None))(state, x)
    for i in range(3):
        want = call(jax.tree.map(lambda leaf, i=i: leaf[i], state), x)
        np.testing.assert_allclose(y[i], want[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(v[i], want[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1, got 0"),
        ({"epsilon": -1.0}, r"epsilon must be positive, got -1\.0"),
    ],
)
def test_bad_arguments_raise(options, message):
    with pytest.raises(ValueError, match=message):
        SpectralNorm(linear(), **options, rngs=nnx.Rngs(0))


def test_a_layer_without_kernel_raises():
    with pytest.raises(ValueError, match=r"`kernel` of two .* got LayerNorm"):
        SpectralNorm(nnx.LayerNorm(3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

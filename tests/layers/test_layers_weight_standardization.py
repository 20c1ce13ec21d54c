import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from optix_tricks.layers import WSConv
from optix_tricks.training import functional

EPSILON = 1e-6


def standardised(k, epsilon=EPSILON):
    axes = tuple(range(k.ndim - 1))
    centred = k - k.mean(axes)
    return centred / np.sqrt((centred**2).mean(axes) + epsilon)


def patches(size=2, channels=3):
    """A convolution of 2x2 over images of 2x2 is a matrix product."""
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(6, size, size, channels)), rng.normal(size=(6, 4))
    return jnp.asarray(x, jnp.float32), jnp.asarray(target, jnp.float32)


def conv(**options):
    given = {"padding": "VALID", "use_bias": False, "rngs": nnx.Rngs(0)} | options
    return WSConv(3, 4, (2, 2), **given)


def loss(model, x, target):
    return 0.5 * jnp.sum((model(x)[:, 0, 0] - target) ** 2)


OPTIONS = [
    {},
    {"strides": 2, "padding": "SAME"},
    {"feature_group_count": 3, "in_features": 6, "out_features": 6},
    {"kernel_dilation": 2, "use_bias": False},
    {"epsilon": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_is_the_plain_convolution_of_the_standardised_kernel(options):
    options = dict(options)
    sizes = options.pop("in_features", 3), options.pop("out_features", 4), (3, 3)
    ws = WSConv(*sizes, **options, rngs=nnx.Rngs(0))
    epsilon = options.pop("epsilon", EPSILON)
    plain = nnx.Conv(*sizes, **options, rngs=nnx.Rngs(0))
    plain.kernel[...] = jnp.asarray(
        standardised(np.asarray(plain.kernel, np.float64), epsilon), jnp.float32
    )
    before = np.asarray(ws.kernel[...])
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, sizes[0]))
    np.testing.assert_allclose(ws(x), plain(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ws.kernel[...], before)


@pytest.mark.parametrize("scaled", [False, True])
def test_three_steps_of_sgd_with_momentum_are_those_of_the_formula(scaled):
    model, (x, target) = conv(scaled=scaled), patches()
    rows, wanted = np.asarray(x, np.float64).reshape(6, 12), np.asarray(target)
    k = np.asarray(model.kernel, np.float64).reshape(12, 4)
    gain, trace, gain_trace = np.ones(4), 0, 0
    learning_rate = 1e-3
    optimizer = nnx.Optimizer(
        model, optax.sgd(learning_rate, momentum=0.9), wrt=nnx.Param
    )
    for _ in range(3):
        factor = gain / np.sqrt(12) if scaled else 1
        spread = np.sqrt(k.var(0) + EPSILON)
        z = (k - k.mean(0)) / spread
        residual = rows @ (factor * z) - wanted
        grad_w = rows.T @ residual
        grad_z = factor * grad_w
        gradient = (grad_z - grad_z.mean(0) - z * (grad_z * z).mean(0)) / spread
        value, grads = nnx.value_and_grad(loss)(model, x, target)
        np.testing.assert_allclose(value, 0.5 * (residual**2).sum(), rtol=1e-5)
        got = grads.kernel[...].reshape(12, 4)
        size = np.abs(gradient).max()
        np.testing.assert_allclose(got, gradient, atol=1e-5 * size)
        trace = 0.9 * trace + gradient
        k = k - learning_rate * trace
        if scaled:
            gain_gradient = (grad_w * z).sum(0) / np.sqrt(12)
            np.testing.assert_allclose(grads.gain[...], gain_gradient, rtol=1e-4)
            gain_trace = 0.9 * gain_trace + gain_gradient
            gain = gain - learning_rate * gain_trace
        optimizer.update(model, grads)
        np.testing.assert_allclose(
            model.kernel[...].reshape(12, 4), k, rtol=1e-4, atol=1e-5
        )
        if scaled:
            np.testing.assert_allclose(model.gain[...], gain, rtol=1e-5)


@given(st.integers(0, 10**6), st.floats(0.1, 100), st.floats(-10, 10))
def test_scale_and_mean_of_the_kernel_change_nothing(seed, scale, shift):
    model, x = conv(epsilon=1e-12, rngs=nnx.Rngs(seed)), patches()[0]
    y = model(x)
    model.kernel[...] = scale * model.kernel[...] + shift
    np.testing.assert_allclose(model(x), y, rtol=1e-2, atol=1e-2)


def test_scaled_keeps_the_variance_of_its_input_and_plain_does_not():
    x = jax.random.normal(jax.random.key(0), (64, 4, 4, 64))
    for scaled, variance in ((True, 1), (False, 64 * 9)):
        model = WSConv(64, 64, (3, 3), padding="VALID", scaled=scaled, rngs=nnx.Rngs(0))
        model.kernel[...] *= 7
        # 64 units of 256 nearly independent outputs: five standard errors are 6 %.
        assert jnp.var(model(x)) == pytest.approx(variance, rel=0.06)


def test_a_constant_kernel_gives_zeros_and_finite_gradients():
    model, (x, target) = conv(kernel_init=nnx.initializers.constant(2.0)), patches()
    np.testing.assert_array_equal(model(x), np.zeros((6, 1, 1, 4)))
    gradient = nnx.grad(loss)(model, x, target).kernel[...]
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_kernel_in_half_precision_is_standardised_in_float32(dtype):
    model = conv(param_dtype=dtype, scaled=True)
    model.kernel[...] = 200 + 300 * model.kernel[...]  # squares overflow float16
    assert model.gain.dtype == dtype
    x = patches()[0].astype(dtype)
    y = model(x)
    assert y.dtype == dtype
    kernel = np.asarray(model.kernel, np.float64)
    rows = np.asarray(x, np.float64).reshape(6, 12)
    want = rows @ standardised(kernel).reshape(12, 4) / np.sqrt(12)
    close = 8 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(y[:, 0, 0].astype(float), want, atol=close)


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = WSConv(3, 4, (3, 3), scaled=True, dtype=jnp.bfloat16, rngs=rngs)
        self.norm = nnx.GroupNorm(4, num_groups=2, rngs=rngs)

    def __call__(self, x, *, train):
        return jnp.mean(self.norm(self.conv(x)), axis=(1, 2))


def test_in_a_net_as_a_pure_function():
    apply, params, stats = functional(Net())
    assert set(params["conv"]) == {"kernel", "bias", "gain"}
    images = jax.random.normal(jax.random.key(0), (4, 5, 5, 3))

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: jnp.sum(apply(p, stats, images, train=True)[0] ** 2))(
            params
        )

    grads = gradient(params)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(grads))
    assert np.abs(grads["conv"]["kernel"]).max() > 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((1, 4, (1, 1)), {}, r"fan-in of at least 2, got 1: .*\[1, 1, 1, 4\]"),
        ((4, 4, 1), {"feature_group_count": 4}, "fan-in of at least 2, got 1"),
        ((3, 4, (3, 3)), {"epsilon": 0.0}, r"epsilon must be positive, got 0\.0"),
    ],
)
def test_bad_arguments_raise(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        WSConv(*arguments, **options, rngs=nnx.Rngs(0))


def test_a_fan_in_of_two_is_the_least():
    ws = WSConv(2, 3, (1, 1), use_bias=False, rngs=nnx.Rngs(0))
    kernel = np.asarray(ws.kernel, np.float64)
    got = ws(jnp.eye(2).reshape(2, 1, 1, 2))[:, 0, 0]
    np.testing.assert_allclose(got, standardised(kernel)[0, 0], rtol=1e-5)

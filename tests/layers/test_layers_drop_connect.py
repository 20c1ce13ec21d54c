import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType

from optix_tricks.layers import DropConnect, WeightNorm

KEY = jax.random.key(3)
KINDS = pytest.mark.parametrize("per_example", [True, False])


def linear(**options):
    bias = nnx.initializers.normal(1.0)
    return nnx.Linear(4, 3, bias_init=bias, rngs=nnx.Rngs(0), **options)


def inputs(batch=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(batch, 4))
    return jnp.asarray(x, jnp.float32)


def masks_of(key, rate, batch):
    """Factors of kernel and bias, which are masked together: the bias comes first."""
    kept = np.asarray(jax.random.bernoulli(key, 1 - rate, (batch, 15)), np.float64)
    factor = kept / (1 - rate)
    return factor[:, 3:].reshape(batch, 4, 3), factor[:, :3]


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_a_mask_for_each_example_of_kernel_and_bias(rate):
    layer, x = linear(), inputs()
    y = DropConnect(layer, rate)(x, rngs=KEY)
    kernel, bias = masks_of(KEY, rate, 6)
    w, b = kernel * np.asarray(layer.kernel), bias * np.asarray(layer.bias)
    want = np.einsum("bi,bij->bj", np.asarray(x, np.float64), w) + b
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)


def test_one_mask_for_the_batch():
    layer = linear()
    dropped = DropConnect(layer, 0.5, per_example=False)
    b = dropped(jnp.zeros((1, 4)), rngs=KEY)
    w = dropped(jnp.eye(4), rngs=KEY) - b
    for got, full in ((w, layer.kernel[...]), (b[0], layer.bias[...])):
        kept = np.asarray(got) != 0
        np.testing.assert_allclose(got, np.where(kept, 2 * full, 0), rtol=1e-5, atol=1e-6)
        assert 0 < kept.sum() < kept.size
    x = inputs()
    np.testing.assert_allclose(dropped(x, rngs=KEY), x @ w + b, rtol=1e-4, atol=1e-5)


@KINDS
def test_three_steps_of_sgd_with_momentum_are_those_of_the_formula(per_example):
    layer, rate = linear(), 0.4
    dropped = DropConnect(layer, rate, per_example=per_example)
    w, b = (np.asarray(z, np.float64) for z in (layer.kernel, layer.bias))
    trace = [0, 0]
    optimizer = nnx.Optimizer(dropped, optax.sgd(0.02, momentum=0.9), wrt=nnx.Param)

    def loss(model, x, key):
        return 0.5 * jnp.sum(model(x, rngs=key) ** 2)

    for seed, key in enumerate(jax.random.split(KEY, 3)):
        x = inputs(seed=seed)
        if per_example:
            kernel, bias = masks_of(key, rate, 6)
        else:
            kept = np.asarray(jax.random.bernoulli(key, 1 - rate, (15,)), np.float64)
            kernel = np.broadcast_to(kept[3:].reshape(4, 3) / (1 - rate), (6, 4, 3))
            bias = np.broadcast_to(kept[:3] / (1 - rate), (6, 3))
        wide = np.asarray(x, np.float64)
        y = np.einsum("bi,bij->bj", wide, kernel * w) + bias * b
        value, grads = nnx.value_and_grad(loss)(dropped, x, key)
        np.testing.assert_allclose(value, 0.5 * (y**2).sum(), rtol=1e-5)
        wanted = [np.einsum("bi,bij,bj->ij", wide, kernel, y), (bias * y).sum(0)]
        found = [grads.layer.kernel[...], grads.layer.bias[...]]
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        trace = [0.9 * t + g for t, g in zip(trace, wanted, strict=True)]
        w, b = w - 0.02 * trace[0], b - 0.02 * trace[1]
        optimizer.update(dropped, grads)
        np.testing.assert_allclose(layer.kernel[...], w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.bias[...], b, rtol=1e-4, atol=1e-5)


@KINDS
def test_the_mean_over_masks_is_the_plain_layer(per_example):
    layer, x, rate, masks = linear(), inputs(2), 0.4, 4000
    dropped = DropConnect(layer, rate, per_example=per_example)
    draw = jax.jit(jax.vmap(lambda key: dropped(x, rngs=key)))
    y = draw(jax.random.split(KEY, masks))
    terms = x**2 @ layer.kernel[...] ** 2 + layer.bias[...][None] ** 2
    variance = rate / (1 - rate) * terms
    bound = 5 * jnp.sqrt(variance / masks)
    assert (jnp.abs(jnp.mean(y, axis=0) - layer(x)) < bound).all()
    np.testing.assert_allclose(jnp.var(y, axis=0), variance, rtol=0.15)


def test_examples_share_a_mask_or_have_their_own():
    x = jnp.ones((8, 4))
    own = DropConnect(linear(), 0.5)(x, rngs=KEY)
    shared = DropConnect(linear(), 0.5, per_example=False)(x, rngs=KEY)
    assert len(np.unique(own, axis=0)) > 4
    np.testing.assert_allclose(shared, jnp.broadcast_to(shared[:1], (8, 3)), rtol=1e-6)


@KINDS
def test_rate_zero_and_evaluation_are_the_plain_layer_without_a_key(per_example):
    layer, x = linear(), inputs()
    options = {"per_example": per_example}
    want = layer(x)
    np.testing.assert_array_equal(DropConnect(layer, 0.0, **options)(x), want)
    dropped = DropConnect(layer, 0.5, **options, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(dropped(x, deterministic=True), want)
    dropped.eval()
    np.testing.assert_array_equal(dropped(x), want)
    assert dropped.dropout.rngs.count[...] == 0
    dropped.train()
    assert (dropped(x) != want).any()
    still = nnx.view(dropped, deterministic=True)
    np.testing.assert_array_equal(still(x), want)
    with pytest.raises(ValueError, match="no `rngs` argument"):
        DropConnect(layer, 0.5, **options)(x)


@KINDS
def test_streams_go_on_under_jit(per_example):
    def create():
        return DropConnect(
            linear(), 0.5, per_example=per_example, rngs=nnx.Rngs(dropout=1)
        )

    dropped, x = create(), inputs()
    graph, params, rest = nnx.split(create(), nnx.Param, ...)

    @jax.jit
    def step(rest):
        model = nnx.merge(graph, params, rest, copy=True)
        return model(x), nnx.state(model, nnx.RngState)

    seen = []
    for _ in range(3):
        y, rest = step(rest)
        np.testing.assert_allclose(y, dropped(x), rtol=1e-5, atol=1e-6)
        seen.append(np.asarray(y))
    assert (seen[0] != seen[1]).any()
    assert (seen[1] != seen[2]).any()


LAYERS = {
    "conv": (lambda: nnx.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0)), (4, 5, 5, 2)),
    "sequence": (lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)), (4, 5, 2)),
    "no bias": (lambda: nnx.Linear(2, 3, use_bias=False, rngs=nnx.Rngs(0)), (4, 2)),
}


@KINDS
@pytest.mark.parametrize("name", LAYERS)
def test_wraps_what_has_a_kernel(name, per_example):
    make, shape = LAYERS[name]
    layer, x = make(), jax.random.normal(KEY, shape)
    dropped = DropConnect(layer, 0.5, per_example=per_example)
    y, plain = jax.jit(lambda x: (dropped(x, rngs=KEY), layer(x)))(x)
    assert y.shape == plain.shape
    assert (y != plain).any()
    if per_example:  # each example is a batch of one with a mask of its own
        alone = jax.jit(lambda x: dropped(x, rngs=KEY))(x[:1])
        np.testing.assert_allclose(alone, y[:1], rtol=1e-5, atol=1e-6)


@KINDS
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_draws_the_same_masks(per_example, dtype):
    x = inputs()
    wide = DropConnect(linear(), 0.4, per_example=per_example)(x, rngs=KEY)
    half = DropConnect(linear(dtype=dtype), 0.4, per_example=per_example)
    y = half(x.astype(dtype), rngs=KEY)
    assert y.dtype == dtype
    close = 8 * float(jnp.finfo(dtype).eps) * float(jnp.abs(wide).max())
    np.testing.assert_allclose(y.astype(jnp.float32), wide, atol=close)
    y = DropConnect(linear(param_dtype=dtype), 0.4)(x.astype(dtype), rngs=KEY)
    assert y.dtype == dtype


def test_noise_shrinks_with_the_batch_only_with_masks_per_example():
    """The variance of the batch's mean over masks, against that of one example."""
    keys, x = jax.random.split(KEY, 1000), jnp.ones((8, 4))
    for per_example, factor in ((True, 1 / 8), (False, 1)):
        dropped = DropConnect(linear(), 0.5, per_example=per_example)
        y = jax.jit(jax.vmap(lambda key, drop=dropped: drop(x, rngs=key)))(keys)
        alone = np.asarray(y)[:, 0].var(axis=0).sum()
        mean = np.asarray(y).mean(axis=1).var(axis=0).sum()
        assert mean == pytest.approx(factor * alone, rel=0.2)


@KINDS
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharding_changes_nothing(axis_type, per_example):
    dropped, x = DropConnect(linear(), 0.5, per_example=per_example), inputs(16)
    call = jax.jit(lambda x: dropped(x, rngs=KEY))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    split = jax.device_put(x, jax.NamedSharding(mesh, jax.P("batch")))
    with jax.set_mesh(mesh):
        y = call(split)
    np.testing.assert_allclose(y, call(x), rtol=1e-5, atol=1e-6)


def test_bad_arguments_raise():
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"rate must be in \[0, 1\), got {rate}"):
            DropConnect(linear(), rate)
    with pytest.raises(ValueError, match=r"`kernel` of two .* got WeightNorm"):
        DropConnect(WeightNorm(linear()), 0.5)
    with pytest.raises(ValueError, match=r"batch as first axis .* got shape \[4\]; add"):
        DropConnect(linear(), 0.5)(jnp.ones(4), rngs=KEY)

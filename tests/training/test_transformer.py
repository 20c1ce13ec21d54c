"""The transformer: a forward pass in NumPy float64, causality, counts, parts."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import layers
from optix_tricks._paths import named_leaves
from optix_tricks.training import Transformer, count_parameters, functional

SMALL = {"num_classes": 7, "length": 6, "width": 8, "depth": 2, "heads": 2}
TOKENS = np.random.default_rng(0).integers(0, 7, (3, 6)).astype(np.int32)


def small(**options):
    return functional(Transformer(**(SMALL | options), rngs=nnx.Rngs(0)))


def moved(params):
    """Parameters away from their start, where biases are 0 and scales 1."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape), params)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def forward(p, tokens, *, heads):
    """The equations position by position and head by head, in float64."""

    def norm(x, of):
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / deviation * of["scale"] + of["bias"]

    def linear(x, of):
        return x @ of["kernel"] + of["bias"]

    def gelu(x):  # by the hyperbolic tangent
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def attention(x, of):
        q, k, v = (linear(x, of[name]) for name in ("query", "key", "value"))
        y = np.zeros_like(x)
        d = x.shape[-1] // heads
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            for t in range(len(x)):
                scores = q[t, own] @ k[: t + 1, own].T / math.sqrt(d)
                y[t, own] = softmax(scores) @ v[: t + 1, own]
        return linear(y, of["out"])

    logits = []
    one = {"scale1": {"gamma": 1.0}, "scale2": {"gamma": 1.0}}
    for example in tokens:
        x = p["token_embed"]["embedding"][example]
        x = x + p["position_embed"]["embedding"][: len(example)]
        for block in (one | block for block in p["blocks"].values()):
            y = attention(norm(x, block["norm1"]), block["attention"])
            x = x + block["scale1"]["gamma"] * y
            y = gelu(linear(norm(x, block["norm2"]), block["expand"]))
            x = x + block["scale2"]["gamma"] * linear(y, block["contract"])
        logits.append(linear(norm(x, p["norm"]), p["head"]))
    return np.stack(logits)


@pytest.mark.parametrize(("length", "layer_scale"), [(6, None), (4, 0.5)])
def test_logits_are_those_of_the_equations(length, layer_scale):
    apply, params, stats = small(layer_scale=layer_scale)
    params = moved(params)
    tokens = TOKENS[:, :length]
    logits, _ = apply(params, stats, jnp.asarray(tokens), train=False)
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    want = forward(wide, tokens, heads=2)
    np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "norm",
    [
        layers.LayerNorm,
        layers.RMSNorm,
        functools.partial(layers.GroupNorm, num_groups=2),
        layers.BatchNorm,
    ],
)
def test_a_later_token_moves_no_earlier_logit(norm):
    apply, params, stats = small(norm=norm)
    params = moved(params)
    changed = TOKENS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % 7
    one, other = (
        np.asarray(apply(params, stats, jnp.asarray(x), train=False)[0])
        for x in (TOKENS, changed)
    )
    np.testing.assert_allclose(one[:, :4], other[:, :4], rtol=1e-6, atol=1e-6)
    assert (np.abs(one - other).max(axis=(0, 2))[4:] > 1e-3).all()


def test_number_of_parameters_is_that_of_the_formula():
    """By hand of one block: four projections, an MLP four times as wide, two norms."""
    _, params, _ = small()
    w, classes, length = 8, 7, 6
    block = 4 * (w * w + w) + (w * 4 * w + 4 * w) + (4 * w * w + w) + 2 * 2 * w
    ends = classes * w + length * w + 2 * w + (w * classes + classes)
    assert count_parameters(params) == 2 * block + ends


def test_the_first_logits_are_small_and_the_stream_keeps_its_size():
    """Branches end in kernels of variance 1 / (2 depth · fan in)."""
    options = {"width": 64, "depth": 8, "heads": 4}
    _, params, _ = small(**options)
    block = params["blocks"][0]
    for kernel in (block["attention"]["out"]["kernel"], block["contract"]["kernel"]):
        want = 1 / math.sqrt(2 * 8 * kernel.shape[0])
        assert np.std(kernel) == pytest.approx(want, rel=0.05)
    inner = block["expand"]["kernel"]
    assert np.std(inner) == pytest.approx(1 / math.sqrt(64), rel=0.05)


def test_logits_are_float32_and_parameters_too_under_bfloat16():
    apply, params, stats = small(dtype=jnp.bfloat16)
    wide, _, _ = small()
    tokens = jnp.asarray(TOKENS)
    logits, _ = apply(params, stats, tokens, train=False)
    assert logits.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    exact, _ = wide(params, stats, tokens, train=False)
    np.testing.assert_allclose(logits, exact, atol=0.05)
    assert not np.array_equal(logits, exact)


def test_kernels_and_embeddings_are_stored_as_asked_and_norms_in_float32():
    _, params, _ = small(param_dtype=jnp.bfloat16)
    for leaf in named_leaves(params):
        is_norm = "norm" in leaf.name
        is_head = leaf.name.startswith("head")
        want = jnp.float32 if is_norm or is_head else jnp.bfloat16
        assert leaf.value.dtype == want, leaf.name


def test_a_dropped_branch_leaves_the_stream_as_it_is():
    """At the largest rate nearly all is dropped: embeddings, the last norm, the head."""
    apply, params, stats = small(drop_path=0.999, depth=1)
    params = moved(params)
    key = jax.random.key(0)
    logits, _ = apply(params, stats, jnp.asarray(TOKENS), train=True, key=key)
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    want = forward(wide | {"blocks": {}}, TOKENS, heads=2)
    np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 8, got 3"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"length": 0}, "length must be at least 1, got 0"),
    ],
)
def test_a_wrong_number_is_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        Transformer(**(SMALL | options), rngs=nnx.Rngs(0))


def test_more_positions_than_there_are_embeddings_are_refused():
    apply, params, stats = small(length=4)
    with pytest.raises(ValueError, match="at most length=4 positions, got 6"):
        apply(params, stats, jnp.asarray(TOKENS), train=False)

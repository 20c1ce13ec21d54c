"""The MLP: a forward pass in NumPy float64, counts, outputs, norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import layers
from optix_tricks.training import MLP, count_parameters, functional

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def small(num_outputs=3, **options):
    given = {"in_features": 4, "width": 6, "depth": 2} | options
    return functional(MLP(num_outputs, **given, rngs=nnx.Rngs(0)))


def moved(params):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape), params)


def forward(p, x, *, normed=False):
    """The equations in float64; norms by the whole batch."""

    def linear(x, of):
        return x @ np.float64(of["kernel"]) + np.float64(of["bias"])

    for i, of in p["hidden"].items():
        x = linear(x, of)
        if normed:
            scale, bias = (np.float64(p["norms"][i][name]) for name in ("scale", "bias"))
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * scale + bias
        x = np.maximum(x, 0)
    return linear(x, p["head"])


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outputs_are_those_of_the_equations(depth):
    apply, params, stats = small(depth=depth)
    params = moved(params)
    outputs, _ = apply(params, stats, jnp.asarray(X), train=False)
    want = forward(params if depth else params | {"hidden": {}}, np.float64(X))
    np.testing.assert_allclose(outputs, want, rtol=1e-5, atol=1e-5)


def test_a_norm_stands_between_each_layer_and_its_relu():
    apply, params, stats = small(norm=layers.BatchNorm)
    params = moved(params)
    outputs, new = apply(params, stats, jnp.asarray(X), train=True)
    want = forward(params, np.float64(X), normed=True)
    np.testing.assert_allclose(outputs, want, rtol=1e-4, atol=1e-4)
    mean = 0.1 * (X @ np.asarray(params["hidden"][0]["kernel"])).mean(0)
    mean = mean + 0.1 * np.asarray(params["hidden"][0]["bias"])
    np.testing.assert_allclose(new["norms"][0]["mean"], mean, rtol=1e-4, atol=1e-5)


def test_one_number_has_no_axis_of_its_own():
    apply, params, stats = small(None)
    number, _ = apply(params, stats, jnp.asarray(X), train=False)
    vector, _ = small(1)[0](params, stats, jnp.asarray(X), train=False)
    assert number.shape == (5,)
    np.testing.assert_array_equal(number, vector[:, 0])


def test_an_image_is_the_vector_of_its_values():
    images = np.random.default_rng(2).normal(size=(3, 2, 2, 1)).astype(np.float32)
    apply, params, stats = small()
    one, _ = apply(params, stats, jnp.asarray(images), train=False)
    other, _ = apply(params, stats, jnp.asarray(images.reshape(3, 4)), train=False)
    np.testing.assert_array_equal(one, other)


def test_number_of_parameters_is_that_of_the_formula():
    _, params, _ = small(depth=3)
    assert count_parameters(params) == (4 + 1) * 6 + 2 * (6 + 1) * 6 + (6 + 1) * 3


def test_hidden_kernels_begin_by_he_and_the_last_by_lecun():
    _, params, _ = small(100, in_features=50, width=200)
    for kernel, variance in (
        (params["hidden"][0]["kernel"], 2 / 50),
        (params["hidden"][1]["kernel"], 2 / 200),
        (params["head"]["kernel"], 1 / 200),
    ):
        assert np.var(kernel) == pytest.approx(variance, rel=0.05)


def test_outputs_are_float32_and_parameters_too_under_bfloat16():
    apply, params, stats = small(dtype=jnp.bfloat16)
    outputs, _ = apply(params, stats, jnp.asarray(X), train=False)
    assert outputs.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    exact, _ = small()[0](params, stats, jnp.asarray(X), train=False)
    np.testing.assert_allclose(outputs, exact, atol=0.1)
    assert not np.array_equal(outputs, exact)


def test_a_wrong_number_is_one_sentence():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        small(width=0)
    with pytest.raises(ValueError, match=r"depth must be .* got -1"):
        small(depth=-1)

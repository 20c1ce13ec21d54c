"""Curvature products against dense matrices, in float64."""

from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from optix_tricks.dynamics import ggn_operator, hessian_operator


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def mlp(params, x):
    hidden = jnp.tanh(x @ params["in"]["kernel"] + params["in"]["bias"].reshape(1, -1))
    return hidden @ params["out"]


def mlp_problem(examples=13, seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "in": {"kernel": rng.standard_normal((4, 5)), "bias": rng.standard_normal(5)},
        "out": rng.standard_normal((5, 3)),
    }
    x, labels = rng.standard_normal((examples, 4)), rng.integers(0, 3, examples)
    return jax.tree.map(jnp.asarray, params), (jnp.asarray(x), jnp.asarray(labels))


def cross_entropy(logits, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def mlp_loss(params, batch):
    return cross_entropy(mlp(params, batch[0]), batch[1])


def dense(matvec, params):
    """The matrix of an operator, all columns at once."""
    flat, unravel = ravel_pytree(params)
    columns = jax.vmap(matvec)(jax.vmap(unravel)(jnp.eye(flat.size)))
    return np.asarray(jax.vmap(lambda v: ravel_pytree(v)[0])(columns))


def reference_hessian(loss, params):
    flat, unravel = ravel_pytree(params)
    return np.asarray(jax.jit(jax.hessian(lambda w: loss(unravel(w))))(flat))


def close(x, y):
    np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-10)


def chunked(batch, size):
    starts = range(0, len(batch[0]), size)
    return [jax.tree.map(itemgetter(slice(i, i + size)), batch) for i in starts]


def test_the_hessian_of_logistic_regression_is_its_closed_form(x64):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((20, 6)), rng.standard_normal(6)
    y = rng.integers(0, 2, 20)

    def loss(w, batch):
        x, y = batch
        return jnp.mean(optax.sigmoid_binary_cross_entropy(x @ w, y)) + 0.05 * w @ w

    p = 1 / (1 + np.exp(-x @ w))
    expected = x.T @ np.diag(p * (1 - p)) @ x / 20 + 0.1 * np.eye(6)
    close(dense(hessian_operator(loss, w, batches=[(x, y)]), w), expected)


def test_the_hessian_of_an_mlp_is_the_dense_one(x64):
    params, batch = mlp_problem()
    H = reference_hessian(lambda p: mlp_loss(p, batch), params)
    matvec = hessian_operator(lambda p: mlp_loss(p, batch), params)
    close(dense(matvec, params), H)
    assert jax.tree.structure(matvec(params)) == jax.tree.structure(params)


def test_chunks_weighted_by_their_examples_add_up_to_the_whole(x64):
    params, batch = mlp_problem()
    chunks = chunked(batch, 5)
    assert [len(x) for x, _ in chunks] == [5, 5, 3]
    for operator in (
        lambda batches: hessian_operator(mlp_loss, params, batches=batches),
        lambda batches: ggn_operator(mlp, cross_entropy, params, batches=batches),
    ):
        whole, parts = operator([batch])(params), operator(chunks)(params)
        for x, y in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-13)


class ConvNet(nnx.Module):
    def __init__(self, rngs):
        kinds = {"param_dtype": jnp.float64, "rngs": rngs}
        self.conv = nnx.Conv(1, 2, (3, 3), strides=2, use_bias=False, **kinds)
        self.norm = nnx.BatchNorm(2, **kinds)
        self.head = nnx.Linear(8, 3, **kinds)

    def __call__(self, x, train):
        x = self.norm(self.conv(x), use_running_average=not train)
        return self.head(jax.nn.softplus(x).reshape(len(x), -1))


def conv_problem():
    graph, params, rest = nnx.split(ConvNet(nnx.Rngs(0)), nnx.Param, ...)
    rng = np.random.default_rng(1)
    rest = jax.tree.map(  # statistics of some run, not those of the batch
        lambda x: jnp.asarray(rng.uniform(0.5, 1.5, x.shape)), rest
    )
    images = jnp.asarray(rng.standard_normal((8, 4, 4, 1)))
    labels = jnp.asarray(rng.integers(0, 3, 8))

    def network(train):
        return lambda params, x: nnx.merge(graph, params, rest, copy=True)(x, train=train)

    return network, nnx.to_pure_dict(params), (images, labels)


def test_a_conv_net_with_batch_norm_and_frozen_statistics(x64):
    network, params, batch = conv_problem()
    model = network(train=False)

    def loss(params, batch):
        return cross_entropy(model(params, batch[0]), batch[1])

    H = reference_hessian(lambda p: loss(p, batch), params)
    close(dense(hessian_operator(loss, params, batches=chunked(batch, 4)), params), H)


def test_with_statistics_of_the_batch_chunks_are_another_function(x64):
    network, params, batch = conv_problem()
    model = network(train=True)

    def loss(params, batch):
        return cross_entropy(model(params, batch[0]), batch[1])

    v = jax.tree.map(jnp.ones_like, params)
    whole = hessian_operator(loss, params, batches=[batch])(v)
    parts = hessian_operator(loss, params, batches=chunked(batch, 4))(v)
    assert np.abs(parts["head"]["bias"] - whole["head"]["bias"]).max() > 1e-3


def materialised_ggn(model, loss, params, batch):
    flat, unravel = ravel_pytree(params)
    inputs, targets = batch

    @jax.jit
    def factors(flat):
        f = model(unravel(flat), inputs)
        J = jax.jacfwd(lambda w: model(unravel(w), inputs).ravel())(flat)
        return J, jax.hessian(lambda f: loss(f, targets))(f)

    J, H = map(np.asarray, factors(flat))
    return J.T @ H.reshape(len(J), len(J)) @ J


def squared_error(outputs, targets):
    return jnp.mean(jnp.sum((outputs - jnp.eye(3)[targets]) ** 2, axis=1))


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
def test_the_ggn_of_an_mlp_is_the_materialised_one(x64, loss):
    params, batch = mlp_problem()
    G = dense(ggn_operator(mlp, loss, params, batches=[batch]), params)
    close(G, materialised_ggn(mlp, loss, params, batch))
    H = reference_hessian(lambda p: loss(mlp(p, batch[0]), batch[1]), params)
    assert np.abs(G - H).max() > 1e-2
    assert np.linalg.eigvalsh(H)[0] < -1e-3
    assert np.linalg.eigvalsh(G)[0] > -1e-12


def test_the_ggn_of_a_conv_net(x64):
    network, params, batch = conv_problem()
    model = network(train=False)
    G = dense(ggn_operator(model, cross_entropy, params, batches=[batch]), params)
    close(G, materialised_ggn(model, cross_entropy, params, batch))


def test_the_ggn_of_softmax_is_the_fisher_information(x64):
    """The mean of g g' over labels drawn from the model, example by example."""
    params, (x, labels) = mlp_problem(examples=4)
    flat, unravel = ravel_pytree(params)
    log_p = np.asarray(jax.nn.log_softmax(mlp(params, x)))
    jacobian = jax.jit(jax.jacrev(lambda w: jax.nn.log_softmax(mlp(unravel(w), x))))
    scores = np.asarray(jacobian(flat))
    fisher = sum(
        np.exp(log_p[i, c]) * np.outer(scores[i, c], scores[i, c]) / 4
        for i in range(4)
        for c in range(3)
    )
    G = dense(ggn_operator(mlp, cross_entropy, params, batches=[(x, labels)]), params)
    close(G, fisher)


def test_the_ggn_of_a_linear_model_is_its_hessian(x64):
    rng = np.random.default_rng(2)
    batch = jnp.asarray(rng.standard_normal((9, 4))), jnp.asarray(rng.integers(0, 3, 9))
    params = jnp.asarray(rng.standard_normal((4, 3)))
    G = ggn_operator(lambda w, x: x @ w, cross_entropy, params, batches=[batch])
    H = hessian_operator(
        lambda w, b: cross_entropy(b[0] @ w, b[1]), params, batches=[batch]
    )
    close(dense(G, params), dense(H, params))


def test_products_are_traceable_over_parameters_and_batches(x64):
    params, batch = mlp_problem()

    @jax.jit
    def product(params, batch, v):
        matvec = hessian_operator(mlp_loss, params, batches=chunked(batch, 7))
        return matvec(v)

    expected = hessian_operator(mlp_loss, params, batches=[batch])(params)
    found = product(params, batch, params)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(x, y)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_parameters_have_float32_products(dtype):
    params, (x, labels) = mlp_problem()
    batch = x.astype(jnp.float32), labels
    narrow = jax.tree.map(lambda w: w.astype(dtype), params)
    wide = jax.tree.map(lambda w: w.astype(jnp.float32), narrow)
    for operator in (
        lambda p: hessian_operator(mlp_loss, p, batches=[batch]),
        lambda p: ggn_operator(mlp, cross_entropy, p, batches=[batch]),
    ):
        product, expected = operator(narrow)(narrow), operator(wide)(wide)
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(product))
        jax.tree.map(np.testing.assert_array_equal, product, expected)


def test_no_accelerator_may_round_products_to_fewer_bits():
    params, batch = mlp_problem()
    operators = (
        hessian_operator(mlp_loss, params, batches=[batch]),
        ggn_operator(mlp, cross_entropy, params, batches=[batch]),
    )
    for matvec in operators:
        text = str(jax.make_jaxpr(matvec)(params))
        assert text.count("dot_general") == text.count("Precision.HIGHEST, Precision.HIG")


def test_a_loss_is_compiled_once_for_all_points():
    traces = []

    def loss(w):
        traces.append(w)
        return jnp.sum(w**3)

    for w in (jnp.ones(3), jnp.arange(3.0), jnp.zeros(3)):
        np.testing.assert_allclose(hessian_operator(loss, w)(jnp.ones(3)), 6 * w)
    assert len(traces) == 1


def test_bad_arguments_are_named():
    w = jnp.ones(3)
    with pytest.raises(
        ValueError, match=r"v must be a tree shaped like the parameters.*3"
    ):
        hessian_operator(jnp.sum, w)(jnp.ones(4))
    with pytest.raises(ValueError, match="got an iterator: put them"):
        hessian_operator(jnp.sum, w, batches=iter([w]))
    with pytest.raises(TypeError, match=r"batches must .* Write \[it\] for a single one"):
        hessian_operator(jnp.sum, w, batches=w)
    with pytest.raises(ValueError, match="at least one batch, got none"):
        hessian_operator(jnp.sum, w, batches=[])
    with pytest.raises(ValueError, match=r"real floating-point arrays .*, got int32"):
        hessian_operator(jnp.sum, jnp.arange(3))
    with pytest.raises(ValueError, match=r"batches must hold pairs \(inputs, targets\)"):
        ggn_operator(mlp, cross_entropy, w, batches=[jnp.ones((2, 3))])(w)

"""What holds for every layer: rows from rows.py, a column a test.

The first row of each layer runs by default, its further settings in `make test-all`.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from layers.rows import ROWS, Row
from optix_tricks import layers
from optix_tricks.training import functional

every = pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.slow) if ":" in row.name else row
        for row in ROWS
    ],
    ids=[row.name for row in ROWS],
)
low = pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])

# A few roundings of sums of order ten, taken in another order.
ROUNDING = {"rtol": 2e-5, "atol": 1e-5}


def example(row: Row, dtype=jnp.float32, seed=0):
    x = np.random.default_rng(seed).normal(0.3, 1.5, row.shape)
    return jnp.asarray(jnp.asarray(x, jnp.bfloat16), dtype)


def split(row: Row, **dtypes):
    """The layer as a pure function of parameters, the other variables and the input."""
    graph, params, rest = nnx.split(row.build(**dtypes), nnx.Param, ...)

    def apply(params, rest, x, **mode):
        module = nnx.merge(graph, params, rest, copy=True)
        y = module(x, **mode)
        return y, nnx.state(module, nnx.Not(nnx.Param))

    # Neither is where it starts, so that every parameter and statistic matters.
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(5)
    leaves = [x + jnp.asarray(rng.uniform(0.1, 0.3, x.shape), x.dtype) for x in leaves]
    return apply, jax.tree.unflatten(tree, leaves), rest


def signature_of(tree):
    def signature(x):
        return x.shape, x.dtype, getattr(x, "weak_type", False)  # keys have none

    return jax.tree.map(signature, tree)


def comparable(tree):
    """The same tree with its random keys as numbers."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def test_every_public_layer_has_a_row():
    public = {
        name
        for name in layers.__all__
        if inspect.isclass(getattr(layers, name))
        and issubclass(getattr(layers, name), nnx.Module)
    }
    assert public == {row.name.split(":")[0] for row in ROWS}


@every
def test_variables_are_parameters_statistics_and_random_state(row: Row):
    state = nnx.state(row.build(dtype=jnp.bfloat16))
    for path, variable in nnx.to_flat_state(state):
        assert isinstance(variable, (nnx.Param, nnx.BatchStat, nnx.RngState)), path
        if not isinstance(variable, nnx.RngState):
            assert variable.get_value().dtype == jnp.float32, path


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtype_in_is_dtype_out_and_the_state_keeps_its_types(row: Row, dtype):
    apply, params, rest = split(row, dtype=dtype)
    x = example(row, dtype)
    for mode in (row.training, row.evaluation):
        y, after = jax.eval_shape(
            lambda *args, m=mode: apply(*args, **m), params, rest, x
        )
        assert y.dtype == dtype
        assert jax.tree.structure(after) == jax.tree.structure(rest)
        assert signature_of(after) == signature_of(rest)


@every
def test_jit_gives_what_eager_gives(row: Row):
    apply, params, rest = split(row)
    x = example(row)
    for mode in (row.training, row.evaluation):
        eager = apply(params, rest, x, **mode)
        compiled = jax.jit(lambda *args, m=mode: apply(*args, **m))(params, rest, x)
        chex.assert_trees_all_close(comparable(eager), comparable(compiled), **ROUNDING)
        assert np.isfinite(eager[0]).all()


class Net(nnx.Module):
    """One layer with the call that a training step makes."""

    def __init__(self, row: Row):
        self.layer = row.build()
        self.training, self.evaluation = row.training, row.evaluation

    def __call__(self, x, *, train):
        return self.layer(x, **(self.training if train else self.evaluation))


@every
def test_the_compiled_step_carries_it_as_plain_dicts(row: Row):
    """Three steps of `functional` against three calls of the layer itself."""
    net, layer = Net(row), row.build()
    apply, params, stats = functional(net)
    random = bool(nnx.to_flat_state(nnx.state(net, nnx.RngState)))
    key = jax.random.key(1) if random else None
    step = jax.jit(lambda stats, x: apply(params, stats, x, train=True, key=key))
    for seed in range(3):
        x = example(row, seed=seed)
        y, stats = step(stats, x)
        want = layer(x, **row.training)
        if not random:
            chex.assert_trees_all_close(y, want, **ROUNDING)
    chex.assert_trees_all_close(
        stats.get("layer", {}),
        nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat)),
        **ROUNDING,
    )
    assert step._cache_size() == 1
    y, same = apply(params, stats, x, train=False)
    chex.assert_trees_all_close(y, layer(x, **row.evaluation), **ROUNDING)
    chex.assert_trees_all_equal(same, stats)


@every
def test_gradient_equals_central_differences_in_float64(row: Row):
    with jax.enable_x64(True):
        apply, params, rest = split(row, dtype=jnp.float64, param_dtype=jnp.float64)
        x = example(row, jnp.float64)
        leaves, tree = jax.tree.flatten((params, x))
        assert all(leaf.dtype == jnp.float64 for leaf in leaves)
        rng = np.random.default_rng(1)
        y_shape = jax.eval_shape(lambda: apply(params, rest, x, **row.gradient_mode)[0])
        weight = jnp.asarray(rng.normal(size=y_shape.shape))

        @jax.jit
        def value(leaves):
            params, x = jax.tree.unflatten(tree, leaves)
            return jnp.sum(weight * apply(params, rest, x, **row.gradient_mode)[0])

        gradient = jax.jit(jax.grad(value))(leaves)
        for i, leaf in enumerate(leaves):
            step = 1e-5 * rng.choice([-1.0, 1.0], size=leaf.shape)
            up, down = list(leaves), list(leaves)
            up[i], down[i] = leaf + step, leaf - step
            want = (value(up) - value(down)) / 2
            assert float(jnp.vdot(gradient[i], step)) == pytest.approx(
                float(want), rel=1e-6, abs=1e-12
            )
            assert np.abs(gradient[i]).max() > 0


@every
@low
def test_low_precision_is_close_to_float32(row: Row, dtype):
    """Output and gradients, to a few roundings of what comes in and goes out."""
    full, params, rest = split(row)
    half, _, _ = split(row, dtype=dtype)
    x = example(row)
    close = 4 * float(jnp.finfo(dtype).eps)
    for mode in (row.training, row.evaluation):
        y, after = full(params, rest, x, **mode)
        y_low, after_low = half(params, rest, x.astype(dtype), **mode)
        size = float(jnp.abs(y).max())
        np.testing.assert_allclose(y_low.astype(jnp.float32), y, atol=close * size)
        chex.assert_trees_all_close(
            comparable(after_low), comparable(after), rtol=close, atol=close
        )

    def total(apply, x):
        def value(params):
            y = apply(params, rest, x, **row.training)[0]
            return jnp.sum(jnp.sin(y.astype(jnp.float32)))

        return jax.grad(value)(params)

    def norm(tree):
        return float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(tree))))

    want, got = total(full, x), total(half, x.astype(dtype))
    assert signature_of(got) == signature_of(params)
    error = norm(jax.tree.map(lambda a, b: a - b, want, got))
    assert error <= 4 * close * norm(want)


@every
def test_evaluation_is_deterministic_and_changes_nothing(row: Row):
    apply, params, rest = split(row)
    x = example(row)
    y, after = apply(params, rest, x, **row.evaluation)
    again, _ = apply(params, after, x, **row.evaluation)
    np.testing.assert_array_equal(y, again)
    chex.assert_trees_all_equal(comparable(after), comparable(rest))


@every
def test_vmap_over_inputs_gives_each_its_own(row: Row):
    apply, params, rest = split(row)
    x = jnp.stack([example(row, seed=seed) for seed in range(2)])
    mapped = jax.jit(jax.vmap(lambda x: apply(params, rest, x, **row.training)))(x)
    for i in range(2):
        one = apply(params, rest, x[i], **row.training)
        got = jax.tree.map(lambda leaf, i=i: leaf[i], comparable(mapped))
        chex.assert_trees_all_close(got, comparable(one), **ROUNDING)

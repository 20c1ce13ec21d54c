"""Adaptive clipping: units, the last layer, zero norms, and what a spike does."""

from functools import partial

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from reference import assert_link_follows, dtypes, noise

import optix_tricks as ot
from optix_tricks.training import ResNet9, ResNet18

NAN, INF = float("nan"), float("inf")
# Dense, Conv1D, Conv, Conv3D, a bias, a scalar, kernels of one input or output.
SHAPES = [(4, 5), (3, 4, 5), (3, 3, 2, 5), (2, 2, 2, 2, 5), (6,), (), (1, 5), (5, 1)]


def by_units(g, w, clipping, eps=1e-3):
    """Brock et al. 2021, equation 3, one output after the other."""
    if g.ndim <= 1:
        return g * min(1, clipping * max(np.linalg.norm(w), eps) / np.linalg.norm(g))
    columns = []
    for i in range(g.shape[-1]):
        size = max(np.linalg.norm(w[..., i].ravel()), eps)
        length = np.linalg.norm(g[..., i].ravel())
        columns.append(g[..., i] * min(1, clipping * size / length))
    return np.stack(columns, axis=-1)


def once(tx, g, w):
    return tx.update(g, tx.init(w), w)


@dtypes
@pytest.mark.parametrize("clipping", [0.01, 0.5, 100.0])
def test_it_is_the_formula_of_the_paper(clipping, dtype):
    assert_link_follows(
        ot.adaptive_grad_clip,
        lambda gs, ws, **rest: np.array(list(map(partial(by_units, **rest), gs, ws))),
        {"clipping": clipping, "eps": 0.5},
        dtype,
        steps=20,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_unit_is_a_slice_along_the_last_axis(shape):
    g, w = noise(1, *shape), noise(2, *shape)
    updates, _ = once(ot.adaptive_grad_clip(0.7), jnp.float32(g), jnp.float32(w))
    np.testing.assert_allclose(updates, by_units(g, w, 0.7), rtol=1e-5)


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) != 3 and s != (1, 5)])
def test_it_is_optax_where_optax_knows_the_layout(shape):
    g, w = jnp.float32(noise(1, *shape)), jnp.float32(noise(2, *shape))
    theirs, _ = once(optax.adaptive_grad_clip(0.7), g, w)
    np.testing.assert_allclose(once(ot.adaptive_grad_clip(0.7), g, w)[0], theirs, 1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 5)])
def test_it_is_not_optax_for_conv1d_and_single_inputs(shape):
    g, w = jnp.float32(noise(1, *shape)), jnp.float32(noise(2, *shape))
    theirs, _ = once(optax.adaptive_grad_clip(0.7), g, w)
    ours, _ = once(ot.adaptive_grad_clip(0.7), g, w)
    assert jnp.abs(ours - theirs).max() > 0.1


@pytest.mark.parametrize("axis", [0, (0, 1), (0, 1, 2)])
def test_the_axis_gives_optax_units_back(axis):
    g, w = jnp.float32(noise(1, 3, 4, 5)), jnp.float32(noise(2, 3, 4, 5))
    theirs, _ = once(optax.adaptive_grad_clip(0.7, axis=axis), g, w)
    ours, _ = once(ot.adaptive_grad_clip(0.7, axis=axis), g, w)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_it_reports_the_smallest_factor_and_the_share_of_clipped_units():
    w = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}
    g = {
        "kernel": jnp.ones((4, 4)) * jnp.array([[0.5, 1.0, 2.0, 8.0]]),
        "bias": w["bias"],
    }
    _, state = once(ot.adaptive_grad_clip(1.0), g, w)
    assert float(state.clip_factor["kernel"]) == 0.125
    assert float(state.clipped_fraction["kernel"]) == 0.5
    said = ot.report(state)
    assert float(said["clip_factor/bias"]) == 1.0
    assert float(said["clipped_fraction/bias"]) == 0.0


@pytest.mark.parametrize("make", [ResNet9, ResNet18])
def test_the_head_of_our_networks_is_left_out_and_nothing_else(make):
    net = nnx.eval_shape(lambda: make(10, width=8, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(net, nnx.Param))
    for path, kept in jax.tree_util.tree_leaves_with_path(ot.no_last_layer(params)):
        assert kept == (path[0].key != "head")


def test_the_last_layer_passes_unless_a_mask_says_otherwise():
    w = {"body": jnp.ones((2, 2)), "head": {"kernel": jnp.ones((2, 2))}}
    g = jax.tree.map(lambda x: 100 * x, w)
    updates, _ = once(ot.adaptive_grad_clip(0.1), g, w)
    chex.assert_trees_all_equal(updates["head"], g["head"])
    np.testing.assert_allclose(updates["body"], 0.1, rtol=1e-6)
    updates, _ = once(ot.adaptive_grad_clip(0.1, mask=ot.mask_by_path("^(?!body)")), g, w)
    chex.assert_trees_all_equal(updates["body"], g["body"])
    np.testing.assert_allclose(updates["head"]["kernel"], 0.1, rtol=1e-6)


def test_the_mask_called_as_a_schedule_is_refused():
    tx = optax.inject_hyperparams(ot.adaptive_grad_clip)(clipping=1.0)
    with pytest.raises(ValueError, match=r"no_last_layer is a mask.*static_args"):
        tx.init(jnp.ones(2))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_of_zero_can_move_and_gradients_of_zero_stay(dtype):
    w = jnp.zeros((4, 2), dtype)
    g = jnp.zeros((4, 2), dtype).at[:, 0].set(200)
    updates, _ = once(ot.adaptive_grad_clip(0.5, 0.25), g, w)
    np.testing.assert_allclose(updates[:, 0], 0.5 * 0.25 / 2, rtol=1e-2)
    np.testing.assert_array_equal(updates[:, 1], 0)


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("where", ["gradient", "parameter"])
@pytest.mark.parametrize("clipping", [1.0, INF])
def test_one_bad_element_makes_its_unit_nan_and_no_other(bad, where, clipping):
    spoiled = {"gradient": jnp.ones((3, 2)), "parameter": jnp.ones((3, 2))}
    spoiled[where] = spoiled[where].at[1, 0].set(bad)
    updates, state = once(
        ot.adaptive_grad_clip(clipping), spoiled["gradient"], spoiled["parameter"]
    )
    assert jnp.isnan(updates[:, 0]).all()
    np.testing.assert_array_equal(updates[:, 1], 1.0)
    assert jnp.isnan(state.clip_factor)
    assert float(state.clipped_fraction) == 0.5


clip_once = jax.jit(lambda g, w, c: once(ot.adaptive_grad_clip(c, 0.01), g, w)[0])
seeds, bounds = st.integers(0, 10**6), st.floats(2**-10, 100.0, width=32)


@hypothesis.given(seed=seeds, clipping=bounds, scale=st.floats(1e-3, 1e3))
def test_no_unit_exceeds_its_bound_and_directions_stay(seed, clipping, scale):
    g, w = noise(seed, 2, 3, 4)
    g = np.float64(np.float32(scale * g))
    u = np.float64(clip_once(jnp.float32(g), jnp.float32(w), clipping))
    length = np.linalg.norm(g, axis=0)
    bound = clipping * np.maximum(np.linalg.norm(w, axis=0), 0.01)
    now = np.linalg.norm(u, axis=0)
    np.testing.assert_allclose(now, np.minimum(length, bound), rtol=1e-5)
    np.testing.assert_allclose(np.sum(u * g, 0), now * length, rtol=1e-5)


@pytest.mark.parametrize(("name", "value"), [("clipping", 0.0), ("eps", -1.0)])
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        ot.adaptive_grad_clip(**({"clipping": 1.0} | {name: value}))


def test_missing_parameters_are_refused():
    tx = ot.adaptive_grad_clip(1.0)
    with pytest.raises(ValueError, match=r"params must be given.*AdaptiveGradClipState"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def end_of_a_deep_product(tx):
    """100 steps on (w_1 w_2 w_3 w_4 - 1)^2 from 3, where gradients are 100 w."""
    w = {name: jnp.full((1, 1), 3.0) for name in "abcd"}

    def loss(w):
        return jnp.sum((w["a"] * w["b"] * w["c"] * w["d"] - 1) ** 2)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    return float(loss(jax.lax.scan(step, (w, tx.init(w)), length=100)[0][0]))


def test_it_saves_a_deep_network_without_normalisation():
    assert not end_of_a_deep_product(ot.sgd(0.05)) < 1
    clipped = optax.chain(ot.adaptive_grad_clip(0.5), ot.sgd(0.05))
    assert end_of_a_deep_product(clipped) < 1e-3


def test_where_gradients_are_small_it_does_nothing():
    clipped = optax.chain(ot.adaptive_grad_clip(1e4), ot.sgd(1e-4))
    assert end_of_a_deep_product(clipped) == end_of_a_deep_product(ot.sgd(1e-4))

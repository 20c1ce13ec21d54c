"""Muon: against NumPy in float64 by singular values, PyTorch's, and what it is for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import optix_tricks as ot

A, B, C = 3.4445, -4.7750, 2.0315
SHAPES = {
    "conv": {"kernel": (3, 3, 2, 5), "bias": (5,)},
    "dense": {"kernel": (12, 4)},
    "embed": {"embedding": (6, 3)},
    "head": {"kernel": (4, 3), "bias": (3,)},
}
MATRICES = ("conv/kernel", "dense/kernel")


def normal(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        SHAPES,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def named(tree):
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in paths}


def orthogonal(matrix, steps):
    """Newton-Schulz acts on each singular value alone, by a polynomial."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.sqrt(np.sum(s**2))
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return u * s @ vt


def by_hand(w, gs, *, matrix, rms, nesterov):
    """Each step's parameters: Jordan's code in float64, and AdamW's algorithm 2."""
    path, m, v = [], 0.0, 0.0
    w = np.asarray(w, np.float64)
    for t, g in enumerate(np.asarray(gs, np.float64), start=1):
        if matrix:
            m = 0.9 * m + 0.1 * g
            u = 0.1 * g + 0.9 * m if nesterov else m
            outputs, inputs = w.shape[-1], w[..., 0].size
            u = orthogonal(u.reshape(inputs, outputs), 3).reshape(w.shape)
            long = 0.2 * max(outputs, inputs) ** 0.5
            u = (long if rms else max(1, outputs / inputs) ** 0.5) * u
            w = w - 0.02 * 0.1 * w - 0.02 * u
        else:
            m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
            u = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
            w = w - 0.003 * 0.3 * w - 0.003 * u
        path.append(w)
    return np.stack(path)


OPTIONS = {
    "ns_steps": 3,
    "beta": 0.9,
    "weight_decay": 0.1,
    "adam_learning_rate": 0.003,
    "adam_b1": 0.8,
    "adam_b2": 0.95,
    "adam_eps": 1e-6,
    "adam_weight_decay": 0.3,
}


@pytest.mark.parametrize("rms", [None, 0.2])
@pytest.mark.parametrize("nesterov", [True, False])
def test_three_steps_of_each_parameter_are_those_of_the_formulas(rms, nesterov):
    tx = ot.muon(0.02, nesterov=nesterov, consistent_rms=rms, **OPTIONS)
    params, grads = normal(0), [normal(seed) for seed in (1, 2, 3)]
    start, state, step, path = params, tx.init(params), jax.jit(tx.update), []
    for g in grads:
        updates, state = step(g, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params)
    for name, w in named(start).items():
        gs = np.stack([named(g)[name] for g in grads])
        want = by_hand(w, gs, matrix=name in MATRICES, rms=rms, nesterov=nesterov)
        ours = np.stack([named(p)[name] for p in path])
        np.testing.assert_allclose(ours, want, atol=3e-6, err_msg=name)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
@pytest.mark.parametrize(
    ("adjust", "rms"), [("original", None), ("match_rms_adamw", 0.2)]
)
def test_pytorchs_muon_goes_the_same_way(shape, adjust, rms):
    """To the roundings of its products, which are in bfloat16; its axes are swapped."""
    rng = np.random.default_rng(0)
    start, *grads = rng.normal(size=(4, *shape)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.tensor(start.T))
    optimizer = torch.optim.Muon(
        [theirs], lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn=adjust
    )
    tx = ot.muon(0.02, weight_decay=0.1, beta=0.9, eps=1e-7, consistent_rms=rms)
    ours, state, step = (
        jnp.asarray(start),
        tx.init(jnp.asarray(start)),
        jax.jit(tx.update),
    )
    for g in grads:
        theirs.grad = torch.tensor(g.T)
        optimizer.step()
        updates, state = step(jnp.asarray(g), state, ours)
        ours = optax.apply_updates(ours, updates)
    moved = np.asarray(ours) - start
    error = np.linalg.norm(theirs.detach().numpy().T - ours)
    assert error < 0.02 * np.linalg.norm(moved)


def test_who_is_a_matrix_and_what_is_kept_for_whom():
    params = normal(0)
    of_mask = {
        "default": (ot.hidden_matrices, set(MATRICES)),
        "all": (None, {*MATRICES, "embed/embedding", "head/kernel"}),
        "by path": (ot.mask_by_path("^conv"), {"conv/kernel"}),
    }
    for mask, matrices in of_mask.values():
        state = jax.eval_shape(ot.muon(0.1, mask=mask).init, params)
        kept = named(optax.tree.get(state, "trace"))
        assert kept.keys() == matrices
        for moment in ("mu", "nu"):
            others = named(optax.tree.get(state, moment))
            assert others.keys() == named(params).keys() - matrices


def test_only_what_the_decay_mask_leaves_in_decays():
    params, zero = normal(0), jax.tree.map(jnp.zeros_like, normal(0))
    tx = ot.muon(
        0.1,
        weight_decay=0.2,
        adam_weight_decay=0.3,
        weight_decay_mask=ot.no_bias_or_norm,
    )
    updates, _ = jax.jit(tx.update)(zero, tx.init(params), params)
    for name, u in named(updates).items():
        rate = 0.0 if "bias" in name else 0.2 if name in MATRICES else 0.3
        np.testing.assert_allclose(u, -0.1 * rate * named(params)[name], rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 64), (64, 4), (3, 3, 8, 16), (32, 32)])
def test_a_step_has_the_norm_that_the_scale_is_for(shape):
    """Jordan's: the ratio's root as spectral norm. The other: an RMS like AdamW's."""
    g = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)

    def step(**options):
        tx = ot.muon(1.0, **options)
        return np.asarray(tx.update(g, tx.init(g), g)[0], np.float64)

    outputs, inputs = shape[-1], g[..., 0].size
    longest = np.linalg.svd(step().reshape(inputs, outputs), compute_uv=False)[0]
    assert 0.7 < longest / max(1, outputs / inputs) ** 0.5 < 1.25
    assert 0.12 < np.sqrt(np.mean(step(consistent_rms=0.2) ** 2)) < 0.25


@functools.partial(jax.jit, static_argnums=0)
def fitted(optimiser, rates):
    """How far from the right matrix; the inputs' directions differ 100 times in scale."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(64, 8)) @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    inputs = jnp.asarray(inputs * np.geomspace(1, 0.01, 8), jnp.float32)
    right = jnp.asarray(rng.normal(size=(8, 8)), jnp.float32)

    def loss(w):
        return jnp.mean((inputs @ (w - right)) ** 2)

    def trained(rate):
        tx = optimiser(optax.linear_schedule(rate, 0.0, 150))

        def step(carry, _):
            w, state = carry
            updates, state = tx.update(jax.grad(loss)(w), state, w)
            return (optax.apply_updates(w, updates), state), None

        start = jnp.zeros((8, 8))
        (w, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=150)
        return jnp.linalg.norm(w - right) / jnp.linalg.norm(right)

    return jax.vmap(trained)(rates)


def test_weak_directions_are_fitted_as_soon_as_strong_ones():
    """Where momentum at its best rate still waits for them."""
    sgd = fitted(functools.partial(ot.sgd, momentum=0.9), jnp.geomspace(1, 100, 5))
    muon = fitted(ot.muon, jnp.geomspace(0.1, 1, 3))
    assert 1 <= jnp.nanargmin(sgd) <= 3
    assert jnp.min(muon) < 0.5 * jnp.nanmin(sgd)


def test_where_there_is_no_matrix_it_is_adamw():
    params = {"bias": jnp.arange(3.0), "head": {"kernel": jnp.ones((3, 2))}}
    tx, adamw = ot.muon(0.1, adam_weight_decay=0.2), ot.adamw(0.1, weight_decay=0.2)
    ours, _ = tx.update(params, tx.init(params), params)
    theirs, _ = adamw.update(params, adamw.init(params), params)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1"),
        ({"ns_steps": -1}, "ns_steps must be .* got -1"),
        ({"eps": 0.0}, "eps must be .* got 0"),
        ({"consistent_rms": 0.0}, "consistent_rms must be .* got 0"),
        ({"weight_decay": -1.0}, "weight_decay must be .* got -1"),
        ({"adam_b1": 1.0}, r"adam_b1 must be in \[0, 1\), got 1"),
        ({"adam_b2": -0.1}, r"adam_b2 must be in \[0, 1\), got -0"),
        ({"adam_eps": -1.0}, "adam_eps must be .* got -1"),
        ({"adam_eps_root": -1.0}, "adam_eps_root must be .* got -1"),
        ({"adam_weight_decay": -1.0}, "adam_weight_decay must be .* got -1"),
        ({"adam_learning_rate": -1.0}, "adam_learning_rate must be .* got -1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ot.muon(0.1, **options)

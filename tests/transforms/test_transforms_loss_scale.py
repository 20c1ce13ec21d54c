"""Dynamic loss scaling against PyTorch's GradScaler, its rule in NumPy, and float32."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from reference import noise, updates_of

import optix_tricks as ot

NAN, INF = float("nan"), float("inf")


def scales_of(tx, gs):
    """The scale, and the steps gathered for growth, after each gradient."""

    def step(state, g):
        _, state = tx.update(g, state, g)
        return state, (ot.loss_scale(state), state.good_steps)

    return jax.jit(lambda gs: jax.lax.scan(step, tx.init(gs[0]), gs)[1])(gs)


def finite_or_not(steps, share, seed=0):
    return np.random.default_rng(seed).random(steps) > share


@pytest.mark.parametrize(
    "arguments",
    [
        {"init_scale": 1024.0, "growth": 2.0, "backoff": 0.5, "interval": 3},
        {"init_scale": 50.0, "growth": 1.5, "backoff": 0.25, "interval": 1},
    ],
)
def test_it_goes_the_way_of_torch(arguments):
    """Scale, growth count and parameters of 60 steps, a fifth of them overflows."""
    gs = np.float32(noise(1, 60, 3))
    finite = finite_or_not(60, 0.2)

    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler(
        "cpu",
        init_scale=arguments["init_scale"],
        growth_factor=arguments["growth"],
        backoff_factor=arguments["backoff"],
        growth_interval=arguments["interval"],
    )
    theirs = []
    for g, ok in zip(gs, finite, strict=True):
        scaled = scaler.scale((parameter * torch.tensor(g)).sum())
        optimiser.zero_grad()
        (scaled if ok else scaled * torch.inf).backward()
        scaler.step(optimiser)
        scaler.update()
        theirs.append([scaler.get_scale(), *parameter.detach().tolist()])

    tx = ot.dynamic_loss_scale(
        ot.sgd(0.1, momentum=0.9),
        init_scale=arguments["init_scale"],
        growth_steps=arguments["interval"],
        growth_factor=arguments["growth"],
        backoff_factor=arguments["backoff"],
        min_scale=1e-30,
        max_scale=1e30,
    )

    def step(carry, batch):
        w, state = carry
        g, ok = batch
        scaled = ot.loss_scale(state) * g * jnp.where(ok, 1, jnp.inf)
        updates, state = tx.update(scaled, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), jnp.append(ot.loss_scale(state), w)

    w = jnp.ones(3)
    ours = jax.jit(lambda b: jax.lax.scan(step, (w, tx.init(w)), b)[1])((gs, finite))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_scale_stays_within_its_bounds(share):
    finite = finite_or_not(80, share, seed=1)
    scale, good, want = 8.0, 0, []
    for ok in finite:
        good = good + 1 if ok else 0
        if not ok:
            scale = max(scale / 4, 0.5)
        elif good == 2:
            scale, good = min(scale * 2, 20.0), 0
        want.append((scale, good))
    tx = ot.dynamic_loss_scale(
        ot.sgd(0.1),
        init_scale=8.0,
        growth_steps=2,
        backoff_factor=0.25,
        min_scale=0.5,
        max_scale=20.0,
    )
    got = scales_of(tx, jnp.where(finite, 1.0, NAN)[:, None])
    np.testing.assert_array_equal(np.stack(got, axis=1), want)
    reached = {0.5, 20.0} & {scale for scale, _ in want}
    assert reached == {0.0: {20.0}, 0.3: {0.5, 20.0}, 0.8: {0.5}}[share]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_overflow_leaves_out_the_step(value):
    w = {"a": jnp.ones(3, jnp.float16), "b": jnp.ones(2, jnp.float16)}
    tx = ot.dynamic_loss_scale(ot.adamw(0.1, weight_decay=0.1), init_scale=4.0)
    update = jax.jit(tx.update)
    _, state = update(w, tx.init(w), w)
    updates, after = update(w | {"a": w["a"].at[2].set(value)}, state, w)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, w))
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)
    assert (after.loss_scale, after.total_notfinite, after.good_steps) == (2, 1, 0)
    assert not after.last_finite


def test_the_inner_update_is_not_run_after_an_overflow():
    runs = []

    def update(updates, state, params=None):
        jax.debug.callback(lambda: runs.append(1))
        return updates, state

    inner = optax.GradientTransformation(optax.identity().init, update)
    gs = jnp.array([1.0, INF, 1.0, NAN, NAN, 1.0])[:, None]
    updates_of(ot.dynamic_loss_scale(inner), gs, gs)
    jax.effects_barrier()
    assert len(runs) == 3


def test_gradients_are_widened_before_they_are_divided():
    """3e-9 is zero in float16; scaled it is there, and Adam makes a step of it."""
    scale, true = 2.0**15, 3e-9
    g = jnp.full(2, true * scale, jnp.float16)
    assert g[0] > 0
    assert jnp.float16(true) == 0
    tx = ot.dynamic_loss_scale(ot.adam(0.1, eps=1e-12), init_scale=scale)
    updates, _ = tx.update(g, tx.init(g), g)
    assert updates.dtype == jnp.float16
    np.testing.assert_allclose(updates, -0.1, rtol=1e-3)


def test_a_scale_that_is_a_power_of_two_changes_no_bit():
    g = jnp.float32(noise(2, 5))
    tx = ot.sgd(0.1)
    want, _ = tx.update(g, tx.init(g))
    scaled = ot.dynamic_loss_scale(tx)
    got, _ = scaled.update(g * 2**15, scaled.init(g))
    np.testing.assert_array_equal(got, want)


def half_precision_path(tx, dtype, scaled, steps=40):
    """Least squares with a small loss: activations and their gradients in `dtype`."""
    inputs, targets = jnp.float32(noise(3, steps, 8, 4)), jnp.float32(noise(4, steps, 8))

    def loss(w, x, y, scale):
        out = (x.astype(dtype) @ w.astype(dtype)).astype(jnp.float32)
        return scale * 1e-8 * jnp.mean((out - y) ** 2)

    def step(carry, batch):
        w, state = carry
        scale = ot.loss_scale(state) if scaled else 1.0
        g = jax.grad(loss)(w, *batch, scale)
        updates, state = tx.update(g, state, w)
        clip_factor = optax.tree.get(state, "clip_factor")
        return (optax.apply_updates(w, updates), state), clip_factor

    w = jnp.ones(4)
    (w, _), factors = jax.jit(lambda b: jax.lax.scan(step, (w, tx.init(w)), b))(
        (inputs, targets)
    )
    return w, factors


CLIP, ADAM = ot.clip_by_global_norm(4e-8), ot.adam(0.02, eps=1e-12)
CLIPPED = optax.chain(CLIP, ADAM)


def test_scale_outside_of_accumulation_outside_of_clipping_is_float32():
    want, factors = half_precision_path(ot.accumulate(CLIPPED, 2), jnp.float32, False)
    assert 0.2 < (factors < 1).mean() < 0.95  # the clip acts at times
    moved = jnp.linalg.norm(want - 1)

    right = ot.dynamic_loss_scale(ot.accumulate(CLIPPED, 2), init_scale=2.0**20)
    got, _ = half_precision_path(right, jnp.float16, True)
    assert jnp.linalg.norm(got - want) < 0.01 * moved

    # Without a scale some gradients are lost.
    got, _ = half_precision_path(ot.accumulate(CLIPPED, 2), jnp.float16, False)
    assert jnp.linalg.norm(got - want) > 0.05 * moved

    # A clip of scaled gradients cuts every one of them, to the same length.
    wrong = optax.chain(CLIP, ot.dynamic_loss_scale(ADAM, init_scale=2.0**20))
    got, factors = half_precision_path(wrong, jnp.float16, True)
    assert (factors < 1e-4).all()
    assert jnp.linalg.norm(got - want) > 0.05 * moved


def test_an_accumulation_outside_loses_the_whole_batch_to_one_overflow():
    gs = jnp.array([8.0, INF, 8.0, 8.0])[:, None]
    inner, scale = ot.sgd(1.0), {"init_scale": 8.0, "backoff_factor": 1.0}
    right = ot.accumulate(inner, 3)
    right, _ = updates_of(ot.dynamic_loss_scale(right, **scale), gs, gs)
    np.testing.assert_array_equal(right[:, 0], [0, 0, 0, -1])  # the three good ones
    wrong = ot.dynamic_loss_scale(inner, **scale)
    wrong, _ = updates_of(ot.accumulate(wrong, 3), gs, gs)
    assert (wrong == 0).all()


def test_the_scale_is_found_wherever_it_is():
    w = jnp.ones(2)
    inside = ot.dynamic_loss_scale(ot.sgd(0.1), init_scale=4.0)
    for tx in (
        inside,
        optax.chain(ot.clip(1.0), inside),
        ot.master_weights(inside),
        optax.partition({"a": inside, "b": ot.sgd(0.1)}, "a"),
    ):
        assert jax.jit(lambda s: ot.loss_scale(s))(tx.init(w)) == 4
    said = ot.report(inside.update(w, inside.init(w))[1])
    assert float(said["loss_scale"]) == 4
    assert (said["total_notfinite"], said["last_finite"]) == (0, True)


@pytest.mark.parametrize(
    ("tx", "held"),
    [
        (ot.sgd(0.1), 0),
        (optax.chain(*[ot.dynamic_loss_scale(ot.sgd(0.1))] * 2), 2),
    ],
)
def test_no_scale_or_two_are_refused(tx, held):
    with pytest.raises(ValueError, match=f"opt_state must hold one.*got {held}"):
        ot.loss_scale(tx.init(jnp.ones(2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init_scale": 0.0}, "init_scale must be positive, got 0.0"),
        ({"init_scale": 0.5}, "init_scale must be at least min_scale, got 0.5 < 1.0"),
        ({"max_scale": 2.0}, "max_scale must be at least init_scale, got 2.0 < 32768.0"),
        ({"growth_steps": 0}, "growth_steps must be at least 1, got 0"),
        ({"growth_steps": 1.5}, "growth_steps must be a whole number, got 1.5"),
        ({"growth_factor": 0.5}, "growth_factor must be at least 1, got 0.5"),
        ({"backoff_factor": 1.5}, r"backoff_factor must be in \[0, 1\], got 1.5"),
        ({"min_scale": -1.0}, "min_scale must be positive, got -1.0"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        ot.dynamic_loss_scale(ot.sgd(0.1), **arguments)


def test_what_the_step_offers_is_divided_as_well():
    """SAM's second gradient is one of the multiplied loss."""
    w = jnp.array([1.0, -2.0, 0.5])

    def run(tx, scaled):
        @jax.jit
        def step(carry, _):
            w, state = carry

            def loss(p):
                factor = ot.loss_scale(state) if scaled else 1.0
                return factor * jnp.sum(jnp.array([1.0, 4.0, 9.0]) * p**2)

            value, grad = jax.value_and_grad(loss)(w)
            updates, state = tx.update(
                grad,
                state,
                w,
                value=value,
                grad=grad,
                value_fn=loss,
                grad_fn=jax.grad(loss),
            )
            return (optax.apply_updates(w, updates), state), updates

        return jax.lax.scan(step, (w, tx.init(w)), length=5)[1]

    sam = ot.sam(ot.sgd(0.02, momentum=0.5), rho=0.1)
    np.testing.assert_allclose(
        run(ot.dynamic_loss_scale(sam), True), run(sam, False), rtol=1e-5
    )
    search = optax.chain(
        optax.sgd(0.1),
        optax.scale_by_backtracking_linesearch(10, store_grad=True),
    )
    np.testing.assert_allclose(
        run(ot.dynamic_loss_scale(_without_grad_fn(search)), True),
        run(_without_grad_fn(search), False),
        rtol=1e-4,
    )


def _without_grad_fn(tx):
    """Optax's line searches take no argument that the loss does not take."""

    def update(updates, state, params, *, grad_fn, **extra):
        return tx.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def test_the_scale_may_grow_at_every_step_or_never():
    options = {"init_scale": 4.0, "growth_steps": 1, "max_scale": 9.0}
    grows = ot.dynamic_loss_scale(ot.sgd(0.1), growth_factor=1.5, **options)
    np.testing.assert_array_equal(scales_of(grows, jnp.ones((3, 1)))[0], [6, 9, 9])
    fixed = options | {"growth_factor": 1.0, "min_scale": 4.0, "max_scale": 4.0}
    stays = ot.dynamic_loss_scale(ot.sgd(0.1), **fixed)
    np.testing.assert_array_equal(scales_of(stays, jnp.ones((3, 1)))[0], [4, 4, 4])

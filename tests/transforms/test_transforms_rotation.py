"""Rotation: norms kept, angles read back, and the equilibrium that it stands for."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import assert_close, dtypes, noise, path_of, stored

import optix_tricks as ot


def algorithm_1(us, w, rotation, decay=0.9, axis=0, zero_mean=False):
    """Kosson et al. 2024, one step after the other; `axis` spans a unit."""

    def dot(x, y):
        return np.sum(x * y, axis=axis, keepdims=True)

    norm, nu, out = np.sqrt(dot(w, w)), 0.0, []
    for t, u in enumerate(us, start=1):
        if zero_mean:  # orthogonal to the weights and to the vector of ones
            ones = np.ones_like(w) / np.sqrt(dot(np.ones_like(w), np.ones_like(w)))
            across = w - dot(w, ones) * ones
            u = u - dot(u, ones) * ones
        else:
            across = w
        d = u - dot(u, across) / dot(across, across) * across
        nu = decay * nu + (1 - decay) * dot(d, d)
        d = d / np.sqrt(nu / (1 - decay**t))
        v = w + rotation * np.sqrt(dot(w, w)) * d
        w = norm * v / np.sqrt(dot(v, v))
        out.append(w)
    return np.array(out)


def norms(w, axis=0):
    return np.linalg.norm(np.asarray(w, np.float64), axis=axis)


def angles(path, axis=1):
    """Radians between neighbours on the way of some units."""
    a, b = np.float64(path[:-1]), np.float64(path[1:])
    a, b = (x / np.linalg.norm(x, axis=axis, keepdims=True) for x in (a, b))
    return 2 * np.arcsin(np.linalg.norm(a - b, axis=axis) / 2)


def once(tx, u, w):
    return tx.update(u, tx.init(w), w)


@dtypes
@pytest.mark.parametrize("zero_mean", [False, True])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_it_goes_the_way_of_algorithm_1(per_neuron, zero_mean, dtype):
    us, w = noise(1, 30, 6, 5), noise(2, 6, 5)
    with jax.enable_x64(dtype == "float64"):
        tx = ot.scale_by_rotation(
            0.1, 0.8, per_neuron=per_neuron, zero_mean=zero_mean, mask=None
        )
        got = path_of(tx, jnp.array(us, dtype), jnp.array(w, dtype))
        got = np.asarray(got, np.float64)
    given = {"rotation": stored(0.1, dtype), "decay": stored(0.8, dtype)}
    axis = 0 if per_neuron else (0, 1)
    want = algorithm_1(us, w, axis=axis, zero_mean=zero_mean, **given)
    assert_close(got, want, 2e-5 if dtype == "float32" else 1e-12)


def test_a_neuron_of_a_convolution_is_a_slice_along_the_last_axis():
    us, w = noise(1, 5, 3, 3, 2, 4), noise(2, 3, 3, 2, 4)
    got = path_of(ot.scale_by_rotation(0.1), jnp.float32(us), jnp.float32(w))
    want = algorithm_1(us.reshape(5, 18, 4), w.reshape(18, 4), 0.1)
    assert_close(np.asarray(got).reshape(5, 18, 4), want, 1e-5)
    state = ot.scale_by_rotation(0.1).init(jnp.float32(w))
    assert state.nu.shape == state.norm.shape == (1, 1, 1, 4)


def test_norms_stay_and_the_angle_is_the_given_one_on_average():
    us, w = jnp.float32(noise(3, 400, 64, 8, mean=0.0)), jnp.float32(noise(4, 64, 8))
    path = path_of(ot.scale_by_rotation(0.02), us, w)
    want = np.broadcast_to(norms(w), (400, 8))
    np.testing.assert_allclose(norms(path, axis=1), want, rtol=1e-5)
    turned = angles(path)
    np.testing.assert_allclose(np.sqrt(np.mean(turned**2, axis=0)), 0.02, rtol=0.03)
    assert turned.std() > 0.001  # one step turns more than another


def test_the_first_step_turns_by_the_angle_whatever_the_update():
    w = jnp.float32(noise(1, 6, 3))
    for scale in (1e-6, 1.0, 1e6):
        u = jnp.float32(scale * noise(2, 6, 3))
        updates, state = once(ot.scale_by_rotation(0.01), u, w)
        turned = angles(np.stack([w, w + updates]))
        np.testing.assert_allclose(turned, np.arctan(0.01), rtol=1e-4)
        assert float(state.angle) == pytest.approx(np.arctan(0.01), rel=1e-5)


def test_masked_out_leaves_take_the_step_of_the_optimiser_before_it():
    w = {"kernel": jnp.float32(noise(1, 4, 3)), "bias": jnp.float32(noise(2, 3))}
    g = jax.tree.map(jnp.sin, w)
    tx = optax.chain(ot.adam(0.1), ot.scale_by_rotation(0.05))
    updates, state = once(tx, g, w)
    np.testing.assert_array_equal(updates["bias"], once(ot.adam(0.1), g, w)[0]["bias"])
    np.testing.assert_allclose(norms(w["kernel"] + updates["kernel"]), norms(w["kernel"]))
    assert state[1].norm["bias"] == optax.MaskedNode()
    assert "angle/kernel" in ot.report(state)


def test_it_turns_along_the_update():
    """Downhill: towards the target, never away from it."""
    w, target = jnp.float32([[1.0], [0.0]]), jnp.float32([[0.0], [1.0]])
    updates, _ = once(ot.scale_by_rotation(0.1), 0.01 * (target - w), w)
    np.testing.assert_allclose(
        w + updates, [[np.cos(0.0997)], [np.sin(0.0997)]], rtol=1e-3
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_unit_of_zeros_moves_first_and_keeps_that_norm(dtype):
    w, u = jnp.zeros((2, 1), dtype), jnp.array([[3.0], [4.0]], dtype)
    tx = ot.scale_by_rotation(0.1)
    state = tx.init(w)
    updates, state = tx.update(u, state, w)
    np.testing.assert_array_equal(updates, u)
    w = w + updates
    for _ in range(3):
        updates, state = tx.update(jnp.array([[1.0], [0.0]], dtype), state, w)
        w = w + updates
    np.testing.assert_allclose(norms(w), 5.0, rtol=1e-5 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("u", [0.0, 1.0, -7.3])
def test_an_update_along_the_weights_turns_nothing(u):
    w = jnp.float32(noise(1, 50, 4))
    updates, state = once(ot.scale_by_rotation(0.1), u * w, w)
    np.testing.assert_allclose(updates, 0.0, atol=1e-6)
    assert float(state.angle) == 0.0


def test_norms_do_not_drift_in_bfloat16():
    us = jnp.asarray(noise(1, 300, 32, 4, mean=0.0), jnp.bfloat16)
    w = jnp.asarray(noise(2, 32, 4), jnp.bfloat16)
    path = path_of(ot.scale_by_rotation(0.05), us, w)
    assert path.dtype == jnp.bfloat16
    np.testing.assert_allclose(norms(path[-1]), norms(w), rtol=5e-3)


@pytest.mark.parametrize("length", [0.5, 5.0])
def test_weights_that_something_else_lengthened_go_back_to_their_norm(length):
    w = jnp.array([[0.6], [0.8]]) * length
    u, tx = jnp.array([[1.0], [0.0]]), ot.scale_by_rotation(0.1)
    updates, state = once(tx, u, w)
    twice = 2 * (w + updates)
    updates, _ = tx.update(u, state, twice)
    np.testing.assert_allclose(norms(twice + updates), length, rtol=1e-5)


def test_an_update_nearly_along_the_weights_still_turns():
    w = jnp.array([[1.0], [0.0]])
    updates, state = once(ot.scale_by_rotation(0.1), jnp.array([[1.0], [1e-4]]), w)
    assert float(state.angle) == pytest.approx(np.arctan(0.1), rel=1e-3)
    assert float(updates[1, 0]) > 0.09


@pytest.mark.parametrize("where", ["update", "parameter"])
def test_a_bad_unit_becomes_nan_and_no_other(where):
    both = {
        "update": jnp.float32(noise(1, 4, 2)),
        "parameter": jnp.float32(noise(2, 4, 2)),
    }
    both[where] = both[where].at[0, 0].set(jnp.inf)
    updates, _ = once(ot.scale_by_rotation(0.1), both["update"], both["parameter"])
    assert jnp.isnan(updates[:, 0]).all()
    assert jnp.isfinite(updates[:, 1]).all()


step_of = jax.jit(lambda u, w: once(ot.scale_by_rotation(0.1), u, w)[0])


@hypothesis.given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_the_step_scales_with_the_weights_and_not_with_the_update(seed, scale):
    u, w = np.float32(noise(seed, 2, 6, 3))
    plain = np.asarray(step_of(u, w))
    size = np.abs(plain).max()
    np.testing.assert_allclose(step_of(np.float32(scale) * u, w), plain, atol=1e-4 * size)
    np.testing.assert_allclose(
        step_of(u, np.float32(scale) * w), scale * plain, atol=1e-4 * scale * size
    )


@pytest.mark.parametrize(("name", "value"), [("rotation", -0.1), ("decay", 1.0)])
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.scale_by_rotation(**({"rotation": 0.1} | {name: value}))


def test_missing_parameters_are_refused():
    tx = ot.scale_by_rotation(0.1)
    with pytest.raises(ValueError, match=r"params must be given.*ScaleByRotationState"):
        tx.update(jnp.ones((2, 2)), tx.init(jnp.ones((2, 2))))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind must be one of .*'adamw'.*'adam'"):
        ot.equilibrium_rotation("adam", 0.1, 0.1)


def test_the_equilibrium_follows_schedules():
    angle = ot.equilibrium_rotation("sgd", lambda count: 0.08 / (1 + count), 0.04)
    assert angle(0) == pytest.approx(0.08)
    assert angle(3) == pytest.approx(0.04)


def test_the_angle_follows_from_the_response_to_one_gradient():
    """In equilibrium the random walk of the responses is as long as decay is short.

    Of gradients of length one the squared weights grow by (sum c)^2 a step and lose twice
    their decay, and a step squared is sum c^2. Coupled decay is a gradient itself.
    """
    rate, decay, t = 0.1, 0.02, np.arange(400)
    for momentum in (0.3, 0.8):
        responses = {
            "sgd": (t == 0).astype(float),
            "heavy_ball": momentum**t,
            "nesterov": np.where(t == 0, 1 + momentum, momentum ** (t + 1)),
            "sgdw": momentum**t,
            "adamw": (1 - momentum) * momentum**t,
        }
        for kind, c in responses.items():
            shrink = rate * decay * (1 if kind in ("sgdw", "adamw") else c.sum())
            want = np.sqrt(2 * shrink * np.sum(c**2)) / c.sum()
            got = ot.equilibrium_rotation(kind, rate, decay, momentum=momentum)
            assert got == pytest.approx(want, rel=1e-9)


DECAYED = {
    "sgd": lambda rate, decay: optax.chain(ot.add_decayed_weights(decay), ot.sgd(rate)),
    "heavy_ball": lambda rate, decay: optax.chain(
        ot.add_decayed_weights(decay), ot.sgd(rate, momentum=0.8)
    ),
    "nesterov": lambda rate, decay: optax.chain(
        ot.add_decayed_weights(decay), ot.sgd(rate, momentum=0.8, nesterov=True)
    ),
    "sgdw": lambda rate, decay: optax.chain(
        ot.trace(0.8), ot.add_decayed_weights(decay), ot.sgd(rate)
    ),
    "adamw": lambda rate, decay: ot.adamw(rate, b1=0.8, b2=0.99, weight_decay=decay),
}


@pytest.mark.parametrize("kind", DECAYED)
def test_weight_decay_ends_at_the_angle_of_the_equilibrium(kind):
    """Gradients are noise, orthogonal to w and of length 1 / |w|, as before a norm."""
    tx = DECAYED[kind](0.1, 0.02)

    def step(carry, key):
        w, state = carry
        g = jax.random.normal(key, w.shape)
        g = (g - jnp.vdot(g, w) / jnp.vdot(w, w) * w) / jnp.linalg.norm(w)
        updates, state = tx.update(g, state, w)
        turned = jnp.linalg.norm(updates) / jnp.linalg.norm(w)
        return (optax.apply_updates(w, updates), state), turned

    w = 3 * jax.random.normal(jax.random.key(0), (300,))
    keys = jax.random.split(jax.random.key(1), 3000)
    _, turned = jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), keys))(w)
    momentum = 0.0 if kind == "sgd" else 0.8
    want = ot.equilibrium_rotation(kind, 0.1, 0.02, momentum=momentum)
    rms = float(jnp.sqrt(jnp.mean(turned[1500:] ** 2)))
    assert rms == pytest.approx(want, rel=0.03)


def cosine_after(tx, size):
    """Towards a target direction by a loss blind to the weights' norm; cosine reached."""
    target = jnp.float32(noise(7, 16, 1))
    w = size * jnp.float32(noise(8, 16, 1, mean=0.0))

    def loss(w):
        return -jnp.vdot(w, target) / jnp.linalg.norm(w)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    w = jax.lax.scan(step, (w, tx.init(w)), length=40)[0][0]
    return float(-loss(w) / jnp.linalg.norm(target))


def test_it_makes_progress_independent_of_the_initial_norm():
    turning = optax.chain(ot.sgd(0.1), ot.scale_by_rotation(0.05))
    small, large = cosine_after(turning, 0.1), cosine_after(turning, 100.0)
    assert small == pytest.approx(large, abs=1e-3)
    assert small > 0.9
    assert cosine_after(ot.sgd(0.1), 100.0) < 0.5


def test_where_only_the_norm_matters_it_can_do_nothing():
    w = jnp.float32(noise(1, 8, 2))
    tx = optax.chain(ot.sgd(0.1), ot.scale_by_rotation(0.1))
    path = path_of(tx, jnp.broadcast_to(w, (10, 8, 2)), w)  # the gradient of |w|^2 / 2
    np.testing.assert_allclose(path[-1], w, atol=1e-3)

"""Gradient noise: its distribution, and that it depends on key, step and path alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import updates_of

import optix_tricks as ot
from optix_tricks.compat import tf1
from optix_tricks.schedules import noisy_linear_cosine_decay
from optix_tricks.transforms._noise import SPLIT

SIZE = 40_000


def noise_of(tx, steps=1, shape=(SIZE,), dtype="float32"):
    """The noise of some steps [steps, *shape]: what zero gradients become."""
    zeros = jnp.zeros((steps, *shape), dtype)
    return np.asarray(updates_of(tx, zeros, zeros)[0], np.float64)


def at_step(tx, count, grads):
    state = tx.init(grads)._replace(count=jnp.int32(count))
    return tx.update(grads, state)[0]


def test_it_is_normal_with_the_variance_of_the_paper():
    drawn = noise_of(ot.add_noise(0.3, 0.55, key=0), steps=5)
    for t, x in enumerate(drawn, start=1):
        z = x / np.sqrt(0.3 / t**0.55)
        # Standard errors of mean, variance, skewness and kurtosis of normal numbers.
        moments = [z.mean(), (z**2).mean() - 1, (z**3).mean(), (z**4).mean() - 3]
        errors = np.sqrt(np.array([1, 2, 15, 96]) / SIZE)
        assert (np.abs(moments) < 4 * errors).all(), moments


def test_its_variance_is_that_of_optax():
    theirs = noise_of(optax.add_noise(0.3, 0.55, key=0), steps=4).std(axis=1)
    ours = noise_of(ot.add_noise(0.3, 0.55, key=0), steps=4).std(axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=0.02)


def test_steps_leaves_and_keys_are_independent():
    zeros = {"a": jnp.zeros(SIZE), "b": jnp.zeros(SIZE)}
    tx = ot.add_noise(1.0, 0.0, key=0)
    first, state = tx.update(zeros, tx.init(zeros))
    second, _ = tx.update(zeros, state)
    other, _ = ot.add_noise(1.0, 0.0, key=1).update(zeros, tx.init(zeros))
    drawn = np.stack([first["a"], first["b"], second["a"], second["b"], other["a"]])
    correlations = np.corrcoef(drawn) - np.eye(5)
    assert np.abs(correlations).max() < 4 / np.sqrt(SIZE)


def test_the_gradient_is_its_mean():
    grads = jnp.arange(5.0)
    plain, noisy = jnp.zeros(5), ot.add_noise(1.0, 0.5, key=3)
    difference = at_step(noisy, 4, grads) - at_step(noisy, 4, plain)
    np.testing.assert_allclose(difference, grads, atol=1e-6)


def test_a_seed_is_a_key_wherever_one_is_given_at_construction():
    def bowl(w):
        return jnp.sum(w**2) - 2 * w[0] ** 2

    def moved(tx):
        w = jnp.zeros(3, jnp.bfloat16)
        known = {"value": jnp.zeros(()), "grad": w, "value_fn": bowl}
        return tx.update(w + jnp.bfloat16(0.001), tx.init(w), w + 1, **known)[0]

    def escaped(tx):
        w = jnp.zeros(3)
        return tx.update(w, tx.init(w), w, value=bowl(w), grad=w, value_fn=bowl)[0]

    makers = [
        lambda key: moved(ot.add_noise(1.0, 0.5, key=key)),
        lambda key: moved(ot.round_stochastically(key)),
        lambda key: escaped(ot.escape_saddle(ot.sgd(0.1), key)),
        lambda key: noisy_linear_cosine_decay(1.0, 9, key=key)(3),
        lambda key: tf1.noisy_linear_cosine_decay(1.0, 9, key=key)(3),
    ]
    for make in makers:
        by_seed = jnp.ravel(make(5))
        assert (by_seed == jnp.ravel(make(jax.random.key(5)))).all()
        assert (by_seed != jnp.ravel(make(6))).any()


def test_a_state_that_holds_no_key_goes_on_with_the_same_noise():
    tx = ot.add_noise(1.0, 0.5, key=0)
    unbroken = noise_of(tx, steps=6, shape=(3,))
    state = tx.init(jnp.zeros(3))
    assert [x.shape for x in jax.tree.leaves(state)] == [(), (), ()]
    again = [at_step(ot.add_noise(1.0, 0.5, key=0), t, jnp.zeros(3)) for t in range(6)]
    np.testing.assert_allclose(np.stack(again), unbroken, rtol=1e-6)


def test_a_parameter_keeps_its_noise_whatever_stands_beside_it():
    tx = ot.add_noise(1.0, 0.5, key=0)
    small = {"b": jnp.zeros((2, 3)), "z": {"w": jnp.zeros(4)}}
    large = small | {"a": jnp.zeros(9), "c": None}
    alone, beside = at_step(tx, 2, small), at_step(tx, 2, large)
    chex.assert_trees_all_equal({k: beside[k] for k in small}, alone)
    packed = ot.pack(small)
    together = ot.unpack(at_step(tx, 2, packed))
    chex.assert_trees_all_close(together, alone, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_it_is_the_same_in_every_dtype(dtype):
    tx = ot.add_noise(1.0, 0.0, key=0)
    with jax.enable_x64(dtype == "float64"):
        got = noise_of(tx, shape=(100,), dtype=dtype)
    want = noise_of(tx, shape=(100,))
    np.testing.assert_allclose(got, want, rtol=float(jnp.finfo(dtype).eps) + 1e-7)


@pytest.mark.parametrize("count", [4094, 2**24, 2**31 - 4])
def test_late_steps_have_noise_of_their_own(count):
    tx = ot.add_noise(1.0, 0.0, key=0)
    first, second, third = (at_step(tx, count + i, jnp.zeros(50)) for i in range(3))
    assert (first != second).all()
    assert (second != third).all()
    assert np.isfinite(first).all()


@pytest.mark.parametrize(("name", "value"), [("eta", -0.1), ("gamma", -1.0)])
def test_arguments_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ot.add_noise(**({"eta": 1.0, "gamma": 1.0, "key": 0} | {name: value}))


def end_on_a_saddle(eta):
    """200 steps on x^4 / 4 - x^2 / 2 from its maximum, where the gradient is zero."""
    tx = optax.chain(ot.add_noise(eta, 0.55, key=0), ot.sgd(0.1))
    x = jnp.zeros(8)

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(x**3 - x, state)
        return (optax.apply_updates(x, updates), state), None

    return jax.lax.scan(step, (x, tx.init(x)), length=200)[0][0]


def test_it_leaves_a_point_without_gradient():
    np.testing.assert_array_equal(end_on_a_saddle(0.0), 0.0)
    np.testing.assert_allclose(jnp.abs(end_on_a_saddle(0.01)), 1.0, atol=0.1)


@pytest.mark.parametrize("step", [1, SPLIT - 1, SPLIT, 3 * SPLIT + 5])
def test_a_step_draws_from_its_own_number_however_far(step):
    """A run that is resumed, or drawn again elsewhere, has the same noise."""
    tx, zeros = ot.add_noise(1.0, 0.0, key=7), jnp.zeros(4)
    state = tx.init(zeros)._replace(count=jnp.int32(step - 1))
    of_step = jax.random.fold_in(jax.random.key(7), step)
    want = jax.random.normal(jax.random.fold_in(of_step, 0), (4,))  # "" is path 0
    np.testing.assert_allclose(tx.update(zeros, state)[0], want, rtol=1e-6)

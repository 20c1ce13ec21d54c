"""Ghost batch normalisation against batch normalisation of each part in turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.layers import BatchNorm, GhostBatchNorm


def normal(*shape, seed=0):
    x = np.random.default_rng(seed).normal(0.5, 2, shape)
    return jnp.asarray(x, jnp.float32)


def pure(norm):
    graph, params, stats = nnx.split(norm, nnx.Param, ...)

    def apply(params, x):
        return nnx.merge(graph, params, stats, copy=True)(x)

    return apply, params


OPTIONS = {
    "momentum": 0.8,
    "scale_init": nnx.initializers.constant(1.3),
    "rngs": nnx.Rngs(0),
}


def test_equals_a_numpy_loop_over_ghost_batches():
    x = normal(6, 3, 3, 2)
    norm = GhostBatchNorm(2, ghost_size=2, epsilon=1e-3, **OPTIONS)
    y = norm(x)
    mean, var, want = np.zeros(2), np.ones(2), []
    for part in np.asarray(x, np.float64).reshape(3, 2, 3, 3, 2):
        mu, variance = part.mean((0, 1, 2)), part.var((0, 1, 2))
        want.append(1.3 * (part - mu) / np.sqrt(variance + 1e-3))
        mean, var = 0.8 * mean + 0.2 * mu, 0.8 * var + 0.2 * variance
    np.testing.assert_allclose(y, np.concatenate(want), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.mean[...], mean, rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], var, rtol=1e-5)
    np.testing.assert_allclose(
        norm(x[:5], use_running_average=True),
        1.3 * (np.asarray(x[:5]) - mean) / np.sqrt(var + 1e-3),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("momentum", [0, 0.99, 1])
def test_one_ghost_batch_is_batch_norm_to_the_bit(momentum):
    x = normal(8, 2, 2, 3)
    ghost = GhostBatchNorm(3, ghost_size=8, momentum=momentum, rngs=nnx.Rngs(0))
    plain = BatchNorm(3, momentum=momentum, rngs=nnx.Rngs(0))
    for _ in range(2):
        np.testing.assert_array_equal(ghost(x), plain(x))
        np.testing.assert_array_equal(ghost.mean[...], plain.mean[...])
        np.testing.assert_array_equal(ghost.var[...], plain.var[...])


@pytest.mark.parametrize(("ghosts", "ghost_size"), [(5, 1), (2, 3), (4, 2)])
def test_is_batch_norm_of_each_ghost_batch_in_turn(ghosts, ghost_size):
    x = normal(ghosts * ghost_size, 2, 3)
    ghost = GhostBatchNorm(3, ghost_size=ghost_size, **OPTIONS)
    plain = BatchNorm(3, **OPTIONS)
    want = jnp.concatenate([plain(part) for part in jnp.split(x, ghosts)])
    np.testing.assert_allclose(ghost(x), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ghost.mean[...], plain.mean[...], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ghost.var[...], plain.var[...], rtol=1e-5, atol=1e-6)


def test_one_step_is_that_of_the_parts_together():
    """The loss sums over ghost batches, so the gradient does too."""
    x, t = normal(6, 3), normal(6, 3, seed=1)
    ghost, params = pure(GhostBatchNorm(3, ghost_size=2, **OPTIONS))
    plain, _ = pure(BatchNorm(3, **OPTIONS))

    def loss(params, x):
        return jnp.vdot(t, ghost(params, x))

    def loss_of_parts(params, x):
        parts = zip(jnp.split(t, 3), jnp.split(x, 3), strict=True)
        return sum(jnp.vdot(weight, plain(params, part)) for weight, part in parts)

    grads = jax.tree.leaves(jax.grad(loss, (0, 1))(params, x))
    want = jax.tree.leaves(jax.grad(loss_of_parts, (0, 1))(params, x))
    for ours, theirs in zip(grads, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_ghost_batches_do_not_see_each_other():
    apply, params = pure(GhostBatchNorm(3, ghost_size=4, rngs=nnx.Rngs(0)))
    x = normal(8, 3)
    jacobian = jax.jacobian(lambda x: jnp.sum(apply(params, x), axis=-1))(x)
    seen = np.abs(jacobian).max(axis=-1) > 1e-6  # [output example, input example]
    assert not seen[:4, 4:].any()
    assert not seen[4:, :4].any()
    assert seen[:4, :4].any()


def test_smaller_ghosts_make_more_noise_and_one_for_all_makes_none():
    """The regularising effect: how far the output is from that of the whole batch."""
    x = normal(64, 2)
    whole = BatchNorm(2, rngs=nnx.Rngs(0))(x)
    noise = [
        float(jnp.std(GhostBatchNorm(2, ghost_size=size, rngs=nnx.Rngs(0))(x) - whole))
        for size in (64, 16, 4)
    ]
    assert noise[0] == 0
    assert noise == sorted(noise)
    assert noise[-1] > 0.3


def test_there_is_no_loop_in_the_compiled_program():
    apply, params = pure(GhostBatchNorm(3, ghost_size=2, rngs=nnx.Rngs(0)))
    text = jax.jit(apply).lower(params, normal(16, 4, 4, 3)).as_text()
    assert "while" not in text
    assert "transpose" not in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GhostBatchNorm(3, ghost_size=0, rngs=nnx.Rngs(0)),
            "ghost_size must be at least 1, got 0",
        ),
        (
            lambda: GhostBatchNorm(
                3, ghost_size=2, axis_index_groups=[[0], [1]], rngs=nnx.Rngs(0)
            ),
            "axis_index_groups must be None",
        ),
        (
            lambda: GhostBatchNorm(3, ghost_size=4, rngs=nnx.Rngs(0))(normal(6, 3)),
            "ghost_size must divide the batch, got 4 for 6 examples",
        ),
        (
            lambda: GhostBatchNorm(3, ghost_size=4, rngs=nnx.Rngs(0))(normal(2, 3)),
            "ghost_size must divide the batch, got 4 for 2 examples",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sizes_are_checked_when_traced():
    apply, params = pure(GhostBatchNorm(3, ghost_size=4, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="drop the last ones"):
        jax.eval_shape(apply, params, normal(6, 3))


def test_a_ghost_batch_of_one_image_is_the_smallest():
    norm = GhostBatchNorm(2, ghost_size=1, momentum=0.5, rngs=nnx.Rngs(0))
    x = np.arange(24.0, dtype=np.float32).reshape(3, 2, 2, 2)
    got = norm(jnp.asarray(x))
    own = x - x.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(got, own / own.std((1, 2), keepdims=True), rtol=1e-5)


def test_ghost_batches_of_all_devices_move_the_statistics_in_turn():
    x = normal(2, 4, 3)
    options = {"ghost_size": 2, **OPTIONS}
    graph, state = nnx.split(GhostBatchNorm(3, axis_name="device", **options))

    def of_device(x):
        norm = nnx.merge(graph, state, copy=True)
        return norm(x), norm.mean[...], norm.var[...]

    y, means, variances = jax.vmap(of_device, axis_name="device")(x)
    alone = GhostBatchNorm(3, **options)
    np.testing.assert_allclose(y.reshape(8, 3), alone(x.reshape(8, 3)), rtol=1e-5)
    for mean, var in zip(means, variances, strict=True):
        np.testing.assert_allclose(mean, alone.mean[...], rtol=1e-5)
        np.testing.assert_allclose(var, alone.var[...], rtol=1e-5)

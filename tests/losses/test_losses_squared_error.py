import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optix_tricks.losses import cross_entropy, mean_squared_error, one_hot


@pytest.mark.parametrize("shape", [(7,), (6, 5), (2, 3, 4), (3, 1)])
def test_matches_a_loop(shape):
    rng = np.random.default_rng(0)
    predictions, targets = rng.normal(size=(2, *shape)).astype(np.float32)
    expected = np.zeros(shape[:-1])
    for at in np.ndindex(shape):
        error = float(predictions[at]) - float(targets[at])
        expected[at[:-1]] += error**2 / shape[-1]
    loss = mean_squared_error(jnp.asarray(predictions), jnp.asarray(targets))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_it_is_the_mean_of_optax_squared_error_and_twice_that_of_l2_loss():
    predictions = jnp.array([[1.0, 2.0], [0.5, -3.0]])
    targets = jnp.array([[0.0, 4.0], [0.5, 1.0]])
    loss = mean_squared_error(predictions, targets)
    theirs = optax.squared_error(predictions, targets).mean(-1)
    np.testing.assert_array_equal(loss, theirs)
    theirs = 2 * optax.l2_loss(predictions, targets).mean(-1)
    np.testing.assert_array_equal(loss, theirs)


def test_half_precision_does_not_overflow():
    loss = mean_squared_error(jnp.full((1, 2), 300, jnp.float16), jnp.array([0]))
    np.testing.assert_allclose(loss, [(299**2 + 300**2) / 2], rtol=1e-6)


def test_gradient_vanishes_at_the_label_where_that_of_cross_entropy_does_not():
    labels = jnp.array([1, 0])
    fitted = one_hot(labels, 4)

    def gradient(loss):
        return jax.grad(lambda z: loss(z, labels).sum())(fitted)

    np.testing.assert_array_equal(gradient(mean_squared_error), jnp.zeros((2, 4)))
    assert np.abs(gradient(cross_entropy)).max() > 0.3


def test_messages_name_predictions_and_targets():
    with pytest.raises(ValueError, match=r"targets must be in \[0, 2\), got 2"):
        mean_squared_error(jnp.zeros((1, 2)), jnp.array([2]))

"""Inner transformations in float32: what they are not handed."""

import jax.numpy as jnp
import optax
import pytest

from optix_tricks.transforms._in_float32 import in_float32


def test_an_integer_for_the_gradient_of_a_float_is_refused_by_its_path():
    tx = in_float32(optax.sgd(0.1))
    w = {"a": jnp.ones(2), "b": jnp.ones(2)}
    g = {"a": jnp.ones(2), "b": jnp.ones(2, int)}
    with pytest.raises(ValueError, match="got int32 at 'b'"):
        tx.update(g, tx.init(w), w)

"""Comparisons of examples on a mesh of explicit axes: the result lies as the first."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from optix_tricks.losses._batch_axes import sharded_as_batch


@sharded_as_batch
def nearest(x, y):
    """Of each row of x to the rows of y, which no explicit type allows as it is."""
    return jnp.min(jnp.sum(jnp.square(x[:, None] - y[None]), axis=-1), axis=1)


def test_the_result_is_sharded_in_its_first_dimension_as_the_first_argument_is():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 4)).astype(np.float32)
    want = np.square(x[:, None] - y[None]).sum(-1).min(1)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    for spec_x, spec_y, first in (
        (jax.P("data", None), jax.P(), "data"),
        (jax.P("data", "model"), jax.P("data", None), "data"),
        (jax.P(None, None), jax.P("data", None), None),
    ):
        placed = [
            jax.device_put(a, jax.NamedSharding(mesh, spec))
            for a, spec in ((x, spec_x), (y, spec_y))
        ]
        got = jax.jit(nearest)(*placed)
        assert got.sharding.spec[0] == first
        np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(nearest(jnp.asarray(x), jnp.asarray(y)), want, rtol=1e-5)

"""Operations counted from the traced function, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

from benchmarks.flops import training_flops
from optix_tricks.training import ResNet50, functional, matrix_flops


def conv(x, kernel, **options):
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, dimension_numbers=names, **options)


X, KERNEL = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 4))
STRIDED = {"window_strides": (2, 2), "padding": "SAME"}
FORWARD = 2 * (2 * 4 * 4 * 4) * (3 * 3 * 6)


def test_convolutions_and_both_their_gradients():
    def loss(x, kernel):
        return conv(x, kernel, **STRIDED).sum()

    assert matrix_flops(lambda x, k: conv(x, k, **STRIDED), X, KERNEL) == FORWARD
    both = matrix_flops(jax.grad(loss, argnums=(0, 1)), X, KERNEL)
    assert both == pytest.approx(3 * FORWARD, rel=0.01)


def test_groups_batches_loops_and_branches():
    grouped = matrix_flops(
        lambda x, k: conv(x, k, feature_group_count=3, **STRIDED), X, KERNEL[:, :, :2, :3]
    )
    assert grouped == 2 * (2 * 4 * 4 * 3) * (3 * 3 * 2)
    a = jnp.ones((5, 4, 4))
    assert matrix_flops(jnp.matmul, a, a) == 2 * 5 * 4 * 4 * 4

    def loop(x):
        return lax.scan(lambda x, _: (x @ x, None), x, length=7)[0]

    assert matrix_flops(jax.jit(loop), a[0]) == 7 * 2 * 4**3
    chosen = matrix_flops(
        lambda x: lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x), a[0]
    )
    assert chosen == 2 * 4**3


@pytest.mark.further
def test_resnet50_has_the_operations_of_the_formula():
    model = nnx.eval_shape(lambda: ResNet50(1000, rngs=nnx.Rngs(0)))
    apply, params, stats = functional(model)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)

    def forward(params, stats, images):
        return apply(params, stats, images, train=False)[0]

    found = matrix_flops(forward, params, stats, images)
    assert found == 2 * training_flops(224, 64, 1000) // 3

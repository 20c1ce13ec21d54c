import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.initializers import dirac, lecun_normal, ones

KEY = jax.random.key(0)


@pytest.mark.parametrize("size", [(3, 3), (2, 4)])
def test_a_convolution_with_it_is_the_identity(size):
    conv = nnx.Conv(4, 4, size, kernel_init=dirac(), rngs=nnx.Rngs(0))
    images = jax.random.normal(KEY, (2, 7, 6, 4))
    np.testing.assert_array_equal(conv(images), images)


def test_more_outputs_than_inputs_and_fewer():
    square = np.asarray(dirac()(KEY, (3, 3, 4, 4)))
    more = np.asarray(dirac()(KEY, (3, 3, 4, 6)))
    np.testing.assert_array_equal(more[..., :4], square)
    assert not more[..., 4:].any()
    np.testing.assert_array_equal(dirac()(KEY, (3, 3, 4, 3)), square[..., :3])


def test_a_grouped_convolution_hands_on_each_group():
    conv = nnx.Conv(
        4,
        8,
        (3, 3),
        feature_group_count=2,
        kernel_init=dirac(groups=2),
        rngs=nnx.Rngs(0),
    )
    images = jax.random.normal(KEY, (2, 5, 5, 4))
    expected = np.zeros((2, 5, 5, 8), np.float32)
    expected[..., 0:2] = images[..., 0:2]
    expected[..., 4:6] = images[..., 2:4]
    np.testing.assert_array_equal(conv(images), expected)


def test_the_rest_is_drawn_by_the_other_initialiser():
    shape = (3, 3, 4, 6)
    w = dirac(rest=lecun_normal())(KEY, shape)
    np.testing.assert_array_equal(w[..., :4], dirac()(KEY, (3, 3, 4, 4)))
    np.testing.assert_array_equal(w[..., 4:], lecun_normal()(KEY, shape)[..., 4:])
    grouped = dirac(groups=2, rest=ones)(KEY, (3, 2, 6))
    np.testing.assert_array_equal(grouped[..., [2, 5]], jnp.ones((3, 2, 2)))


def test_zero_filters_make_a_norm_divide_by_nothing_and_rest_does_not():
    images = jax.random.normal(KEY, (8, 5, 5, 2))

    @jax.jit
    @jax.grad
    def gradient(kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=layout
        )
        return jax.nn.standardize(y, axis=(0, 1, 2), epsilon=1e-5)[0, 0, 0].sum()

    shape = (3, 3, 2, 4)
    assert abs(gradient(dirac()(KEY, shape))).max() > 100
    assert abs(gradient(dirac(rest=lecun_normal())(KEY, shape))).max() < 30


@pytest.mark.parametrize(
    ("groups", "shape", "message"),
    [
        (0, (3, 3, 2, 4), "groups must be at least 1, got 0"),
        (3, (3, 3, 2, 4), r"groups must divide the 4 outputs of shape .*, got 3"),
        (1, (2, 4), r"shape must be \[..., in, out\] .*got \[2, 4\]"),
    ],
)
def test_bad_input_raises(groups, shape, message):
    with pytest.raises(ValueError, match=message):
        dirac(groups=groups)(KEY, shape)


def test_rest_may_be_any_function_of_key_shape_and_dtype():
    def threes(key, shape, dtype):
        return jnp.full(shape, 3, dtype)

    kernel = dirac(rest=threes)(jax.random.key(0), (3, 3, 2, 5))
    assert (kernel[..., 2:] == 3).all()

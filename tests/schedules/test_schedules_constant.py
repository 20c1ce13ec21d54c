import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.schedules import constant_schedule


@pytest.mark.parametrize("count", [0, 1, 10**6])
def test_the_value_is_held(count):
    assert constant_schedule(0.3)(count) == np.float32(0.3)


def test_the_value_takes_the_shape_of_the_count():
    assert constant_schedule(5)(jnp.arange(6).reshape(2, 3)).shape == (2, 3)


def test_an_array_of_values_keeps_its_shape():
    values = np.array([0.1, 0.2], np.float32)
    np.testing.assert_array_equal(constant_schedule(values)(7), values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_value_raises(value):
    with pytest.raises(ValueError, match=f"value must be a finite number, got {value}"):
        constant_schedule(value)

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optix_tricks.augment import progressive_sizes, resize

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def images_of(dtype, shape=(3, 12, 20, 3)):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape), dtype)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(5, 7), (20, 33), (6, 40)])
def test_matches_pillow(method, size):
    images = 64 + images_of(jnp.uint8) // 2  # Pillow clips between the two axes
    out = resize(images, size, method=method)
    assert out.dtype == jnp.uint8
    for image, result in zip(np.asarray(images), out, strict=True):
        expected = Image.fromarray(image).resize(size[::-1], FILTERS[method])
        # ... and rounds.
        assert np.abs(np.asarray(result, int) - np.asarray(expected, int)).max() <= 1
    wide = resize(images.astype(jnp.float32), size, method=method)
    for channel, result in zip(
        np.moveaxis(np.float32(images), 3, 1).reshape(-1, 12, 20),
        np.moveaxis(wide, 3, 1).reshape(-1, *size),
        strict=True,
    ):
        expected = Image.fromarray(channel).resize(size[::-1], FILTERS[method])
        np.testing.assert_allclose(result, np.asarray(expected), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    images = images_of(dtype)
    wide = resize(images.astype(jnp.float32), 7)
    np.testing.assert_array_equal(resize(images, 7), wide.astype(dtype))


def test_a_flat_image_stays_flat_and_uint8_does_not_wrap_around():
    flat = jnp.full((1, 6, 6, 1), 255, jnp.uint8)
    edge = flat.at[:, :, :3].set(0)
    for size in (4, 9):
        for method in FILTERS:
            assert (resize(flat, size, method=method) == 255).all()
            sharpened = np.asarray(resize(edge, size, method=method))[0, 0, :, 0]
            assert (np.diff(sharpened.astype(int)) >= 0).all()


def test_bad_arguments_raise():
    images, unchecked = images_of(jnp.uint8), inspect.unwrap(resize)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        resize(images, (4, 0))
    with pytest.raises(ValueError, match=r"size must be a whole number, got 4\.0"):
        unchecked(images, 4.0)
    with pytest.raises(ValueError, match=r"size must be one number or two, .* got \[4\]"):
        unchecked(images, [4])
    with pytest.raises(ValueError, match=r"method must be .* got \'nearest\'"):
        resize(images, 4, method="nearest")


def ramp(epochs=88, **changes):
    options = {
        "initial_size": 160,
        "final_size": 192,
        "ramp_start": 65,
        "ramp_end": 76,
        "multiple_of": 32,
    }
    return progressive_sizes(epochs, **(options | changes))


def test_ffcv_ramp():
    """From 160 to 192 pixels over epochs 65 to 76 of 88, in multiples of 32."""
    assert ramp() == (160,) * 71 + (192,) * 17
    fine = ramp(multiple_of=8)
    line = np.interp(np.arange(88), [65, 76], [160, 192])
    np.testing.assert_allclose(fine, line, atol=4)
    assert sorted(set(fine)) == [160, 168, 176, 184, 192]


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(0, 20),
    st.integers(1, 20),
    st.sampled_from([1, 4, 32]),
)
def test_sizes_are_a_monotone_ramp_of_multiples(first, last, start, length, multiple):
    sizes = ramp(
        50,
        initial_size=first * multiple,
        final_size=last * multiple,
        ramp_start=start,
        ramp_end=start + length,
        multiple_of=multiple,
    )
    assert len(sizes) == 50
    assert all(type(size) is int and size % multiple == 0 for size in sizes)
    assert set(sizes[: start + 1]) == {first * multiple}
    assert set(sizes[start + length :]) == {last * multiple}
    steps = np.diff(sizes) * np.sign(last - first)
    assert (steps >= 0).all()
    line = np.interp(
        np.arange(50), [start, start + length], [first * multiple, last * multiple]
    )
    assert (np.abs(sizes - line) <= multiple / 2).all()


def test_equal_sizes_are_constant():
    assert set(ramp(initial_size=192)) == {192}


def test_each_size_compiles_once():
    sizes = ramp(
        10, ramp_start=2, ramp_end=8, initial_size=4, final_size=8, multiple_of=4
    )
    traced = []

    @jax.jit
    def step(images):
        traced.append(images.shape[1])
        return images.mean()

    for size in sizes:
        step(resize(images_of(jnp.uint8), size))
    assert traced == [4, 8]


def test_bad_ramps_raise():
    with pytest.raises(ValueError, match="ramp_start must be below ramp_end, 76, got 76"):
        ramp(ramp_start=76)
    with pytest.raises(
        ValueError, match=r"initial_size must be a multiple .* 32, got 150"
    ):
        ramp(initial_size=150)
    with pytest.raises(ValueError, match=r"final_size must be a multiple .* 32, got 200"):
        ramp(final_size=200)
    with pytest.raises(ValueError, match="initial_size must be at least 1, got 0"):
        ramp(initial_size=0)
    with pytest.raises(ValueError, match="multiple_of must be at least 1, got 0"):
        ramp(multiple_of=0)
    with pytest.raises(ValueError, match=r"epochs must be a whole number, got 8\.5"):
        inspect.unwrap(progressive_sizes)(
            8.5, initial_size=32, final_size=64, ramp_start=0, ramp_end=1
        )


def test_a_size_below_the_middle_of_two_multiples_is_the_lower():
    sizes = progressive_sizes(
        17, initial_size=128, final_size=192, ramp_start=0, ramp_end=16
    )
    line = [128 + 4 * epoch for epoch in range(17)]
    assert sizes == tuple(32 * ((2 * size + 32) // 64) for size in line)

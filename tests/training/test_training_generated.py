"""Generated images, by the formula of their class and their own draws."""

import numpy as np
import pytest

from optix_tricks.training import generate


def test_an_image_is_a_sum_of_waves_at_a_shift_under_noise():
    """Written anew, by pixels: recorded results rest on images that stay the same."""
    size, images = 8, generate(8, seed=3)
    rng = np.random.default_rng(3)
    frequency = rng.integers(1, 4, (10, 3, 2))  # three waves a class, 1 to 3 a side
    frequency *= rng.choice([-1, 1], (10, 3, 2))
    phase = 2 * np.pi * rng.random((10, 3))
    colour = rng.standard_normal((10, 3, 3))
    for label in range(2):
        shift = rng.random(2)
        contrast = 0.5 + rng.random()  # drawn after the shift, before the noise
        noise = rng.standard_normal((size, size, 3))
        for row, column, channel in np.ndindex(3, size, 3):
            wanted = 128 + 32 * noise[row, column, channel]
            for k in range(3):
                turns = frequency[label, k, 0] * (row / size + shift[0])
                turns += frequency[label, k, 1] * (column / size + shift[1])
                wave = np.cos(2 * np.pi * turns + phase[label, k])
                wanted += 32 * contrast * colour[label, k, channel] * wave
            pixel = images.train.inputs[label, row, column, channel]
            assert pixel == int(min(max(wanted, 0), 255))


def test_images_are_as_many_and_named_as_said():
    images = generate(8)
    assert images.train.inputs.shape == (2048, 8, 8, 3)
    assert images.test.inputs.shape == (512, 8, 8, 3)
    assert images.train.inputs.dtype == np.uint8
    assert images.train.inputs.min() == 0  # cut, not wrapped around
    assert images.train.inputs.max() == 255
    np.testing.assert_array_equal(images.train.targets, np.arange(2048) % 10)
    np.testing.assert_array_equal(images.test.targets, np.arange(512) % 10)
    assert images.name == "generated/8"
    assert images.class_names[9] == "pattern 9"
    with pytest.raises(ValueError, match="size must be 8 to 1024 pixels, got 7"):
        generate(7)

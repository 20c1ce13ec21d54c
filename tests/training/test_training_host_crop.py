"""Crops on the host: which box is drawn, and what is made of it."""

import numpy as np
import pytest

from optix_tricks.training import DataError, RandomResizedCrop


class Drawn(np.random.Generator):
    """A generator that says the areas and ratios given, and the last corner that fits."""

    def __init__(self, *pairs):
        super().__init__(np.random.PCG64(0))
        self.numbers = [number for pair in pairs for number in pair]
        self.asked = []

    def uniform(self, low, high):
        self.asked.append((low, high))
        return self.numbers.pop(0)

    def integers(self, ends):
        return np.array(ends) - 1


def picture(height, width, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def test_the_box_is_that_of_area_and_ratio_and_may_lie_at_the_edge():
    """A quarter of 12 x 27, three times as wide as high: 16 x 5; then as high as wide."""
    crop = RandomResizedCrop(4, scale=(0.2, 0.5), ratio=(0.25, 4.0))
    rng = Drawn((0.25, np.log(3)))
    assert crop._box(rng, 27, 12) == (27 - 16, 12 - 5, 16, 5)
    assert rng.asked == [(0.2, 0.5), (np.log(0.25), np.log(4.0))]
    assert crop._box(Drawn((0.25, 0.0)), 27, 12) == (18, 3, 9, 9)
    # As large as the image is no more than it; a single pixel is enough.
    assert crop._box(Drawn((1.0, np.log(27 / 12))), 27, 12) == (0, 0, 27, 12)
    assert crop._box(Drawn((1 / 324, 0.0)), 27, 12) == (26, 11, 1, 1)


def test_the_tenth_crop_may_fit_and_else_the_central_square_is_taken():
    crop = RandomResizedCrop(4)
    too_wide = (1.0, 0.0)
    assert crop._box(Drawn(*[too_wide] * 9, (0.25, 0.0)), 16, 9) == (10, 3, 6, 6)
    rng = Drawn(*[too_wide] * 10)
    assert crop._box(rng, 16, 9) == (3, 0, 9, 9)
    assert not rng.numbers
    assert crop._box(Drawn(*[too_wide] * 10), 9, 16) == (0, 3, 9, 9)


def test_a_box_of_the_size_asked_for_is_cut_out_as_it_is():
    crop = RandomResizedCrop(6)
    for channels in (1, 3, 4):
        image = picture(9, 16, channels)
        image[..., 3:] = 255  # what is transparent has no colour for Pillow
        cut = crop(Drawn((0.25, 0.0)), image)
        np.testing.assert_array_equal(cut, image[3:9, 10:16])
    assert RandomResizedCrop(1)(Drawn((1 / 144, 0.0)), image).shape == (1, 1, 4)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)],
    ids=["float", "two axes"],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError, match=r"must be uint8 \[height, width, channel\]"):
        RandomResizedCrop(2)(np.random.default_rng(0), image)


def test_limits_in_the_wrong_order_are_refused():
    for settings, message in [
        ({"scale": (0.0, 1.0)}, r"scale must be 0 < .* got \(0\.0, 1\.0\)"),
        ({"scale": (0.5, 1.5)}, r"scale must be .* <= 1, got"),
        ({"scale": (0.9, 0.5)}, "scale must be .* low <= high"),
        ({"ratio": (0, 1)}, "ratio must be 0 < low"),
        ({"ratio": (2.0, 1.0)}, "ratio must be .* low <= high"),
    ]:
        with pytest.raises(ValueError, match=message):
            RandomResizedCrop(2, **settings)
        with pytest.raises(ValueError, match="size must be at least 1, got 0"):
            RandomResizedCrop(0)

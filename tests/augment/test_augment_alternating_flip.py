import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.augment import alternating_flip

KEY = jax.random.key(3)
SIZE = 2000  # of a data set of images of two pixels, the left one black

flip = jax.jit(alternating_flip)


def data_set(dtype=jnp.uint8):
    return jnp.tile(jnp.array([0, 1], dtype).reshape(1, 1, 2, 1), (SIZE, 1, 1, 1))


def flipped(key, epoch, indices=None):
    """Which images of the data set come out mirrored."""
    indices = jnp.arange(SIZE) if indices is None else indices
    images = data_set()[: len(indices)]
    out = flip(key, images, indices=indices, epoch=epoch)
    return np.asarray(out[:, 0, 0, 0] == 1)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bfloat16, jnp.float16, jnp.float32])
def test_each_image_is_itself_or_its_mirror_by_its_index_and_the_epoch(dtype):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (16, 3, 4, 2)), dtype)
    indices = jnp.arange(16) * 1000
    coins = [int(jax.random.bits(jax.random.fold_in(KEY, i))) & 1 for i in indices]
    assert 0 < sum(coins) < 16
    for epoch in (0, 1, 6):
        out = flip(KEY, images, indices=indices, epoch=epoch)
        assert out.dtype == dtype
        for image, coin, result in zip(np.asarray(images), coins, out, strict=True):
            expected = image[:, ::-1] if (coin + epoch) % 2 else image
            np.testing.assert_array_equal(result, expected)


def test_two_epochs_show_both_orientations_and_four_each_twice():
    masks = [flipped(KEY, epoch) for epoch in range(4)]
    for this, following in itertools.pairwise(masks):
        assert (this != following).all()
    np.testing.assert_array_equal(masks[0], masks[2])


def test_random_flips_do_not_show_both_orientations():
    """The point: with a new coin each epoch half of the pairs are of one orientation."""
    keys = jax.random.split(KEY)
    same = flipped(keys[0], 0) == flipped(keys[1], 0)
    assert abs(same.mean() - 0.5) < 4 * np.sqrt(0.25 / SIZE)


def test_half_of_the_images_are_flipped_without_a_pattern_in_the_index():
    mask = flipped(KEY, 0)
    bound = 4 * np.sqrt(0.25 / SIZE)
    assert abs(mask.mean() - 0.5) < bound
    for lag in (1, 2, 3, 4, 8, 16):
        assert abs((mask[lag:] == mask[:-lag]).mean() - 0.5) < bound


def test_the_order_of_the_batch_does_not_matter():
    order = jax.random.permutation(jax.random.key(0), SIZE)
    shuffled = flipped(KEY, 1, order)
    np.testing.assert_array_equal(shuffled, flipped(KEY, 1)[order])


def test_the_epoch_may_be_a_number_or_an_array():
    images, indices = data_set(), jnp.arange(SIZE)
    for epoch in (3, np.int64(3), np.array(3), jnp.uint8(3)):
        out = alternating_flip(KEY, images, indices=indices, epoch=epoch)
        expected = flip(KEY, images, indices=indices, epoch=1)
        np.testing.assert_array_equal(out, expected)


def test_bad_arguments_raise():
    unchecked = inspect.unwrap(alternating_flip)
    images, indices = data_set()[:4], jnp.arange(4)
    with pytest.raises(ValueError, match=r"indices .* shape \[4\], .* got float32\[4\]"):
        unchecked(KEY, images, indices=indices * 1.0, epoch=0)
    with pytest.raises(ValueError, match=r"indices .* shape \[4\], .* got int32\[3\]"):
        unchecked(KEY, images, indices=indices[:3], epoch=0)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        unchecked(KEY, images, indices=indices, epoch=-1)
    with pytest.raises(ValueError, match=r"epoch must be a whole number, got 1\.5"):
        unchecked(KEY, images, indices=indices, epoch=1.5)
    with pytest.raises(ValueError, match=r"epoch must be one whole number, got .*2"):
        unchecked(KEY, images, indices=indices, epoch=jnp.array([1, 2]))

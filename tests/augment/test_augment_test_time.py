import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.augment import flip_predict, multi_crop_predict, selective_predict

BATCH, HEIGHT, WIDTH, CLASSES = 12, 6, 7, 5
PIXELS = HEIGHT * WIDTH * 3
WEIGHTS = np.random.default_rng(1).normal(size=(PIXELS, CLASSES)) / 3


def predict(images):
    """A net that is neither linear nor symmetric."""
    x = images.reshape(images.shape[0], -1)
    return 3 * jnp.tanh(jnp.matmul(x, jnp.asarray(WEIGHTS, x.dtype), precision="highest"))


def one_logits(image):
    return 3 * np.tanh(image.reshape(-1) @ WEIGHTS)


def images_of(dtype=jnp.float32):
    images = np.random.default_rng(0).normal(size=(BATCH, HEIGHT, WIDTH, 3))
    return jnp.asarray(images, dtype)


def mirrored(image):
    return (one_logits(image) + one_logits(image[:, ::-1])) / 2


def six_views(image, shift=1):
    padded = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
    places = [padded[i : i + HEIGHT, i : i + WIDTH] for i in (shift, 0, 2 * shift)]
    middle, first, last = (mirrored(x) for x in places)
    return 0.5 * middle + 0.25 * first + 0.25 * last


def looped(function, images):
    return np.stack([function(x) for x in np.asarray(images, np.float64)])


def test_flip_is_the_mean_over_the_mirror():
    images = images_of()
    out = flip_predict(predict, images)
    np.testing.assert_allclose(out, looped(mirrored, images), rtol=2e-5, atol=2e-5)
    assert np.abs(out - predict(images)).max() > 0.1


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_multi_crop_is_the_mean_over_six_views(shift):
    images = images_of()
    out = multi_crop_predict(predict, images, shift=shift)
    expected = looped(lambda x: six_views(x, shift), images)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)
    if shift == 0:
        flipped = flip_predict(predict, images)
        np.testing.assert_allclose(out, flipped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fraction", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("traced", [False, True])
def test_selective_predicts_the_least_certain_again(fraction, traced):
    images = images_of()

    def run(images):
        return selective_predict(predict, images, fraction=fraction)

    out = (jax.jit(run) if traced else run)(images)
    plain, full = looped(one_logits, images), looped(six_views, images)
    p = np.exp(plain - plain.max(1, keepdims=True))
    certainty = (p / p.sum(1, keepdims=True)).max(1)
    chosen = np.argsort(certainty)[: round(fraction * BATCH)]
    expected = plain.copy()
    expected[chosen] = full[chosen]
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)
    untouched = np.setdiff1d(np.arange(BATCH), chosen)
    if not traced:
        np.testing.assert_array_equal(out[untouched], predict(images)[untouched])


def test_selective_takes_any_augmented_prediction():
    images = images_of()
    out = selective_predict(predict, images, fraction=1.0, augmented=flip_predict)
    np.testing.assert_allclose(out, flip_predict(predict, images), rtol=1e-5, atol=1e-6)


def test_selective_calls_on_the_chosen_alone():
    seen = []

    def counting(images):
        seen.append(images.shape[0])
        return predict(images)

    selective_predict(counting, images_of(), fraction=0.25)
    assert seen == [12] + 6 * [3]
    seen.clear()
    selective_predict(counting, images_of(), fraction=0.0)
    assert seen == [12]


def test_selective_maps_over_parameters():
    """An ensemble: every member chooses its own images."""
    images = images_of()
    members = jnp.asarray([WEIGHTS, -0.3 * WEIGHTS], jnp.float32)

    def member(weights):
        return selective_predict(lambda x: x.reshape(x.shape[0], -1) @ weights, images)

    expected = jnp.stack([member(weights) for weights in members])
    np.testing.assert_allclose(jax.vmap(member)(members), expected, atol=1e-5)


def test_certain_mistakes_stay_and_uncertain_ones_are_mended():
    """The class is which side is lit; a faint stripe at the left misleads the net."""

    def left_heavy(images):
        side = images[..., 0].mean((1, 2)) + 0.1 * images[:, 0, 0, 0]
        return jnp.stack([side, -side], axis=1)

    images = jnp.zeros((4, 4, 4, 1))
    images = images.at[0].set(1.0).at[1].set(-1.0)  # certain
    images = images.at[2:, 0, 0].set(0.5).at[2:, :, 3].set(-0.25)  # uncertain
    plain = left_heavy(images)
    out = selective_predict(left_heavy, images, fraction=0.5, augmented=flip_predict)
    assert plain.argmax(1).tolist() == [0, 1, 0, 0]
    assert out.argmax(1).tolist() == [0, 1, 1, 1]
    np.testing.assert_array_equal(out[:2], plain[:2])


def test_a_symmetric_prediction_is_left_alone():
    def mean(images):
        return images.mean((1, 2))

    images = images_of()
    np.testing.assert_allclose(flip_predict(mean, images), mean(images), atol=1e-6)
    flat = jnp.broadcast_to(images[:, :1, :1], images.shape)
    for function in (flip_predict, multi_crop_predict, selective_predict):
        np.testing.assert_allclose(function(predict, flat), predict(flat), atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_logits_are_averaged_in_float32(dtype):
    images = images_of()

    def coarse(images):
        return predict(images).astype(dtype)

    def rounded(images):
        return coarse(images).astype(jnp.float32)

    for function in (flip_predict, multi_crop_predict, selective_predict):
        out = function(coarse, images)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, function(rounded, images).astype(dtype))


def test_logits_of_any_shape():
    def per_pixel(images):
        return images @ jnp.ones((3, 2))

    images = images_of()
    out = flip_predict(per_pixel, images)
    assert out.shape == (BATCH, HEIGHT, WIDTH, 2)
    both = (per_pixel(images) + per_pixel(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(out, both, atol=1e-6)
    with pytest.raises(ValueError, match=r"\[batch, classes\] for 12 .*\[12, 6, 7, 2\]"):
        selective_predict(per_pixel, images)


def test_bad_arguments_raise():
    images = images_of()
    with pytest.raises(ValueError, match=r"shift must be below .* 6 pixels .*, got 6"):
        multi_crop_predict(predict, images, shift=6)
    with pytest.raises(ValueError, match="shift must be at least 0, got -1"):
        multi_crop_predict(predict, images, shift=-1)
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got 1\.5"):
        selective_predict(predict, images, fraction=1.5)
    for function in (flip_predict, multi_crop_predict, selective_predict):
        with pytest.raises(ValueError, match=r"images must be .*got shape \[6, 7, 3\]"):
            inspect.unwrap(function)(predict, images[0])

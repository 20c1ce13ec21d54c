"""Batches read by Grain: which they are, where they lie, and how long one waits."""

import io
import json
import sys
import threading
import time
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optix_tricks as ot
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    ArraySource,
    DataError,
    RandomResizedCrop,
    Stream,
    compile_step,
    compile_step_on_mesh,
    create_state,
    host_batches,
    make_train_step,
    stream_epoch,
)
from optix_tricks.training._streaming import (
    Waiting,
)

SIZE, BATCH = 21, 4  # five batches an epoch, one image left over


@pytest.fixture(scope="module")
def source():
    """Images that tell their labels by the first pixel."""
    images = np.random.default_rng(0).integers(0, 256, (SIZE, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(SIZE)
    return ArraySource(images, np.arange(SIZE, dtype=np.int64))


def brighten(rng, image):
    return (image // 2 + rng.integers(0, 128, image.shape)).astype(np.uint8)


def take(source, count, **settings):
    with Stream(source, **({"batch_size": BATCH, "seed": 3} | settings)) as stream:
        return [jax.device_get(next(stream)) for _ in range(count)]


def png(image, image_format="PNG"):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, image_format)
    return buffer.getvalue()


def test_an_epoch_is_a_fresh_shuffle_of_full_batches(source):
    batches = take(source, 10)
    for images, labels, indices, _ in batches:
        assert images.dtype == np.uint8
        assert labels.dtype == indices.dtype == np.int32
        np.testing.assert_array_equal(indices, labels)
        np.testing.assert_array_equal(images, source.images[labels])
    labels = np.stack([batch.targets for batch in batches])
    first, second = labels[:5].ravel(), labels[5:].ravel()
    assert len(set(first)) == len(set(second)) == 20
    assert (first != second).any()
    assert (first != np.sort(first)).any()
    other = np.stack([batch.targets for batch in take(source, 5, seed=4)])
    assert (labels[:5] != other).any()


@pytest.mark.parametrize(
    "settings", [{"threads": 0}, {"threads": 5}, {"prefetch": 0}, {"prefetch": 7}]
)
def test_threads_and_prefetching_change_no_batch(source, settings):
    chex.assert_trees_all_equal(
        take(source, 12, augment=brighten, **settings),
        take(source, 12, augment=brighten),
    )


@pytest.mark.parametrize("done", [1, 5, 7])
def test_a_stream_goes_on_exactly_from_its_number(source, done):
    settings = {"batch_size": BATCH, "seed": 3, "augment": brighten}
    with Stream(source, **settings) as stream:
        for _ in range(done):
            next(stream)
        saved = json.dumps(stream.number)
        expected = [next(stream) for _ in range(6)]
    resumed = take(source, 6, augment=brighten, start=json.loads(saved))
    chex.assert_trees_all_equal(resumed, jax.device_get(expected))


@pytest.mark.slow
def test_worker_processes_change_no_batch_and_resume_exactly(source):
    expected = take(source, 9, augment=brighten)
    settings = {"augment": lambda rng, image: brighten(rng, image), "workers": 2}
    chex.assert_trees_all_equal(take(source, 9, **settings), expected)
    chex.assert_trees_all_equal(take(source, 6, **settings, start=3), expected[3:])
    broken = [{"image": b"broken", "label": 0}] * SIZE
    with pytest.raises(DataError, match=r"image \d+ cannot be decoded"):
        take(broken, 1, workers=1)


def test_augmentation_is_drawn_anew_for_each_image_and_epoch(source):
    same = ArraySource(np.zeros((SIZE, 4, 4, 3), np.uint8), np.arange(SIZE))
    images = np.concatenate([x for x, *_ in take(same, 10, augment=brighten)])
    assert len({image.tobytes() for image in images}) == 40
    assert images.mean() == pytest.approx(127 / 2, abs=6)  # σ = 37 / √1920 = 0.84


def test_pictures_are_decoded(source):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    records = [{"image": png(x), "label": 0} for x in source.images[:6]]
    records += [{"image": png(grey), "label": 1}]
    records += [{"image": png(grey, "JPEG"), "label": 2}]
    [(images, labels, *_)] = take(records, 1, batch_size=8)
    found = {image.tobytes() for image in images[labels == 0]}
    assert found == {image.tobytes() for image in source.images[:6]}
    np.testing.assert_array_equal(images[labels == 1][0], np.dstack([grey] * 3))
    np.testing.assert_allclose(images[labels == 2][0, ..., 1], grey, atol=2)


def test_tfds_is_a_source():
    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=9, policy=policy):
        data = tfds.data_source("cifar10", split="train")
        [(images, labels, *_)] = take(data, 1, batch_size=9)
        records = [data[i] for i in range(9)]
    pairs = sorted((int(y), x.tobytes()) for x, y in zip(images, labels, strict=True))
    assert pairs == sorted((r["label"], r["image"].tobytes()) for r in records)


def test_a_mesh_gets_an_equal_part_on_each_device(source):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    [plain] = take(source, 1, batch_size=8)
    with Stream(source, batch_size=8, seed=3, sharding=sharding) as stream:
        split = next(stream)
    chex.assert_trees_all_equal(jax.device_get(split), plain)
    for place, shard in enumerate(split.inputs.addressable_shards):
        assert shard.device == mesh.devices[place]
        np.testing.assert_array_equal(shard.data, plain.inputs[2 * place :][:2])
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of .* 4 dev"):
        Stream(source, batch_size=6, seed=3, sharding=sharding)
    device = jax.devices()[3]
    with Stream(source, batch_size=6, seed=3, sharding=device) as stream:
        assert next(stream).inputs.devices() == {device}


def linear(params, batch_stats, images, *, train, key=None):
    return jnp.reshape(images, (len(images), -1)) / 255 @ params["w"], batch_stats


@pytest.fixture(scope="module")
def training():
    tx = ot.sgd(0.1, momentum=0.9)
    step = make_train_step(linear, cross_entropy, tx)

    def new_state():
        params = {"w": jnp.zeros((48, SIZE))}
        return create_state(params, {}, tx, jax.random.key(0))

    return step, compile_step(step), new_state


def test_a_streamed_epoch_is_step_after_step(source, training):
    _, step, new_state = training
    by_hand, losses, seen = new_state(), [], []
    for batch in take(source, 7):
        by_hand, metrics = step(by_hand, batch)
        losses.append(float(metrics["loss"]))
    with Stream(source, batch_size=BATCH, seed=3) as stream:
        state, first = stream_epoch(step, new_state(), stream, steps=2)
        state, rest = stream_epoch(step, state, stream, on_step=seen.append)
        assert stream.number == stream.steps_per_epoch == 5
    with Stream(source, batch_size=BATCH, seed=3, start=int(state.step)) as stream:
        state, resumed = stream_epoch(step, state, stream, steps=2)
    chex.assert_trees_all_equal(state.params, by_hand.params)
    assert seen == [0, 1, 2]
    series = np.concatenate([m["loss"] for m in (first, rest, resumed)])
    np.testing.assert_array_equal(series, np.float32(losses))
    assert rest["input_wait"].shape == (3,)


def test_an_epoch_on_a_mesh_is_that_of_one_device(source, training):
    step, one_device, new_state = training
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    compiled, state = compile_step_on_mesh(step, mesh, new_state())
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    with Stream(source, batch_size=BATCH, seed=3, sharding=sharding) as stream:
        state, metrics = stream_epoch(compiled, state, stream)
    with Stream(source, batch_size=BATCH, seed=3) as stream:
        expected, series = stream_epoch(one_device, new_state(), stream)
    chex.assert_trees_all_close(state.params, expected.params, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], series["loss"], rtol=1e-5)


class Slow(ArraySource):
    def __getitem__(self, index):
        time.sleep(0.01)
        return super().__getitem__(index)


def test_a_slow_source_is_seen(source, training):
    _, step, new_state = training
    slow = Slow(source.images, source.labels)
    with Stream(slow, batch_size=BATCH, seed=3, threads=0, prefetch=0) as stream:
        state, first = stream_epoch(step, new_state(), stream)
        _, second = stream_epoch(step, state, stream)
        waiting = stream.waiting
    assert second["input_wait"].mean() > 0.02  # of 0.04 s for four images
    waits = np.concatenate([first["input_wait"], second["input_wait"]])
    assert waiting.first == pytest.approx(waits[0], rel=1e-5)
    assert waiting.rest == pytest.approx(waits[1:].sum(), rel=1e-5)
    assert waiting.rest < waiting.total
    assert waiting.share == waiting.rest / waiting.total


def test_a_slow_step_does_not_wait(source, training):
    _, step, new_state = training

    def slow_step(state, batch):
        time.sleep(0.1)
        return step(state, batch)

    with Stream(source, batch_size=BATCH, seed=3) as stream:
        stream_epoch(slow_step, new_state(), stream, steps=5)
        assert stream.waiting.total > 0.4
        assert stream.waiting.share < 0.3


def test_only_what_comes_after_the_first_batch_is_a_share(source):
    with Stream(source, batch_size=BATCH, seed=3) as stream:
        assert (stream.last_wait, stream.waiting) == (0, Waiting())
        assert stream.waiting.share == 0
        next(stream)
        assert stream.waiting == Waiting(first=stream.last_wait)
        assert stream.last_wait > 0
        assert stream.number == 1
    assert Waiting(first=9.0, rest=1.0, total=4.0).share == 0.25


def test_the_rest_of_a_running_step_is_no_waiting(source):
    released, began = threading.Event(), []

    class Gated(ArraySource):
        def __getitem__(self, index):
            assert released.wait(10)
            return super().__getitem__(index)

    def finish():
        time.sleep(0.1)
        began.append(time.perf_counter())
        released.set()

    gated = Gated(source.images, source.labels)
    with Stream(gated, batch_size=BATCH, seed=3) as stream:
        stream.busy_until(SimpleNamespace(block_until_ready=finish))
        next(stream)
        assert 0 < stream.last_wait < time.perf_counter() - began[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 22}, r"batch_size must be at most .* 21, got 22"),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ({"seed": -1}, r"seed must be at least 0, got -1"),
        ({"workers": -1}, r"workers must be at least 0, got -1"),
        ({"threads": -2}, r"threads must be at least 0, got -2"),
        ({"prefetch": -1}, r"prefetch must be at least 0, got -1"),
        ({"start": -1}, r"start must be at least 0, got -1"),
    ],
)
def test_bad_settings_are_named(source, settings, message):
    with pytest.raises(ValueError, match=message):
        take(source, 1, **settings)


def test_a_source_smaller_than_a_batch_is_named(source):
    """Also where batches are asked for without a stream: they would end at once."""
    for size in (0, 3):
        few = ArraySource(source.images[:size], source.labels[:size])
        with pytest.raises(ValueError, match=rf"at most .* source, {size}, got 4"):
            host_batches(few, 4, 0, None, 0, 0, 0)


PIXELS = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": PIXELS[:3], "label": 0}, r"alike, found uint8 \[3, 4, 3\] and .*Crop"),
        ({"image": PIXELS / 255, "label": 0}, r"alike, found float64 .* and uint8"),
        ({"picture": PIXELS, "label": 0}, r"example 4 must .* \['label', 'picture'\]"),
        ((PIXELS, 0), r"example 4 must be a dict .* found tuple"),
        ({"image": b"no picture", "label": 0}, r"image 4 cannot be decoded"),
    ],
)
def test_a_bad_example_is_named_and_ends_the_stream(record, message):
    records = [{"image": PIXELS, "label": 0}] * 4 + [record]
    stream = Stream(records, batch_size=5, seed=0)
    with pytest.raises(DataError, match=message) as caught:
        next(stream)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"closed: make another with start=0"):
        next(stream)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": PIXELS / 255, "label": 0}, r"must be uint8 .* found float64"),
        ({"image": PIXELS[..., 0], "label": 0}, r"found uint8 \[4, 4\]; .* last axis"),
        ({"image": PIXELS, "label": 0.5}, r"labels must be whole numbers, found float"),
        ({"image": PIXELS, "label": [0, 1]}, r"whole numbers, found int64 \[2\]"),
        ({"image": PIXELS, "label": 2**31}, r"indices of classes, .* found 2147483648"),
        ({"image": PIXELS, "label": -1}, r"indices of classes, .* found -1"),
    ],
)
def test_what_is_no_image_or_label_is_named(record, message):
    with pytest.raises(DataError, match=message):
        take([record] * 4, 1)


def test_without_grain_one_sentence_says_how_to_get_it(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    way_out = r"cannot be streamed .* `pip install 'optix_tricks\[streaming\]'`, or"
    with pytest.raises(DataError, match=way_out):
        Stream(source, batch_size=BATCH, seed=3)


def test_no_steps_is_named(source, training):
    with (
        Stream(source, batch_size=BATCH, seed=3) as stream,
        pytest.raises(ValueError, match=r"steps must be at least 1, got 0"),
    ):
        stream_epoch(training[1], training[2](), stream, steps=0)


def test_a_whole_square_of_its_own_size_is_the_identity():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    crop = RandomResizedCrop(16, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    np.testing.assert_array_equal(crop(np.random.default_rng(0), image), image)
    grey = image[..., :1]
    np.testing.assert_array_equal(crop(np.random.default_rng(0), grey), grey)


def test_crops_have_area_shape_and_place_as_asked():
    height, width = 100, 200
    rows, columns = np.meshgrid(range(height), range(width), indexing="ij")
    image = np.dstack([rows, columns, 0 * rows]).astype(np.uint8)
    crop, rng = RandomResizedCrop(8, scale=(0.1, 0.3)), np.random.default_rng(0)
    crops = np.stack([crop(rng, image) for _ in range(400)]).astype(float)
    h = (crops[:, -1, 0, 0] - crops[:, 0, 0, 0]) * 8 / 7  # centres of the outer pixels
    w = (crops[:, 0, -1, 1] - crops[:, 0, 0, 1]) * 8 / 7
    share, ratio = h * w / (height * width), np.log(w / h)
    assert share.min() > 0.1 * 0.9
    assert share.max() < 0.3 * 1.1
    assert share.mean() == pytest.approx(0.2, abs=0.01)  # σ = 0.2 / √12 / 20 = 0.003
    assert np.abs(ratio).max() < np.log(4 / 3) + 0.1
    assert ratio.mean() == pytest.approx(0, abs=0.03)  # σ = 0.17 / 20 = 0.008
    assert crops[..., 0].mean() == pytest.approx((height - 1) / 2, abs=3)
    assert crops[..., 1].mean() == pytest.approx((width - 1) / 2, abs=8)


def test_where_no_crop_fits_the_central_square_is_taken():
    image = np.random.default_rng(0).integers(0, 256, (30, 6, 3), np.uint8)
    crop = RandomResizedCrop(6, scale=(1.0, 1.0))
    np.testing.assert_array_equal(crop(np.random.default_rng(0), image), image[12:18])


def test_a_crop_makes_one_batch_of_images_of_all_sizes():
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 40, (12, 2))
    records = [
        {"image": png(rng.integers(0, 256, (*size, 3), np.uint8)), "label": i}
        for i, size in enumerate(sizes)
    ]
    [(images, *_)] = take(records, 1, batch_size=12, augment=RandomResizedCrop(16))
    assert images.shape == (12, 16, 16, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, r"size must be at least 1"),
        ({"size": 8, "scale": (0.5, 0.1)}, r"scale must be .* got \(0.5, 0.1\)"),
        ({"size": 8, "ratio": (0.0, 1.0)}, r"ratio must be .* got \(0.0, 1"),
    ],
)
def test_bad_crops_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**settings)

"""TFDS sets of pictures of many sizes: ImageNet's own form, made here."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from optix_tricks.training import DataError, Pictures, load_dataset, load_tfds
from optix_tricks.training import _tfds_pictures as pictures
from tests.training.test_data import NAMES, toy_features, toy_splits, write


def jpegs(count, seed):
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = rng.integers(0, 256, (*rng.integers(12, 30, 2), 3), np.uint8)
        yield {"image": image, "label": i % 5}


@pytest.fixture(scope="module")
def many_sizes(tmp_path_factory):
    """Like ImageNet: its test tells no classes."""
    directory = tmp_path_factory.mktemp("tfds")
    splits = {"train": [*jpegs(10, 0)], "validation": [*jpegs(5, 1)]}
    splits["test"] = [example | {"label": -1} for example in jpegs(2, 2)]
    write(directory, toy_features((None, None, 3)), splits, image_format="JPEG")
    return directory


def test_pictures_are_those_of_tfds_cropped_by_pillow(many_sizes):
    data = load_tfds("toy", data_dir=many_sizes, stream=True, image_size=8)
    assert data.streamed
    assert data.class_names == tuple(NAMES)
    for batch, split in ((data.train, "train"), (data.test, "validation")):
        assert isinstance(batch.inputs, Pictures)
        theirs = tfds.data_source("toy", split=split, data_dir=many_sizes)
        np.testing.assert_array_equal(batch.targets, [x["label"] for x in theirs])
        for ours, example in zip(np.asarray(batch.inputs), theirs, strict=True):
            picture = PIL.Image.fromarray(example["image"])
            fit = PIL.ImageOps.fit(picture, (8, 8), PIL.Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(ours, np.asarray(fit))
    small = load_dataset("toy", data_dir=many_sizes, image_size=8)
    np.testing.assert_array_equal(small.train.inputs, np.asarray(data.train.inputs))


def test_labels_are_read_once_and_anew_where_the_set_is_another(
    many_sizes, tmp_path, monkeypatch
):
    shutil.copytree(many_sizes, tmp_path / "mine")
    home = tmp_path / "mine" / "toy" / "1.0.0"
    options = {"data_dir": tmp_path / "mine", "stream": True, "image_size": 8}
    first = load_tfds("toy", **options)
    kept = home / pictures.LABELS
    assert kept.exists()
    monkeypatch.setattr(pictures, "write_npz", None)  # nothing is left to write
    again = load_tfds("toy", **options)
    np.testing.assert_array_equal(first.train.targets, again.train.targets)
    monkeypatch.undo()
    info = home / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"description": "new"}))
    content = kept.read_bytes()
    load_tfds("toy", **options)
    assert kept.read_bytes() != content
    kept.write_bytes(b"damaged")
    load_tfds("toy", **options)
    assert kept.read_bytes() != b"damaged"


def test_squares_of_one_size_are_streamed_as_they_are(tmp_path):
    write(tmp_path, toy_features(), toy_splits())
    whole = load_tfds("toy", data_dir=tmp_path)
    streamed = load_tfds("toy", data_dir=tmp_path, stream=True)
    assert not streamed.train.inputs.is_cropped
    np.testing.assert_array_equal(np.asarray(streamed.test.inputs), whole.test.inputs)
    assert load_tfds("toy", data_dir=tmp_path, room=700).streamed
    assert not load_tfds("toy", data_dir=tmp_path, room=720).streamed


def test_a_set_that_tells_no_test_class_is_named(tmp_path):
    splits = {
        s: [x | {"label": i} for x in jpegs(1, 0)]
        for s, i in (("train", 0), ("test", -1))
    }
    write(tmp_path, toy_features((None, None, 3)), splits)
    with pytest.raises(DataError, match=r"'toy' does not tell the classes of test: choo"):
        load_tfds("toy", data_dir=tmp_path, stream=True)

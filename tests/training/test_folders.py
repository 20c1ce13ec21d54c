"""Folders of pictures as data sets, and the array that decodes what is asked for."""

import io
import shutil

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from optix_tricks.training import (
    DataError,
    Pictures,
    load_dataset,
    read_picture,
    split_validation,
)
from optix_tricks.training._memory import read_memory, room_for_data
from tests.training.pictures import COUNTS, SIZE, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def mine(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "mine")


def files(folder, split):
    return sorted((folder / split).glob("*/*"))


def test_pictures_are_those_of_pillow_in_the_order_of_their_names(folder):
    data = load_dataset(folder, stream=True, image_size=SIZE)
    assert data.class_names == ("cat", "dog")
    assert data.name == folder.name
    for split, batch in (("train", data.train), ("test", data.test)):
        count = COUNTS[split]
        assert batch.inputs.shape == (2 * count, SIZE, SIZE, 3)
        np.testing.assert_array_equal(batch.targets, np.repeat([0, 1], count))
        want = [
            read_picture(x.read_bytes(), size=(SIZE,) * 2) for x in files(folder, split)
        ]
        np.testing.assert_array_equal(np.asarray(batch.inputs), np.stack(want))
        index = np.array([3, 0, 3])
        some = jnp.asarray(batch.inputs[index])
        np.testing.assert_array_equal(some, np.stack(want)[index])
        assert batch.inputs[4:].nbytes == np.stack(want)[4:].nbytes


def test_what_fits_is_decoded_and_what_does_not_is_streamed(folder):
    whole = load_dataset(folder, image_size=SIZE)
    assert isinstance(whole.train.inputs, np.ndarray)
    assert not whole.streamed
    size = sum(2 * n for n in COUNTS.values()) * SIZE**2 * 3
    assert not load_dataset(folder, image_size=SIZE, room=size).streamed
    small = load_dataset(folder, image_size=SIZE, room=size - 1)
    assert small.streamed
    np.testing.assert_array_equal(np.asarray(small.test.inputs), whole.test.inputs)
    for mine, theirs in zip(
        small.channel_statistics(), whole.channel_statistics(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)  # the sample is all
    tight = load_dataset(folder, image_size=SIZE, room=100)
    with pytest.raises(
        DataError, match=r"24 pictures of 8 pixels take 4,608 bytes .*100"
    ):
        np.asarray(tight.train.inputs)
    with pytest.raises(DataError, match=r"and 100 may: .* more --memory\.$"):
        load_dataset(folder, image_size=SIZE, room=100, stream=False)


def test_a_validation_folder_serves_beside_the_test_or_as_it(mine):
    (mine / "test").rename(mine / "validation")
    alone = load_dataset(mine, stream=True, image_size=SIZE)
    assert alone.test.size == 10
    assert alone.validation is None
    split = split_validation(alone, 0.25, seed=0)
    assert isinstance(split.validation.inputs, Pictures)
    assert (split.train.size, split.validation.size) == (18, 6)
    assert split.validation.targets.sum() == 3
    parts = [np.asarray(x.inputs) for x in (split.train, split.validation)]
    both = {x.tobytes() for part in parts for x in part}
    assert both == {x.tobytes() for x in np.asarray(alone.train.inputs)}
    shutil.copytree(mine / "train", mine / "test")
    data = load_dataset(mine, stream=True, image_size=SIZE)
    assert (data.test.size, data.validation.size) == (24, 10)


def empty(mine):
    for file in (mine / "train" / "dog").iterdir():
        file.unlink()


def stranger(mine):
    (mine / "test" / "cow").mkdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda x: shutil.rmtree(x / "train"),
            r"mine has no folder train: lay it out as",
        ),
        (lambda x: shutil.rmtree(x / "test"), r"has no folder test or val beside train"),
        (empty, r"class folder \S+train/dog holds no picture: add some \(\.bmp, "),
        (stranger, r"has a class 'cow' that \S+mine/train does not have: the classes"),
    ],
)
def test_what_is_amiss_with_folders_is_one_sentence(mine, harm, message):
    harm(mine)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(mine)
    assert "\n" not in str(caught.value)


def test_a_picture_that_cannot_be_decoded_names_its_file(mine):
    bad = mine / "test" / "cat" / "04.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=rf"picture {bad} cannot be decoded \(cannot iden"
    ):
        load_dataset(mine, image_size=SIZE)
    data = load_dataset(mine, image_size=SIZE, stream=True)
    bad.unlink()
    with pytest.raises(
        DataError, match=rf"picture {bad} cannot be read \(.*No such file"
    ):
        np.asarray(data.test.inputs)


def test_what_lies_in_memory_is_not_streamed():
    for name in ("digits", "generated/8", "mine.npz"):
        with pytest.raises(
            DataError, match=r"lies in memory and cannot be streamed: leav"
        ):
            load_dataset(name, stream=True)


def test_memory_is_read_with_its_unit():
    assert [read_memory(x) for x in ("512MB", "1.5GB", "8GiB")] == [
        512 * 10**6,
        1500 * 10**6,
        2**33,
    ]
    for wrong in ("8", "8 gigs", "0GB", "GB", "8gb", "-1GB"):
        with pytest.raises(ValueError, match=r"memory must be like 512MB, 16GB or 8GiB"):
            read_memory(wrong)
    assert 2**20 < room_for_data() < 2**50


@pytest.mark.parametrize("turned", [False, True])
def test_a_jpeg_that_is_read_at_a_fraction_shows_the_same_crop(turned):
    from optix_tricks.training import RandomResizedCrop

    rows, columns = np.meshgrid(range(240), range(320), indexing="ij")
    picture = PIL.Image.fromarray(
        np.stack([rows, columns * 3 / 4, rows / 2 + columns / 4], -1).astype(np.uint8)
    )
    exif = PIL.Image.Exif()
    if turned:
        exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, exif=exif)
    content, crop = buffer.getvalue(), RandomResizedCrop(24, scale=(0.5, 1.0))
    for seed in range(4):
        mine = crop.read(np.random.default_rng(seed), content).astype(int)
        whole = crop(np.random.default_rng(seed), read_picture(content)).astype(int)
        assert np.abs(mine - whole).max() <= 4
    grey = crop.read(np.random.default_rng(0), content, "L")
    assert grey.shape == (24, 24, 1)

"""Files that are no .npz, and images whose channels come first, are named as such."""

import numpy as np
import pytest

from optix_tricks.training import load_dataset
from optix_tricks.training._dataset import DataError
from optix_tricks.training._npz import read_arrays

ARRAYS = {
    "train_images": np.zeros((6, 8, 8, 3), np.uint8),
    "train_labels": np.arange(6) % 3,
    "test_images": np.zeros((3, 8, 8, 3), np.uint8),
    "test_labels": np.arange(3),
}


def of_text(path):
    path.write_text("label,pixel\n")


def of_nothing(path):
    path.touch()


def of_one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def of_objects(path):
    with path.open("wb") as file:
        np.savez(file, **ARRAYS, class_names=np.array([{}, None, 3], object))


def of_channels_first(path):
    first = {k: np.moveaxis(x, -1, 1) if x.ndim == 4 else x for k, x in ARRAYS.items()}
    with path.open("wb") as file:
        np.savez(file, **first)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            of_text,
            r"no file of NumPy's but begins with b'label,'\); write it by np.savez",
        ),
        (of_nothing, r"no file of NumPy's but is empty\)"),
        (of_one_array, r"a .npy file, of one array without a name\); write it by np.sav"),
        (of_objects, r"it holds Python's objects, and no numbers\)"),
        (
            of_channels_first,
            r"found uint8 \[6, 3, 8, 8\]; its channels come first: put them last by"
            r" transpose\(0, 2, 3, 1\)",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_what_is_no_data_set_is_named(write, said, suffix, tmp_path):
    path = tmp_path / f"mine.{suffix}"
    write(path)
    with pytest.raises(DataError, match=said) as error:
        load_dataset(path)
    assert "pickle" not in str(error.value)


def test_arrays_are_read_by_name_whatever_the_file_is_called(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, x=[1, 2])
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, [3])
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy")["x"], [1, 2])
    np.testing.assert_array_equal(read_arrays(tmp_path / "b.npz")[""], [3])

"""Real TFDS directories, written here in array_record without TensorFlow or network."""

import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import requests
import tensorflow_datasets as tfds

from optix_tricks.training import DataError, load_arrays, load_dataset, load_tfds
from optix_tricks.training import _data as data

CACHE = "optix_tricks_arrays.npz"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
NAMES = ["eins", "zwei", "drei", "vier", "fünf"]


def write(directory, features, splits, name="Toy", image_format="PNG"):
    """Prepare a set; arrays under `image` are stored as PNG or JPEG, as TFDS does."""

    def encode(value):
        if not isinstance(value, np.ndarray):
            return value
        buffer = io.BytesIO()
        squeezed = value[..., 0] if value.shape[-1] == 1 else value
        PIL.Image.fromarray(squeezed).save(buffer, image_format)
        return buffer.getvalue()

    def info(self):
        return self.dataset_info_from_configs(features=features)

    def split_generators(self, _):
        return {split: examples(split) for split in splits}

    def examples(split):
        for i, example in enumerate(splits[split]):
            yield i, {key: encode(value) for key, value in example.items()}

    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": split_generators,
        "_generate_examples": None,
        "__module__": __name__,
        "pkg_dir_path": Path(__file__).parent,
    }
    with tfds.core.registered.skip_registration():
        builder = type(name, (tfds.core.GeneratorBasedBuilder,), members)(
            data_dir=directory, file_format="array_record"
        )
    builder.download_and_prepare()
    return Path(builder.data_path)


def write_official(directory, name, splits, label_names):
    """Prepare one of TFDS's own sets from other examples, under its own version."""
    base = tfds.builder_cls(name)

    def split_generators(self, _):
        for key, names in label_names.items():
            self.info.features[key].names = names
        return {split: enumerate(examples) for split, examples in splits.items()}

    with tfds.core.registered.skip_registration():
        builder = type(base.__name__, (base,), {"_split_generators": split_generators})(
            data_dir=directory, file_format="array_record"
        )
    builder.download_and_prepare()
    return Path(builder.data_path)


def random_examples(count, shape, classes, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    labels = np.arange(count) % classes
    return [{"image": x, "label": int(y)} for x, y in zip(images, labels, strict=True)]


def png(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.squeeze(image)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    mnist = {
        split: [e | {"image": png(e["image"])} for e in examples]
        for split, examples in {
            "train": random_examples(30, (28, 28, 1), 10, 0),
            "test": random_examples(20, (28, 28, 1), 10, 1),
        }.items()
    }
    cifar = {
        split: [
            e | {"image": png(e["image"]), "id": str(i), "coarse_label": i % 20}
            for i, e in enumerate(examples)
        ]
        for split, examples in {
            "train": random_examples(40, (32, 32, 3), 100, 2),
            "test": random_examples(12, (32, 32, 3), 100, 3),
        }.items()
    }
    write_official(directory, "mnist", mnist, {})
    fine = [f"fine {i}" for i in range(100)]
    coarse = [f"coarse {i}" for i in range(20)]
    labels = {"label": fine, "coarse_label": coarse}
    write_official(directory, "cifar100", cifar, labels)
    return directory


@pytest.fixture
def toy(tmp_path):
    """A directory with a small set of 4 x 4 colour images, of its own name."""
    write(tmp_path, toy_features(), toy_splits())
    return tmp_path


def toy_features(shape=(4, 4, 3), **replaced):
    features = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(names=NAMES),
    }
    return tfds.features.FeaturesDict(features | replaced)


def toy_splits(shape=(4, 4, 3), seed=0):
    return {
        "train": random_examples(10, shape, 5, seed),
        "test": random_examples(5, shape, 5, seed + 1),
    }


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise socket.gaierror("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def assert_same(left, right):
    for ours, theirs in zip(
        (left.train, left.test), (right.train, right.test), strict=True
    ):
        np.testing.assert_array_equal(ours.inputs, theirs.inputs)
        np.testing.assert_array_equal(ours.targets, theirs.targets)
    assert left.class_names == right.class_names


@pytest.mark.parametrize(
    ("name", "shape", "counts", "names"),
    [
        ("mnist", (28, 28, 1), (30, 20), [str(i) for i in range(10)]),
        ("cifar100", (32, 32, 3), (40, 12), [f"fine {i}" for i in range(100)]),
    ],
)
def test_images_labels_and_order_are_those_of_tfds(
    official, name, shape, counts, names, capfd
):
    dataset = load_tfds(name, data_dir=official, cache=False)
    assert capfd.readouterr() == ("", "")
    assert dataset.name == name
    assert dataset.class_names == tuple(names)
    for split, count in zip(("train", "test"), counts, strict=True):
        images, labels = getattr(dataset, split)[:2]
        assert (images.dtype, images.shape) == (np.uint8, (count, *shape))
        assert (labels.dtype, labels.shape) == (np.int32, (count,))
        expected = tfds.data_source(name, split=split, data_dir=official)
        for i, example in enumerate(expected):
            np.testing.assert_array_equal(images[i], example["image"])
            assert labels[i] == example["label"]


def test_records_are_read_in_parts(toy, monkeypatch):
    whole = load_tfds("toy", data_dir=toy, cache=False)
    monkeypatch.setattr(data, "_CHUNK", 4)  # of ten, the last part shorter
    assert_same(load_tfds("toy", data_dir=toy, cache=False), whole)


def test_tensorflow_is_never_imported(official, monkeypatch):
    class Refuses:
        def find_spec(self, name, *rest):
            assert name.partition(".")[0] != "tensorflow"

    assert "tensorflow" not in sys.modules
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    assert len(load_tfds("mnist", data_dir=official, cache=False).train.inputs) == 30


def test_a_name_may_carry_a_version(official):
    plain = load_tfds("mnist", data_dir=official, cache=False)
    versioned = load_tfds("mnist:3.*.*", data_dir=official, cache=False)
    assert_same(plain, versioned)


def test_the_newest_version_is_read(toy):
    newer = toy / "toy" / "1.2.0"
    shutil.copytree(toy / "toy" / "1.0.0", newer)
    info = newer / "dataset_info.json"
    info.write_text(info.read_text().replace("1.0.0", "1.2.0"))
    load_tfds("toy", data_dir=toy)
    assert (newer / CACHE).exists()
    assert not (toy / "toy" / "1.0.0" / CACHE).exists()


def test_the_directory_is_the_one_of_the_environment(toy, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(toy))
    assert load_dataset("toy").class_names == tuple(NAMES)


def test_validation_serves_as_test(tmp_path):
    splits = toy_splits()
    splits["validation"] = splits.pop("test")
    write(tmp_path, toy_features(), splits)
    dataset = load_tfds("toy", data_dir=tmp_path)
    assert dataset.train.inputs.shape == (10, 4, 4, 3)
    assert dataset.test.inputs.shape == (5, 4, 4, 3)


def test_grey_images_stored_as_colour_jpeg_are_read_as_declared(tmp_path):
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8, 1)
    colour = np.repeat(grey, 3, axis=2)
    splits = {s: [{"image": colour, "label": 0}] for s in ("train", "test")}
    write(tmp_path, toy_features((8, 8, 1)), splits, image_format="JPEG")
    image = load_tfds("toy", data_dir=tmp_path).train.inputs[0]
    assert np.abs(image.astype(int) - grey).max() < 16


# The cache


def test_the_cache_gives_the_same_and_is_an_ordinary_npz(toy, monkeypatch):
    read = load_tfds("toy", data_dir=toy)
    path = toy / "toy" / "1.0.0" / CACHE
    assert_same(read, load_arrays(path))
    assert {p.name for p in path.parent.glob("optix*")} == {CACHE}
    monkeypatch.setattr(data, "_read_records", None)
    cached = load_tfds("toy", data_dir=toy)
    assert cached.name == "toy"
    assert_same(read, cached)


def test_no_cache_is_read_or_written_if_unwanted(toy):
    path = toy / "toy" / "1.0.0" / CACHE
    dataset = load_tfds("toy", data_dir=toy, cache=False)
    assert not path.exists()
    path.write_bytes(b"not to be touched")
    assert_same(dataset, load_tfds("toy", data_dir=toy, cache=False))
    assert path.read_bytes() == b"not to be touched"


def test_a_set_that_is_prepared_anew_is_read_anew(toy):
    home = toy / "toy" / "1.0.0"
    old = load_tfds("toy", data_dir=toy)
    cache = (home / CACHE).read_bytes()
    shutil.rmtree(home)
    splits = toy_splits(seed=7)
    splits["train"].pop()
    write(toy, toy_features(), splits)
    (home / CACHE).write_bytes(cache)
    new = load_tfds("toy", data_dir=toy)
    assert (len(old.train.inputs), len(new.train.inputs)) == (10, 9)
    assert_same(new, load_arrays(home / CACHE))


def test_renamed_classes_are_read_anew(toy):
    load_tfds("toy", data_dir=toy)
    (toy / "toy" / "1.0.0" / "label.labels.txt").write_text("a\nb\nc\nd\ne\n")
    assert load_tfds("toy", data_dir=toy).class_names == tuple("abcde")


@pytest.mark.parametrize("damage", ["garbage", "truncated", "flipped", "foreign"])
def test_a_damaged_cache_is_read_anew_and_mended(toy, damage):
    dataset = load_tfds("toy", data_dir=toy)
    path = toy / "toy" / "1.0.0" / CACHE
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content = b"no zip file"
    elif damage == "truncated":
        content = content[:-300]
    elif damage == "flipped":
        at = content.index(dataset.train.inputs.tobytes()[:16])
        content[at] ^= 1
    path.write_bytes(content)
    if damage == "foreign":
        np.savez(path, something=np.zeros(3))
    assert_same(dataset, load_tfds("toy", data_dir=toy))
    assert_same(dataset, load_arrays(path))


def test_a_cache_that_cannot_be_replaced_is_no_error(toy):
    path = toy / "toy" / "1.0.0" / CACHE
    path.mkdir()
    assert len(load_tfds("toy", data_dir=toy).train.inputs) == 10
    assert [p.name for p in path.parent.glob("optix*")] == [CACHE]


def test_a_full_disk_is_no_error_and_leaves_nothing(toy, monkeypatch):
    def savez(file, **_):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    assert len(load_tfds("toy", data_dir=toy).train.inputs) == 10
    assert not list((toy / "toy" / "1.0.0").glob("optix*"))


# Sets that are not there


def test_an_absent_set_is_refused_in_seconds_with_one_sentence(tmp_path, offline, capfd):
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_tfds("cifar10", data_dir=tmp_path)
    assert time.monotonic() - start < 5
    command = (
        'python -c "import tensorflow_datasets as tfds; tfds.builder('
        "'cifar10', file_format='array_record').download_and_prepare()\""
    )
    assert str(caught.value) == (
        f"data set 'cifar10' is not in {tmp_path} and cannot be downloaded (no "
        "connection to www.cs.toronto.edu); prepare it on a machine with a network by "
        f"`{command}` and copy it into {tmp_path}, or name the directory that holds it "
        "as data_dir (--data-dir)."
    )
    compile(command.split('"')[1], "command", "exec")
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_host_that_never_answers_is_given_up(tmp_path, monkeypatch):
    forever = threading.Event()

    def head(*_, **__):
        forever.wait(30)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(data, "_PROBE_SECONDS", 0.05)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"no connection to www\.cs\.toronto\.edu"):
        load_tfds("cifar10", data_dir=tmp_path)
    assert time.monotonic() - start < 5
    forever.set()


@pytest.mark.parametrize(("status", "answers"), [(200, True), (499, True), (500, False)])
def test_a_proxy_that_finds_no_host_is_no_answer(monkeypatch, status, answers):
    response = requests.Response()
    response.status_code = status
    monkeypatch.setattr(requests, "head", lambda *_, **__: response)
    assert data._answers("http://example.org") == answers


class Absent(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A set that TFDS knows and that is prepared when it is asked for."""

    VERSION = tfds.core.Version("1.0.0")
    name = "absent"
    pkg_dir_path = Path(__file__).parent

    def _info(self):
        return self.dataset_info_from_configs(
            features=toy_features((8, 8, 1)), homepage="https://example.org/absent"
        )

    def _split_generators(self, _):
        example = {"image": png(np.full((8, 8), 9, np.uint8)), "label": 2}
        return {split: [(0, example)] for split in ("train", "test")}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture
def absent(monkeypatch):
    def builder(name, **arguments):
        assert name == "absent"
        return Absent(**arguments)

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr(tfds, "list_builders", lambda **_: ["absent"])
    monkeypatch.setattr(data, "_answers", lambda url: url == "https://example.org/absent")
    return Absent


def test_an_absent_set_is_prepared_where_there_is_a_network(absent, tmp_path):
    dataset = load_tfds("absent", data_dir=tmp_path)
    assert dataset.train.inputs.shape == (1, 8, 8, 1)
    assert (dataset.train.inputs == 9).all()
    assert dataset.train.targets.tolist() == [2]
    assert (tmp_path / "absent" / "1.0.0" / CACHE).exists()


def test_a_set_whose_preparation_needs_tensorflow_says_so(absent, tmp_path, monkeypatch):
    def split_generators(self, _):
        import tensorflow

        return tensorflow.io

    monkeypatch.setattr(absent, "_split_generators", split_generators)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    message = (
        r"data set 'absent' is not in \S+ and cannot be prepared \(.*tensorflow.*\); "
        r"`pip install tensorflow`, or prepare it on a machine"
    )
    with pytest.raises(DataError, match=message):
        load_tfds("absent", data_dir=tmp_path)


def test_a_failed_preparation_is_one_sentence_with_the_cause(
    absent, tmp_path, monkeypatch
):
    def split_generators(self, _):
        raise ValueError("Checksum mismatch.\nA page\nof advice")

    monkeypatch.setattr(absent, "_split_generators", split_generators)
    message = r"cannot be prepared \(Checksum mismatch\); prepare it on a machine"
    with pytest.raises(DataError, match=message) as caught:
        load_tfds("absent", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_suggestions_and_what_is_there(official):
    with pytest.raises(DataError) as caught:
        load_tfds("cifar-100", data_dir=official)
    assert str(caught.value).startswith(
        f"there is no data set 'cifar-100': {official} holds cifar100/3.0.2, "
        "mnist/3.0.1, and TFDS knows none of that name; did you mean 'cifar100'"
    )


def test_an_unknown_name_is_compared_with_one_s_own_sets(toy):
    message = r"holds toy/1\.0\.0, and .* did you mean 'toy'"
    with pytest.raises(DataError, match=message):
        load_tfds("Toyy", data_dir=toy)


def test_an_unknown_name_in_an_empty_directory(tmp_path):
    with pytest.raises(
        DataError, match=r"holds none, and TFDS knows none of that name\.$"
    ):
        load_tfds("qqqqqqqqqqqq", data_dir=tmp_path / "missing")


def test_a_version_that_is_not_there(official):
    message = r"'mnist:9\.9\.9' is not in \S+ and cannot be prepared \(.*9\.9\.9"
    with pytest.raises(DataError, match=message):
        load_tfds("mnist:9.9.9", data_dir=official)


TRAIN = r"`pip install 'optix_tricks\[train\]'`, or"


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record"])
def test_missing_packages_are_named(toy, package):
    program = (
        f"import sys; sys.modules[{package!r}] = None; "
        "from optix_tricks.training._data import DataError, load_tfds\n"
        f"try: load_tfds('toy', data_dir={str(toy)!r})\n"
        "except DataError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert re.search(rf"cannot be read \(.*{package}.*\); {TRAIN}", run.stdout)


# Sets that cannot be used


@pytest.mark.parametrize(
    ("features", "example", "message"),
    [
        (
            {
                "image": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=NAMES),
            },
            {"image": "pixels", "label": 0},
            r"feature 'image' must be a uint8 Image, found Text\(",
        ),
        (
            {
                "text": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=NAMES),
            },
            {"text": "words", "label": 0},
            r"feature 'image' must be a uint8 Image, found \['label', 'text'\]",
        ),
        (
            {"image": tfds.features.Image(shape=(4, 4, 3))},
            {"image": np.zeros((4, 4, 3), np.uint8)},
            r"feature 'label' must be a ClassLabel, found \['image'\]",
        ),
        (
            {
                "image": tfds.features.Image(shape=(4, 4, 3)),
                "label": tfds.features.Scalar(np.int64),
            },
            {"image": np.zeros((4, 4, 3), np.uint8), "label": 3},
            r"feature 'label' must be a ClassLabel, found Scalar\(",
        ),
        (
            toy_features((4, 4, 4)),
            {"image": np.zeros((4, 4, 4), np.uint8), "label": 0},
            r"of 1 or 3 channels, found Image\(shape=\(4, 4, 4\)",
        ),
        (
            toy_features(image=tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16)),
            {"image": np.zeros((4, 4, 1), np.uint8), "label": 0},
            r"must be a uint8 Image, found Image\(shape=\(4, 4, 1\), dtype=uint16",
        ),
        (
            toy_features((8, 8, 3)),
            {"image": np.zeros((4, 16, 3), np.uint8), "label": 0},
            r"image 0 of train must be 8 x 8, found \(16, 4\)",
        ),
        (
            toy_features(),
            {"image": np.zeros((4, 4, 3), np.uint8), "label": -1},
            r"train_labels must be in 0\.\.4, found \[-1\]",
        ),
    ],
)
def test_unusable_features_are_named_with_what_was_found(
    tmp_path, features, example, message
):
    features = tfds.features.FeaturesDict(dict(features.items()))
    write(tmp_path, features, {"train": [example], "test": [example]})
    with pytest.raises(DataError, match=message):
        load_tfds("toy", data_dir=tmp_path)


def test_images_of_16_bits_are_scaled_and_of_32_refused(tmp_path):
    """Whatever depth the files have, under a feature that declares uint8."""
    levels = np.array([[0, 257], [32896, 65535]], np.uint16)

    def files(pixels, image_format):
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, image_format)
        example = {"image": buffer.getvalue(), "label": 0}
        return {split: [example] for split in ("train", "test")}

    for channels in (1, 3):
        home = tmp_path / str(channels)
        write(home, toy_features((2, 2, channels)), files(levels, "PNG"))
        [image] = load_tfds("toy", data_dir=home).train.inputs
        want = np.array([[0, 1], [128, 255]])[..., None]
        np.testing.assert_array_equal(image, np.broadcast_to(want, (2, 2, channels)))
    write(tmp_path, toy_features((2, 2, 1)), files(levels.astype(np.int32), "TIFF"))
    message = r"toy': image 0 of train cannot be decoded \(its levels are 32-bit .*choose"
    with pytest.raises(DataError, match=message):
        load_tfds("toy", data_dir=tmp_path)


def test_labels_that_are_ids_are_refused_at_once(tmp_path):
    """In a second and without a name for each number below them."""
    ids = np.array([0, 1, 10**9, 1])
    np.savez(tmp_path / "mine.npz", **arrays(train_labels=ids))
    whole = np.array([0, 2**63], np.uint64)
    np.savez(tmp_path / "whole.npz", **arrays(test_labels=whole))
    label = tfds.features.ClassLabel(num_classes=10**9 + 1)
    example = {"image": np.zeros((4, 4, 3), np.uint8), "label": 10**9}
    splits = {"train": [example], "test": [example]}
    write(tmp_path, toy_features(label=label), splits)
    start = time.monotonic()
    tracemalloc.start()
    message = (
        r"mine: train_labels must be in 0\.\.65535, found \[1000000000\]; number the"
    )
    with pytest.raises(DataError, match=message):
        load_arrays(tmp_path / "mine.npz")
    with pytest.raises(DataError, match=r"test_labels .* found \[9223372036854775808\]"):
        load_arrays(tmp_path / "whole.npz")
    message = r"feature 'label' must be of at most 65536 classes, found 1000000001"
    with pytest.raises(DataError, match=message):
        load_tfds("toy", data_dir=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - start < 3
    assert peak < 32 << 20


def test_labels_up_to_the_number_of_images_are_classes(tmp_path):
    """However many; and ids are classes where each has its name."""
    labels = np.array([0, 1, 65535, 1])
    np.savez(tmp_path / "mine.npz", **arrays(train_labels=labels))
    assert load_arrays(tmp_path / "mine.npz").num_classes == 65536
    names = np.arange(70_000).astype(str)
    labels = np.array([0, 1, 69_999, 1])
    np.savez(tmp_path / "mine.npz", **arrays(train_labels=labels, class_names=names))
    assert load_arrays(tmp_path / "mine.npz").num_classes == 70_000


def test_a_set_without_test_split(tmp_path):
    write(tmp_path, toy_features(), {"train": toy_splits()["train"]})
    message = r"splits must be train and test \(or validation\), found \['train'\]"
    with pytest.raises(DataError, match=message):
        load_tfds("toy", data_dir=tmp_path)


def test_a_set_in_another_format_says_how_to_prepare_it(toy):
    info = toy / "toy" / "1.0.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    message = (
        r"cannot be read \(File format array_record does not match .*\['tfrecord'\]\); "
        r"prepare it .*file_format='array_record'"
    )
    with pytest.raises(DataError, match=message):
        load_tfds("toy", data_dir=toy)


@pytest.mark.parametrize("damage", ["missing", "truncated", "info"])
def test_a_damaged_set_is_one_sentence(toy, damage):
    home = toy / "toy" / "1.0.0"
    (records,) = home.glob("toy-train*")
    if damage == "missing":
        records.unlink()
    elif damage == "truncated":
        records.write_bytes(records.read_bytes()[:1000])
    else:
        (home / "dataset_info.json").write_text('{"name":')
    with pytest.raises(DataError, match=r"^data set 'toy' of \S+ cannot be read \(") as e:
        load_tfds("toy", data_dir=toy)
    assert "\n" not in str(e.value)
    assert not (home / CACHE).exists()


# Arrays of one's own, and the digits


def arrays(**replaced):
    usual = {
        "train_images": np.zeros((4, 6, 6, 1), np.uint8),
        "train_labels": np.array([0, 1, 2, 1]),
        "test_images": np.zeros((2, 6, 6, 1), np.uint8),
        "test_labels": np.array([2, 0], np.uint8),
    }
    return usual | replaced


def test_arrays_are_read_by_load_dataset(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(class_names=np.array(["a", "b", "c"])))
    dataset = load_dataset(path)
    assert dataset.name == "mine"
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.train.targets.dtype == dataset.test.targets.dtype == np.int32
    assert dataset.test.targets.tolist() == [2, 0]


def test_unnamed_classes_are_numbers(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", **arrays())
    assert load_arrays(tmp_path / "mine.npz").class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"train_images": np.zeros((4, 6, 6, 1), np.float32)},
            r"mine: train_images must be uint8, found float32 \[4, 6, 6, 1\]; scale",
        ),
        (
            {"test_images": np.zeros((2, 6, 6), np.uint8)},
            r"test_images must be \[n > 0, size, .*found uint8 \[2, 6, 6\]; .*last axis",
        ),
        (
            {"train_images": np.zeros((4, 6, 5, 1), np.uint8)},
            r"train_images must be .*found uint8 \[4, 6, 5, 1\]; crop",
        ),
        (
            {
                "train_images": np.zeros((0, 6, 6, 1), np.uint8),
                "train_labels": np.zeros(0, int),
            },
            r"train_images must be \[n > 0",
        ),
        (
            {"test_images": np.zeros((2, 8, 8, 1), np.uint8)},
            r"test_images must be .*alike in both splits, found uint8 \[2, 8, 8, 1\]",
        ),
        (
            {"train_labels": np.array([0, 1, 2])},
            r"train_labels must be whole numbers \[4\], found int64 \[3\]; give each",
        ),
        (
            {"test_labels": np.array([0.0, 1.0])},
            r"test_labels must be whole numbers \[2\], found float64 \[2\]",
        ),
        (
            {"test_labels": np.array([0, -1])},
            r"test_labels must be in 0\.\.2, found \[-1\]; correct or drop",
        ),
        (
            {"class_names": np.array(["a", "b"])},
            r"train_labels must be in 0\.\.1, found \[2\]",
        ),
    ],
)
def test_arrays_that_break_the_contract_are_named(tmp_path, replaced, message):
    np.savez(tmp_path / "mine.npz", **arrays(**replaced))
    with pytest.raises(DataError, match=message):
        load_arrays(tmp_path / "mine.npz")


@pytest.mark.parametrize("missing", ARRAYS)
def test_a_missing_array_is_named(tmp_path, missing):
    left = {key: value for key, value in arrays().items() if key != missing}
    np.savez(tmp_path / "mine.npz", **left)
    with pytest.raises(DataError, match=rf"{missing} must be given, found \['t"):
        load_arrays(tmp_path / "mine.npz")


@pytest.mark.parametrize("kind", ["absent", "text", "pickled", "npy"])
def test_a_file_that_is_no_npz(tmp_path, kind):
    path = tmp_path / "mine.npz"
    if kind == "text":
        path.write_text("hello")
    elif kind == "pickled":
        np.savez(path, **arrays(class_names=np.array(["a", None], object)))
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"mine\.npz cannot be read as a \.npz file \("):
        load_arrays(path)


def test_digits_split_is_fixed_stratified_and_disjoint():
    digits = load_dataset("digits")
    assert digits.name == "digits"
    assert digits.class_names == tuple("0123456789")
    assert digits.train.inputs.shape == (1437, 8, 8, 1)
    assert digits.test.inputs.shape == (360, 8, 8, 1)
    both = np.concatenate([digits.train.inputs, digits.test.inputs])
    assert both.dtype == np.uint8
    assert (both.min(), both.max(), len(np.unique(both))) == (0, 255, 17)
    assert len(np.unique(both, axis=0)) == 1797
    train, test = map(np.bincount, (digits.train.targets, digits.test.targets))
    np.testing.assert_allclose(test, (train + test) * 360 / 1797, atol=1)
    digest = hashlib.sha256(digits.test.inputs.tobytes()).hexdigest()
    assert digest.startswith("ac6ada28192bd51a")


def test_digits_are_scikit_learn_s():
    import sklearn.datasets

    digits = load_dataset("digits")
    source = sklearn.datasets.load_digits()
    pairs = {
        (x.astype(np.uint8).tobytes(), y)
        for x, y in zip(source.images, source.target, strict=True)
    }
    images = np.concatenate([digits.train.inputs, digits.test.inputs])
    labels = np.concatenate([digits.train.targets, digits.test.targets])
    levels = np.rint(images / 255 * 16).astype(np.uint8)
    found = {(x.tobytes(), y) for x, y in zip(levels, labels, strict=True)}
    assert found == pairs


@pytest.mark.slow
def test_the_real_cifar10():
    directory = Path.home() / "tensorflow_datasets"
    if not (directory / "cifar10").exists():
        pytest.skip("CIFAR-10 is not prepared in the default directory")
    dataset = load_tfds("cifar10", data_dir=directory, cache=False)
    assert dataset.train.inputs.shape == (50000, 32, 32, 3)
    assert (np.bincount(dataset.train.targets) == 5000).all()
    assert (np.bincount(dataset.test.targets) == 1000).all()
    mean = (dataset.train.inputs / 255).mean((0, 1, 2))
    np.testing.assert_allclose(mean, [0.49139968, 0.48215841, 0.44653091], atol=1e-6)
    assert dataset.class_names[dataset.train.targets[0]] == "horse"

"""Text and tables that are at hand: splits, shapes, scales; the bigram by counting."""

import collections
import math
from pydoc_data.topics import topics

import numpy as np
import pytest
import sklearn.datasets

from optix_tricks.training import Batch, DataError, Dataset, bigram_loss, load_dataset


def text_of(dataset, split):
    """The characters of all windows, and the last one's next."""
    names = np.array(dataset.class_names)
    batch = getattr(dataset, split)
    codes = [*batch.inputs.ravel(), batch.targets[-1, -1]]
    return "".join(names[codes])


def test_windows_of_text_follow_each_other_and_targets_are_one_ahead():
    dataset = load_dataset("topics/50")
    assert dataset.name == "topics/50"
    for split in ("train", "test"):
        batch = getattr(dataset, split)
        assert batch.inputs.shape == batch.targets.shape == (batch.size, 50)
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        flat = text_of(dataset, split)
        names = np.array(dataset.class_names)
        assert "".join(names[batch.targets.ravel()]) == flat[1:]


def test_the_text_is_that_of_the_topics_and_its_end_is_the_test():
    dataset = load_dataset("topics")
    assert dataset.train.inputs.shape[1] == 64
    train, test = (text_of(dataset, split) for split in ("train", "test"))
    assert train.startswith(topics[min(topics)].split("\n\n")[0])
    late = "".join(topics[name] for name in topics if name > "typesm")
    assert all(paragraph in late for paragraph in test.split("\n\n")[1:-1])
    assert 0.095 < len(test) / (len(train) + len(test)) < 0.105
    assert dataset.class_names == tuple(sorted(dataset.class_names))
    assert set(train + test) <= set(dataset.class_names) <= set("".join(topics.values()))


def test_no_paragraph_of_the_test_text_is_one_of_the_training_text():
    train, test = (text_of(load_dataset("topics"), split) for split in ("train", "test"))
    whole = test.split("\n\n")[1:-1]  # the first and the last may be cut
    assert len(whole) > 100
    assert not set(whole) & set(train.split("\n\n"))


def test_the_bigram_is_that_of_counted_pairs():
    dataset = load_dataset("topics")
    pairs, firsts = collections.Counter(), collections.Counter()
    for row, following in zip(dataset.train.inputs, dataset.train.targets, strict=True):
        pairs.update(zip(row.tolist(), following.tolist(), strict=True))
        firsts.update(row.tolist())
    classes = len(dataset.class_names)
    total = 0.0
    for row, following in zip(dataset.test.inputs, dataset.test.targets, strict=True):
        for a, b in zip(row.tolist(), following.tolist(), strict=True):
            total -= math.log((pairs[a, b] + 1) / (firsts[a] + classes))
    assert bigram_loss(dataset) == pytest.approx(total / dataset.test.inputs.size)


def test_a_pair_that_was_never_seen_is_one_of_many():
    tokens = np.array([[0, 1, 0, 1, 0]], np.int32)
    train = Batch(tokens[:, :-1], tokens[:, 1:])
    test = Batch(np.array([[0]], np.int32), np.array([[2]], np.int32))
    found = bigram_loss(Dataset("three", train, test, tuple("abc")))
    assert found == pytest.approx(math.log(2 + 3))  # 0 was seen twice


def test_diabetes_is_in_units_of_the_training_split():
    dataset = load_dataset("diabetes")
    x, y = sklearn.datasets.load_diabetes(return_X_y=True, scaled=False)
    assert dataset.train.size + dataset.test.size == len(x) == 442
    assert dataset.num_classes == 0
    for part in (dataset.train.inputs, dataset.train.targets):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part.mean(0, np.float64), 0, atol=1e-6)
        np.testing.assert_allclose(part.std(0, dtype=np.float64), 1, atol=1e-6)
    inputs = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    targets = np.concatenate([dataset.train.targets, dataset.test.targets])
    assert np.std(y) / np.std(targets) == pytest.approx(78.3, abs=0.05)
    for ours, theirs in ((inputs[:, 2], x[:, 2]), (targets, y)):
        ours, theirs = np.sort(ours), np.sort(theirs)
        slope, offset = np.polyfit(theirs, ours, 1)
        np.testing.assert_allclose(ours, slope * theirs + offset, atol=1e-5)


def test_tumours_keep_their_classes_and_the_test_its_share_of_them():
    dataset = load_dataset("breast_cancer")
    bunch = sklearn.datasets.load_breast_cancer()
    assert dataset.class_names == ("malignant", "benign")
    assert dataset.train.targets.dtype == np.int32
    both = np.concatenate([dataset.train.targets, dataset.test.targets])
    np.testing.assert_array_equal(np.bincount(both), np.bincount(bunch.target))
    shares = [part.targets.mean() for part in (dataset.train, dataset.test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)
    # malignant nuclei are larger, in our units as in theirs
    radius = dataset.train.inputs[:, 0]
    apart = [radius[dataset.train.targets == k].mean() for k in (0, 1)]
    theirs = [bunch.data[bunch.target == k, 0].mean() for k in (0, 1)]
    want = (theirs[0] - theirs[1]) / bunch.data[:, 0].std()
    assert apart[0] - apart[1] == pytest.approx(want, abs=0.1)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("topcs", DataError, "did you mean 'topics'"),
        ("diabetis", DataError, "did you mean 'diabetes'"),
        ("topics/0", ValueError, "length must be at least 1, got 0"),
        ("topics/999999", ValueError, "less than the .* characters of the test text"),
    ],
)
def test_a_wrong_name_is_one_sentence(name, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        load_dataset(name, data_dir=tmp_path)

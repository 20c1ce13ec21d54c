"""A validation split: which examples, how many, and what a run makes of it."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.training import Batch, Dataset, load_digits, split_validation


def numbered(classes, *, names=("a", "b", "c"), **fields):
    """A data set whose inputs are the numbers of its examples."""
    y = np.asarray(classes, np.int32)
    train = Batch(np.arange(len(y), dtype=np.float32), y, **fields)
    return Dataset("numbered", train, Batch(np.zeros(3), y[:3]), tuple(names))


def test_every_example_is_on_one_side_with_all_that_belongs_to_it():
    rng = np.random.default_rng(0)
    data = numbered(rng.integers(0, 3, 50), weights=rng.random(50))
    split = split_validation(data, 0.3, seed=4)
    for side in (split.train, split.validation):
        index = side.inputs.astype(int)
        np.testing.assert_array_equal(index, np.sort(index))
        np.testing.assert_array_equal(side.targets, data.train.targets[index])
        np.testing.assert_array_equal(side.weights, data.train.weights[index])
    both = np.concatenate([split.train.inputs, split.validation.inputs])
    np.testing.assert_array_equal(np.sort(both), data.train.inputs)
    assert split.test is data.test


@pytest.mark.parametrize("fraction", [0.1, 0.37, 0.5, 0.99])
def test_of_each_class_there_is_its_share_whatever_the_seed(fraction):
    """Exact fractions: a class differs by less than one, and the remainders decide."""
    sizes = {0: 61, 1: 24, 2: 9}
    data = numbered(np.repeat([*sizes], [*sizes.values()]))
    total = round(fraction * 94)
    exact = {c: Fraction(total * n, 94) for c, n in sizes.items()}
    want = {c: int(x) for c, x in exact.items()}
    for c in sorted(sizes, key=lambda c: want[c] - exact[c])[
        : total - sum(want.values())
    ]:
        want[c] += 1
    chosen = set()
    for seed in range(4):
        split = split_validation(data, fraction, seed=seed)
        assert split.validation.size == total
        found = {c: int(np.sum(split.validation.targets == c)) for c in sizes}
        assert found == want
        chosen.add(tuple(split.validation.inputs))
    assert len(chosen) == 4
    again = split_validation(data, fraction, seed=0).validation.inputs
    assert tuple(again) in chosen


def test_every_example_is_drawn_equally_often():
    data = numbered([0] * 8 + [1] * 4)
    draws = [split_validation(data, 0.25, seed=s).validation.inputs for s in range(600)]
    times = np.bincount(np.concatenate(draws).astype(int), minlength=12)
    assert np.all(np.abs(times - 150) < 4 * np.sqrt(600 * 0.25 * 0.75))


def test_targets_that_are_no_classes_are_drawn_from_all():
    numbers = numbered([0] * 10, names=())
    tree = numbers._replace(
        train=Batch({"x": jnp.arange(10)}, {"y": np.arange(10.0), "z": np.arange(10)})
    )
    split = split_validation(tree, 0.2, seed=1)
    assert split.validation.size == 2
    x = split.validation.inputs["x"]
    np.testing.assert_array_equal(x, split.validation.targets["y"])
    np.testing.assert_array_equal(x, split.validation.targets["z"])
    assert split_validation(numbers, 0.2, seed=1).validation.size == 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, 0.01, 0.99, float("nan")])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction):
    message = rf"a validation split must be a fraction .* 12 training .*, got {fraction}"
    with pytest.raises(ValueError, match=message):
        split_validation(numbered([0, 1, 2] * 4), fraction, seed=0)


def test_a_split_is_made_once():
    split = split_validation(load_digits(), 0.1, seed=0)
    assert split.train.size + split.validation.size == 1437
    with pytest.raises(ValueError, match=r"'digits' has a validation split of its own"):
        split_validation(split, 0.1, seed=0)

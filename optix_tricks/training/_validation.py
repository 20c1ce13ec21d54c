"""A part of the training data set aside, on which choices are made."""

import jax
import numpy as np

from optix_tricks._checks import check_count
from optix_tricks._paths import Whole
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset


def split_validation(dataset: Dataset, fraction: float, *, seed: Whole) -> Dataset:
    """Set a share of the training examples aside, to choose by; the test set stays whole.

        n_v = round(f n),    and of class c    n_v,c ≈ n_v n_c / n    of n_c examples

    Which ones the seed draws, without replacement; where targets are one class each, of
    every class its share, by largest remainders. How many there are, in all and of each
    class, does not depend on the seed, so that no other shape is ever compiled.

    Helps wherever something is selected: when to stop, which epoch was best, which rate.
    What is selected on the test set is no longer tested by it. Hurts where data are few,
    as what is set aside is not trained on, and where examples belong together, as images
    of one patient do: a draw by example leaks, so split by hand and give
    `Dataset(validation=...)`. Cost: a copy of the training data on the host, and an
    evaluation an epoch.

    Beside others: `early_stopping` and `plateau` choose by it. Epochs are shorter, by the
    same share. Channel statistics, `lsuv` and `patch_whitening` see what is left to train
    on.

    Args:
      dataset: of trees of arrays.
      fraction: f of the training examples; at least one must be on either side.
      seed: of the draw, at least 0.

    Returns:
      The data set with `validation`, and what is left in `train`, both in their order.

    Raises:
      ValueError: if the fraction leaves no example on one side, the seed is negative, or
        the data set has a validation split already.

    Examples:
      >>> from optix_tricks.training import load_digits
      >>> digits = split_validation(load_digits(), 0.1, seed=0)
      >>> digits.train.size, digits.validation.size, digits.test.size
      (1293, 144, 360)

    Source: "Deep Learning", Goodfellow, Bengio and Courville, 2016, section 5.3;
    stratified as by scikit-learn's `train_test_split`.
    """
    if dataset.validation is not None:
        raise ValueError(
            f"the data set {dataset.name!r} has a validation split of its own: leave out"
            f" the fraction, got {fraction}."
        )
    check_count("seed", seed)
    size = dataset.train.size
    chosen = round(fraction * size) if 0 < fraction < 1 else 0
    if not 0 < chosen < size:
        raise ValueError(
            "a validation split must be a fraction above 0 and below 1 that leaves some"
            f" of the {size} training examples on either side, got {fraction}: give 0.1."
        )
    order = np.random.default_rng(seed).permutation(size)
    is_chosen = np.zeros(size, bool)
    for group, count in _shares(dataset, chosen):
        is_chosen[order[group[order]][:count]] = True

    def of(places: np.ndarray) -> Batch:
        return jax.tree.map(lambda x: x[places], dataset.train)

    return dataset._replace(train=of(~is_chosen), validation=of(is_chosen))


def _shares(dataset: Dataset, chosen: int) -> list[tuple[np.ndarray, int]]:
    """Which examples each class has, and how many of them are chosen; or all as one."""
    targets, size = dataset.train.targets, dataset.train.size
    are_classes = dataset.num_classes and getattr(targets, "shape", None) == (size,)
    if not are_classes or not np.issubdtype(targets.dtype, np.integer):
        return [(np.ones(size, bool), chosen)]
    groups = [targets == c for c in np.unique(targets)]
    exact = [chosen * int(group.sum()) for group in groups]  # times size, so that whole
    counts = [x // size for x in exact]
    by_rest = sorted(range(len(groups)), key=lambda c: -(exact[c] % size))
    for c in by_rest[: chosen - sum(counts)]:
        counts[c] += 1
    return list(zip(groups, counts, strict=True))

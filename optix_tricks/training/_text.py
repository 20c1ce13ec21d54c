"""Text as data: characters of a window, and the one that follows each."""

import numpy as np

from optix_tricks._checks import check_count
from optix_tricks.training._batch import Batch
from optix_tricks.training._dataset import Dataset

LENGTH = 64  # of a window, where no other is asked for
TEST = 0.1  # of the text


def load_topics(length: int = LENGTH) -> Dataset:
    """Load the text of Python's own `help`, character by character.

    It comes with Python as `pydoc_data.topics`: the language reference by topic, in
    sorted order, each paragraph once, as topics share some. So the text is fixed for a
    version of Python and differs between versions: compare losses on one version, or to
    `bigram_loss`. The last tenth is the test set. The classes are the characters.

    Args:
      length: characters of a window; windows do not overlap.

    Returns:
      Inputs and targets int32 [n, length], the target at each position the character
      after it.

    Raises:
      ValueError: if `length` is less than 1, or more than the test text has.

    Examples:
      >>> topics = load_topics(32)
      >>> window = topics.test.inputs[0], topics.test.targets[0]
      >>> bool((window[0][1:] == window[1][:-1]).all())
      True
    """
    from pydoc_data.topics import topics

    check_count("length", length, minimum=1)
    paragraphs = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
    text = "\n\n".join(dict.fromkeys(paragraphs))
    characters = sorted(set(text))
    place = {character: i for i, character in enumerate(characters)}
    codes = np.array([place[character] for character in text], np.int32)
    cut = len(codes) - round(TEST * len(codes))
    if length >= len(codes) - cut:
        raise ValueError(
            f"length must be less than the {len(codes) - cut} characters of the test"
            f" text, got {length}."
        )
    train, test = (_windows(part, length) for part in (codes[:cut], codes[cut:]))
    return Dataset(f"topics/{length}", train, test, tuple(characters))


def _windows(codes: np.ndarray, length: int) -> Batch:
    count = (len(codes) - 1) // length
    shape = count, length
    return Batch(
        codes[: count * length].reshape(shape),
        codes[1 : count * length + 1].reshape(shape),
    )


def bigram_loss(dataset: Dataset) -> float:
    """Return the cross-entropy of counted pairs: what a network of text has to beat.

        p(b | a) = (n(a, b) + 1) / (n(a) + V),    - mean log p(b | a) over the test text

    n counts the pairs of the training text, V is the number of classes: smoothing by one.

    Args:
      dataset: of tokens, with the next one as the target at each position.

    Returns:
      Nats for each position.

    Examples:
      >>> from optix_tricks.training import Batch
      >>> tokens = np.array([[0, 1, 0, 1]], np.int32)
      >>> pairs = Batch(tokens[:, :-1], tokens[:, 1:])
      >>> round(bigram_loss(Dataset("two", pairs, pairs, ("a", "b"))), 4)
      0.3269
    """
    counts = np.ones((dataset.num_classes, dataset.num_classes))
    np.add.at(counts, (dataset.train.inputs, dataset.train.targets), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(p[dataset.test.inputs, dataset.test.targets]).mean())

"""Data sets that need no directory: packages bring them, or they are made."""

from collections.abc import Callable

from optix_tricks.training._dataset import Dataset
from optix_tricks.training._digits import load_digits
from optix_tricks.training._generated import generate
from optix_tricks.training._tables import load_breast_cancer, load_diabetes
from optix_tricks.training._text import load_topics

AT_HAND: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}
OF_A_SIZE: dict[str, Callable[..., Dataset]] = {
    "generated": generate,
    "topics": load_topics,
}

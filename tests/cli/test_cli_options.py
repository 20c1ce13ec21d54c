"""Words that were meant, and places for runs."""

import re

from optix_tricks.cli._options import like, new_path


def test_the_word_that_is_nearest_is_asked_for():
    assert like("trian", ["list", "train", "trains"]) == " Did you mean 'train'?"
    assert like("xyz", ["list", "train"]) == ""


def test_a_run_is_placed_by_name_and_time_to_the_millisecond():
    assert re.fullmatch(r"runs/digits-\d{8}-\d{6}-\d{3}", new_path("digits").as_posix())

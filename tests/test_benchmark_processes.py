"""Candidates of a benchmark in processes of their own."""

import os

import pytest

from benchmarks.processes import Candidate, take_turns
from benchmarks.timing import copy_bandwidth


def test_candidates_take_turns_and_say_what_went_wrong():
    candidates = {"small": Candidate(), "large": Candidate()}
    for name, size in (("small", 4), ("large", 4_000_000)):
        candidates[name].begin(copy_bandwidth, size)
    assert [c.made() for c in candidates.values()] == [8, 8_000_000]
    seconds = take_turns(candidates, rounds=5)
    assert [len(x) for x in seconds.values()] == [5, 5]
    assert 0 < min(seconds["small"]) < min(seconds["large"])

    candidates["small"].begin(copy_bandwidth, "four")
    with pytest.raises(TypeError):
        candidates["small"].made()
    candidates["small"].begin(os._exit, 3)
    with pytest.raises(RuntimeError, match="process has ended"):
        candidates["small"].made()

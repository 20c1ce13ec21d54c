"""N/2 steps, a resume and N/2 more end in the bits of N: every recipe, and the stream."""

import pytest

from benchmarks.resume import CASES, STREAM, compared

QUICK = ("tabular_mlp", STREAM)


@pytest.mark.parametrize(
    "case",
    [pytest.param(x, marks=[] if x in QUICK else [pytest.mark.slow]) for x in CASES],
)
def test_a_run_resumed_halfway_is_the_run(tmp_path, case):
    found = compared(case, tmp_path)
    assert found["from"] in (found["steps"] // 2, -(-found["steps"] // 2))
    assert found["arrays"] > 10
    assert found["different"] == []
    assert found["same_rows"]

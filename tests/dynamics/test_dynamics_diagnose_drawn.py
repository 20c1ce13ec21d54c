"""`diagnose` on settings that nothing in it was chosen on: drawn widths, data and rates.

Three runs of each kind of the first unseen draw, a group of kinds a program. The other
draws of `drawn.UNSEEN` and more runs are judged by `benchmarks/diagnosis.py`.
"""

from collections import Counter

import numpy as np
import pytest

from benchmarks.diagnosis import NO_ALARM, WELL
from optix_tricks.dynamics import diagnose
from tests.dynamics import drawn

RUNS = 3
CASES = {}
for case in drawn.cases(drawn.UNSEEN[0]):
    CASES.setdefault(case.name.split(": ")[1].partition(",")[0], []).append(case)
OFTEN_UNDECIDED = {"noise floor", "plateau"}  # noise may hide a fall
LEAST = 0.8  # of the runs of a group


def is_right(kind, verdict):
    """Nothing is wrong with a run that is well, whichever way."""
    return verdict == kind or (kind in WELL and verdict in WELL)


@pytest.mark.parametrize("group", CASES)
def test_runs_of_an_unseen_draw_are_named(group):
    found = {}
    for case in CASES[group]:
        verdicts = [diagnose(h).verdict for h in case.make(range(RUNS))]
        found.setdefault(case.kind, Counter()).update(verdicts)
    for kind, verdicts in found.items():
        if kind in WELL:
            assert verdicts.keys() <= set(NO_ALARM), found
        else:
            assert not verdicts.keys() & {"converged", "schedule ended"}, found
        if kind not in ("healthy", "converged") and kind not in OFTEN_UNDECIDED:
            assert verdicts.most_common(1)[0][0] == kind, found
        if kind != "critical point":
            assert "critical point" not in verdicts, found
    runs = sum(n for verdicts in found.values() for n in verdicts.values())
    right = sum(
        n
        for kind, verdicts in found.items()
        for verdict, n in verdicts.items()
        if is_right(kind, verdict) or (verdict == "undecided" and kind in OFTEN_UNDECIDED)
    )
    assert right >= LEAST * runs, found


def test_another_seed_draws_other_numbers_and_the_same_seed_the_same():
    first, again, other = (drawn.plain(np.random.default_rng(i)) for i in (1, 1, 2))
    assert first.name == again.name != other.name
    names = [case.name for draw in drawn.UNSEEN for case in drawn.cases(draw)]
    kinds = [(case.kind, case.name) for case in drawn.cases(drawn.UNSEEN[0])]
    assert len(set(kinds)) == len(kinds)
    assert len(set(names)) > 4 * len(drawn.GROUPS)

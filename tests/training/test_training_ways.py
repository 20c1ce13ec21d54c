"""Which ways are tried, how often, and which one is taken."""

import pytest

from optix_tricks.training import Way, fastest_way, measure_ways
from optix_tricks.training import _ways as ways


class Trials:
    """Ways of known cost under a clock of their own; keeps how many steps each ran."""

    def __init__(self, monkeypatch, costs):
        self.now, self.costs, self.ran = 0.0, costs, {}
        monkeypatch.setattr(ways, "time", self)

    def perf_counter(self):
        return self.now

    def __call__(self, way):
        def run(steps):
            self.ran.setdefault(way, []).append(steps)
            self.now += steps * self.costs[way]

        return run


@pytest.mark.parametrize(("cost", "window"), [(2.0**-9, 5), (1.0, 1), (2.0**-20, 40)])
def test_a_window_is_a_hundredth_of_a_second_or_a_step_or_all(monkeypatch, cost, window):
    """Of the simplest way: once to compile, once to see how long, then the window."""
    alone = Way(1, False)
    trials = Trials(monkeypatch, {alone: cost})
    found = measure_ways(trials, members=1, steps=40, scan=False)
    assert found == {alone: cost}
    assert trials.ran == {alone: [1, 1, window]}


def test_a_newcomer_takes_turns_unless_it_is_hopeless(monkeypatch):
    called, looped = Way(1, False), Way(1, True)
    for cost, rounds in ((1.0, ways.ROUNDS), (ways.HOPELESS, ways.ROUNDS), (2.5, 2)):
        trials = Trials(monkeypatch, {called: 1.0, looped: cost})
        found = measure_ways(trials, members=1, steps=9, scan=None)
        assert found == {called: 1.0, looped: cost}
        assert trials.ran[looped] == [1] + [1] * rounds


@pytest.mark.parametrize(
    ("cost", "wins"), [(ways.GAIN - 1e-3, True), (ways.GAIN + 1e-3, False)]
)
def test_a_loop_that_gains_a_tenth_is_what_is_stacked(monkeypatch, cost, wins):
    stacked = Way(2, wins)
    costs = {Way(1, False): 1.0, Way(1, True): cost, stacked: 2 * ways.GAIN}
    found = measure_ways(Trials(monkeypatch, costs), members=2, steps=9, scan=None)
    assert list(found) == list(costs)


def test_stacks_grow_as_long_as_a_share_falls(monkeypatch):
    costs = {Way(1, True): 1.0, Way(4, True): 3.0, Way(16, True): 11.0}
    found = measure_ways(Trials(monkeypatch, costs), members=64, steps=9, scan=True)
    assert found == pytest.approx(costs)  # at 16 the share is 0.69 and not below 0.675


def test_stacks_are_powers_of_four_and_all():
    for members, tried in [
        (1, []),
        (2, [2]),
        (4, [4]),
        (5, [4, 5]),
        (16, [4, 16]),
        (17, [4, 16, 17]),
        (70, [4, 16, 64, 70]),
    ]:
        assert ways._ladder(members) == tried


def test_what_gains_less_than_a_tenth_is_not_taken():
    simple, other = Way(1, False), Way(1, True)
    assert fastest_way({simple: 1.0, other: ways.GAIN}, 3) == simple
    assert fastest_way({simple: 1.0, other: ways.GAIN - 0.01}, 3) == other
    assert fastest_way({simple: 1.0, Way(4, False): 2.6}, 3) == Way(4, False)

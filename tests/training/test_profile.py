"""Which steps are traced, and a trace that JAX's own reader and a browser can read."""

import gzip
import json

import jax
import pytest

from optix_tricks.reports import write_report
from optix_tricks.training import train
from optix_tricks.training._profile import Profile
from tests.training.toy_runs import linear_job, start, toy_dataset


def pieces(profile, first, epoch_steps, epochs):
    """How a loop walks the epochs: (steps before, steps of the piece, traced)."""
    found, step = [], first
    while step < epochs * epoch_steps:
        length = profile.piece(step, epoch_steps - step % epoch_steps)
        found.append((step, length, profile.covers(step)))
        step += length
    return found


@pytest.mark.parametrize(
    ("steps", "first", "expected"),
    [
        (2, 0, [(0, 2, False), (2, 2, True), (4, 1, False), (5, 5, False)]),
        (1, 1, [(1, 1, False), (2, 1, True), (3, 2, False), (5, 5, False)]),
        (2, 3, [(3, 2, False), (5, 2, False), (7, 2, True), (9, 1, False)]),
        (None, 3, [(3, 2, False), (5, 5, False)]),
    ],
)
def test_as_many_steps_go_before_the_traced_ones_of_the_same_epoch(
    tmp_path, steps, first, expected
):
    profile = Profile(steps, tmp_path, first=first, epoch_steps=5)
    assert pieces(profile, first, 5, 2) == expected


@pytest.mark.parametrize(
    ("steps", "said"),
    [(3, "at most half of an epoch's 5 steps"), (0, "profile must be at least 1, got 0")],
)
def test_a_number_of_steps_that_cannot_be_traced_is_named(tmp_path, steps, said):
    with pytest.raises(ValueError, match=said):
        Profile(steps, tmp_path, first=0, epoch_steps=5)


def events(run):
    """Names of all that JAX's own reader finds in a run's trace."""
    (planes,) = (run / "profile").glob("**/*.xplane.pb")
    return [
        event.name
        for plane in jax.profiler.ProfileData.from_file(str(planes)).planes
        for line in plane.lines
        for event in line.events
    ]


def test_a_run_leaves_a_readable_trace_of_its_steps_and_the_same_weights(tmp_path):
    kernels, calls = [], []
    for steps in (None, 1, 2):
        path = tmp_path / str(steps)
        with start(path) as run:
            state, _ = train(linear_job(epochs=1), toy_dataset(), run, profile=steps)
        kernels.append(state.params["kernel"])
        if steps is None:
            assert not (path / "profile").exists()
            continue
        names = events(path)
        assert not any("compile_or_get_cached" in name for name in names)
        calls.append(names.count("PjitFunction(gathered)"))
    assert (kernels[0] == kernels[1]).all()
    assert (kernels[0] == kernels[2]).all()
    assert calls[1] == 2 * calls[0] > 0

    (browser,) = (path / "profile").glob("**/*.trace.json.gz")
    with gzip.open(browser) as file:
        assert json.load(file)["traceEvents"]
    place = browser.relative_to(path).as_posix()
    assert f'href="{place}"' in write_report(path).read_text()

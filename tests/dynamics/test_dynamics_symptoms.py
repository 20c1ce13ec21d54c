"""Each symptom of a written history, from its definition in NumPy and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from optix_tricks.dynamics import History
from optix_tricks.dynamics.diagnosis._history import check_history
from optix_tricks.dynamics.diagnosis._symptoms import block_medians, measure, trend

ROWS = 51
LATE = slice(25, None)


def columns(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    names = (
        *("loss", "accuracy", "gradient_norm", "update_norm", "parameter_norm"),
        *("learning_rate", "gradient_cosine", "curvature", "lowest_curvature"),
        *("noise_scale", "batch_size"),
    )
    return {name: rng.uniform(1, 3, rows) for name in names}


def symptoms(**changes):
    return measure(check_history(History(**columns() | changes)))


def last(x):
    """The median of the last 24th, at least of one."""
    return np.median(x[-max(1, len(x) // 24) :])


def medians(x):
    return [np.median(block) for block in np.array_split(x, 12)]


def test_every_number_by_its_definition():
    c = columns()
    step = 7 * np.arange(ROWS) + 3.0
    s = symptoms(step=step)
    late = {name: x[LATE] for name, x in c.items()}
    loss, gradient, norm = c["loss"], late["gradient_norm"], late["parameter_norm"]
    first = min(loss[0], np.median(loss[:3]))
    wanted = {
        "rows": ROWS,
        "first": first,
        "highest": loss.max() / first,
        "level": medians(loss[LATE])[-1],
        "is_finite": True,
        "accuracy": medians(late["accuracy"])[-1],
        "alternation": math.nan,  # of rows that are seven steps apart
        "gradient": np.median(gradient),
        "gradient_left": last(c["gradient_norm"]) / max(medians(c["gradient_norm"])),
        "burst": np.median(gradient / norm),
        "turnover": np.median(late["update_norm"]) / c["parameter_norm"].max(),
        # 26 late rows, each of which stands for seven steps.
        "travel": late["update_norm"].mean() * 7 * 26 / c["parameter_norm"].max(),
        "blown_up": last(c["parameter_norm"]) / c["parameter_norm"][0],
        "cosine": late["gradient_cosine"].mean(),
        "bounce": np.median(late["curvature"] * late["update_norm"] / gradient),
        "lowest_curvature": np.median(late["lowest_curvature"])
        / np.median(late["curvature"]),
        "noise_over_batch": np.median(late["noise_scale"] / late["batch_size"]),
        "rate_left": last(c["learning_rate"]) / c["learning_rate"].max(),
        "rate_growth": last(c["learning_rate"]) / c["learning_rate"][25],
    }
    for name, value in wanted.items():
        assert getattr(s, name) == pytest.approx(value, nan_ok=True), name
    # The part of a batch's gradient that is signal: |G|² / (|G|² + noise / batch).
    signal = 1 / math.sqrt(1 + wanted["noise_over_batch"])
    pull = np.median(gradient * norm / late["loss"])
    assert s.pull == pytest.approx(signal * pull)
    assert s.fall == pytest.approx(trend(loss[LATE]).fall)
    assert s.gradient_fall == pytest.approx(trend(gradient).fall)
    assert trend(loss[LATE]).fall != pytest.approx(trend(loss[26:]).fall)


def test_what_was_not_logged_is_unknown():
    s = measure(check_history(History(columns()["loss"])))
    for name in ("pull", "burst", "turnover", "travel", "blown_up", "rate_left"):
        assert math.isnan(getattr(s, name)), name
    no_noise = symptoms(noise_scale=None)
    c = columns()
    pull = np.median((c["gradient_norm"] * c["parameter_norm"] / c["loss"])[LATE])
    assert no_noise.pull == pytest.approx(pull)
    below = symptoms(noise_scale=np.full(ROWS, -1.0))  # an estimate may be
    assert below.pull == pytest.approx(pull)
    negative = symptoms(lowest_curvature=np.full(ROWS, -1.0), curvature=-np.ones(ROWS))
    assert negative.lowest_curvature == -1


def test_columns_of_zeros_raise_nothing():
    zeros = np.zeros(ROWS)
    s = symptoms(learning_rate=zeros, loss=zeros)
    assert math.isnan(s.rate_left)
    assert math.isnan(s.rate_growth)
    assert math.isnan(s.highest)
    late = (np.arange(ROWS) > 30) * 1.0  # from nothing: no factor says by how much
    assert math.isnan(symptoms(learning_rate=late).rate_growth)
    assert math.isnan(symptoms(loss=late).highest)
    small = symptoms(learning_rate=np.full(ROWS, 0.5))
    assert (small.rate_left, small.rate_growth) == (1, 1)
    low = symptoms(loss=np.full(ROWS, 0.5))
    assert low.highest == 1
    assert math.isnan(symptoms(gradient_norm=zeros).gradient_left)


def test_the_first_loss_is_the_first_row_or_the_median_of_three_if_lower():
    for start, wanted in (([4, 9, 9], 4), ([9, 4, 5], 5), ([np.nan, 3, 8, 7], 3)):
        loss = np.r_[start, np.full(ROWS - len(start), 6.0)]
        assert symptoms(loss=loss).first == wanted


def test_one_row_is_measured():
    one = measure(check_history(History(np.array([2.0]), update_norm=np.ones(1))))
    assert (one.rows, one.first, one.level, one.highest) == (1, 2, 2, 1)
    assert math.isnan(one.travel)


def test_alternation_is_the_correlation_of_changes_where_every_step_is_logged():
    loss = columns()["loss"]
    change = np.diff(loss[LATE])
    one, two = change[:-1], change[1:]
    wanted = one @ two / np.sqrt((one @ one) * (two @ two))
    assert symptoms().alternation == pytest.approx(wanted)
    step = np.arange(ROWS) * 1.0
    assert symptoms(step=step + 8).alternation == pytest.approx(wanted)
    assert math.isnan(symptoms(step=2 * step).alternation)
    zigzag = 2 + np.cos(np.pi * np.arange(ROWS)) + 0.01 * np.arange(ROWS)
    zigzag[40] = np.nan
    assert symptoms(loss=zigzag).alternation == pytest.approx(-1, abs=1e-3)
    assert math.isnan(symptoms(loss=np.ones(ROWS)).alternation)


def test_blocks_leave_out_what_is_not_finite():
    x = np.arange(24.0)
    x[[0, 2, 3]] = np.nan
    found = block_medians(x)
    assert len(found) == 12
    assert found[0] == 1
    assert math.isnan(found[1])
    assert found[2] == 4.5
    assert block_medians(np.array([3.0])) == [3.0]
    assert math.isnan(block_medians(np.array([]))[0])


def reference(y, at, n):
    """Slope, and the standard error of the line at n blocks, widened by correlation."""
    slope = stats.theilslopes(y, at).slope
    rest = y - slope * at
    rest = rest - rest.mean()
    spread = np.sqrt(rest @ rest / (len(y) - 2) / np.sum((at - at.mean()) ** 2))
    r = np.clip(rest[1:] @ rest[:-1] / (rest @ rest), 0, 0.8)
    return slope, n * spread * np.sqrt((1 + r) / (1 - r))


SMOOTH = np.cumsum(np.cumsum(np.random.default_rng(5).normal(size=12)))  # r above 0.8


def test_a_trend_is_a_line_through_block_medians_of_the_logarithm():
    for blocks in [
        np.random.default_rng(1).normal(size=12),
        np.random.default_rng(2).normal(size=12).cumsum(),
        0.1 * SMOOTH,
        (-1.0) ** np.arange(12) + 0.1 * np.arange(12),  # r below 0
        np.random.default_rng(3).normal(size=4),
    ]:
        n = len(blocks)
        slope, error = reference(blocks, np.arange(n), n)
        found = trend(np.exp(blocks))
        kept = np.exp(n * slope)
        assert found.fall == pytest.approx(1 - kept)
        assert found.error == pytest.approx(kept * error)
        assert found.certainty == pytest.approx(-n * slope / error)


def test_blocks_without_a_number_keep_their_place():
    blocks = np.random.default_rng(4).normal(size=12)
    seen = np.array([1, 2, 5, 6, 7, 9, 10])
    values = np.full(24, np.nan)
    values[2 * seen] = np.exp(blocks[seen])
    slope, error = reference(blocks[seen], seen, 10)  # from block 1 to block 10
    found = trend(values)
    assert found.fall == pytest.approx(1 - np.exp(10 * slope))
    assert found.certainty == pytest.approx(-10 * slope / error)
    assert np.isnan(trend(np.exp(blocks[:3]))).all()


def test_a_column_that_is_not_positive_is_in_units_of_its_range():
    y = np.random.default_rng(6).normal(size=12)
    for values in (y, np.abs(y) * (np.arange(12) > 0)):  # below zero, and down to it
        slope, error = reference(values / np.ptp(values), np.arange(12), 12)
        found = trend(values)
        assert found.fall == pytest.approx(-12 * slope)
        assert found.error == pytest.approx(error)
        assert found.certainty == pytest.approx(-12 * slope / error)
    assert trend(np.zeros(12)).fall == 0


def test_a_straight_line_is_certain_and_a_steep_rise_no_overflow():
    assert trend(np.exp(-np.arange(12.0))).certainty > 1e6
    assert trend(np.exp(0.0 * np.arange(12))).certainty == 0
    steep = trend(np.exp(10.0 * np.arange(12)))
    assert steep.fall == pytest.approx(1 - np.exp(50))


def test_small_numbers_are_measured_as_large_ones_are():
    c = columns()
    small = symptoms(loss=0.01 * c["loss"], gradient_norm=0.01 * c["gradient_norm"])
    usual = symptoms()
    for name in ("alternation", "gradient_left", "highest", "fall", "certainty"):
        assert getattr(small, name) == pytest.approx(getattr(usual, name)), name
    quiet = symptoms(noise_scale=np.full(ROWS, 0.5), batch_size=np.full(ROWS, 2.0))
    without = symptoms(noise_scale=None)
    assert quiet.pull == pytest.approx(without.pull / math.sqrt(1.25))


def test_the_end_is_the_last_24th_of_the_rows():
    for rows, taken in [(2, 1), (10, 1), (47, 1), (48, 2), (72, 3)]:
        given = columns(rows=rows)
        s = measure(check_history(History(**given)))
        rate = given["learning_rate"]
        assert s.rate_left == pytest.approx(np.median(rate[-taken:]) / rate.max())
        assert s.travel > 0

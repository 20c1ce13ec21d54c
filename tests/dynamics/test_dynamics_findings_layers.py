"""Verdicts on depth, against SciPy's slopes and scores set by hand."""

import numpy as np
import pytest
from scipy import stats

from optix_tricks.dynamics import History
from optix_tricks.dynamics.diagnosis import _findings_layers as rules
from optix_tricks.dynamics.diagnosis import _thresholds as at
from tests.dynamics.symptoms import at_share, power, stuck

QUARTER = 0.25


def layers(exponents, rows=4):
    """Layers whose gradient over parameter norm is a power of ten in late rows alone."""
    late = np.arange(rows) >= rows // 2
    gradient = {
        f"layer{i}": np.where(late, 3.0 * 10.0**x, 1e9) for i, x in enumerate(exponents)
    }
    parameter = {name: np.full(rows, 3.0) for name in gradient}
    return History(
        np.ones(rows), layer_gradient_norm=gradient, layer_parameter_norm=parameter
    )


def test_the_change_by_depth_is_the_slope_of_theil_and_sen():
    y = np.random.default_rng(0).normal(size=7) - np.arange(7)
    change, sizes = rules.by_depth(layers(y))
    assert change == pytest.approx(-6 * stats.theilslopes(y, np.arange(7)).slope)
    np.testing.assert_allclose([size for _, size in sizes], 10**y)
    assert np.isnan(rules.by_depth(layers(y[: at.MIN_LAYERS - 1]))[0])
    assert np.isfinite(rules.by_depth(layers(y[: at.MIN_LAYERS]))[0])


def test_only_late_rows_and_finite_losses_count():
    """Of ten rows six have a loss: of these the last three, 4, 5 and 9, median 5."""
    loss = np.array([np.nan, 1, 1, 1, 1, 1, np.nan, np.nan, np.nan, 1])
    gradient = {f"layer{i}": np.arange(10.0) for i in range(4)}
    history = History(loss, layer_gradient_norm=gradient)
    change, sizes = rules.by_depth(history)
    assert [size for _, size in sizes] == [5, 5, 5, 5]
    assert change == 0


def test_frozen_layers_are_left_out():
    history = layers([0.0, 1.0, 2.0, 3.0, 4.0])
    history.layer_gradient_norm["layer2"][:] = 0
    names = [name for name, _ in rules.by_depth(history)[1]]
    assert names == ["layer0", "layer1", "layer3", "layer4"]


LEARNING = {"fall": 1.0, "certainty": 99.0}


def test_vanishing_gradients_shrink_towards_the_input():
    """Over five layers a line, so the change is four times its slope."""

    def score(change, **changes):
        line = change / 4 * np.arange(5.0)
        return rules.vanishing(stuck(**changes), layers(line)).score

    assert score(at_share(at.DEPTH_RATIO, QUARTER)) == pytest.approx(QUARTER)
    assert score(-at_share(at.DEPTH_RATIO, 1)) == 0
    # Where it is not stuck for certain, by much more; where the loss falls, not at all.
    hidden = {"fall_error": 1.0}
    assert score(at_share(at.VANISHED, QUARTER), **hidden) == pytest.approx(QUARTER)
    far = at_share(at.VANISHED, 1)
    assert score(far, fall=1.0, certainty=99.0) == 0
    some = LEARNING | {"level": 1 - at_share(at.LEARNT, 1 - QUARTER)}
    assert score(far, **some) == pytest.approx(QUARTER)
    slow = {"fall": at_share(at.FALL, 1 - QUARTER), "certainty": 99.0}
    assert score(far, **slow) == pytest.approx(QUARTER)


def test_exploding_gradients_grow_towards_the_input_or_are_out_of_proportion():
    flat = layers([0.0] * 5)

    def score(change, **changes):
        line = -change / 4 * np.arange(5.0)
        return rules.exploding(stuck(**changes), layers(line)).score

    assert score(at_share(at.DEPTH_RATIO, QUARTER)) == pytest.approx(QUARTER)
    some = LEARNING | {"level": 1 - at_share(at.LEARNT, 1 - QUARTER)}
    assert score(at_share(at.DEPTH_RATIO, 1), **some) == pytest.approx(QUARTER)
    burst = power(at.BURST, QUARTER)
    found = rules.exploding(stuck(burst=burst), flat)
    assert found.score == pytest.approx(QUARTER)
    assert f"{burst:.1e} times the parameters'" in found.evidence[-1]
    assert len(rules.exploding(stuck(burst=1.0), flat).evidence) == 2


def test_the_evidence_names_the_first_layer_and_the_last():
    found = rules.vanishing(stuck(), layers([-3.0, -2.0, -1.0, 0.0, 1.0]))
    assert (
        "is 1.0e-03 in layer0 and 1.0e+01 in layer4: over 5 layers a trend of 10^-4.0"
        in (found.evidence[1])
    )
    assert len(rules.vanishing(stuck(), layers([0.0, 1.0])).evidence) == 1


def test_units_are_dead_by_the_median_of_late_rows_in_the_worst_layer():
    def dead(share, **changes):
        worst = np.array([1.0, 1.0, 1.0, share, share, np.nan, 1.0])
        silent = {"a": np.zeros(7), "b": worst, "c": np.full(7, np.nan)}
        return rules.dead_units(
            stuck(**changes), History(np.ones(7), dead_fraction=silent)
        )

    found = dead(at_share(at.DEAD, QUARTER))
    assert found.score == pytest.approx(QUARTER)
    assert f"In b {at_share(at.DEAD, QUARTER):.0%} of the units" in found.evidence[1]
    moving = {"fall_error": 1.0}
    silent = dead(at_share(at.SILENT, QUARTER), **moving).score
    assert silent == pytest.approx(QUARTER)
    # A rate that throws the weights about is at fault itself.
    thrown = {
        "turnover": power(at.TURNOVER, 1 - QUARTER),
        "level": at_share(at.RISE, 1),
    }
    assert dead(1.0, **thrown).score == pytest.approx(QUARTER)
    none = rules.dead_units(stuck(), History(np.ones(7)))
    assert (none.score, none.evidence) == (0, ())

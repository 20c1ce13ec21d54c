"""The diagnosis on written numbers: each verdict by its symptom, and nothing by luck."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optix_tricks.dynamics import History, diagnose
from optix_tricks.dynamics.diagnosis._diagnose import MEANING
from optix_tricks.dynamics.diagnosis._history import cut
from optix_tricks.dynamics.diagnosis._symptoms import block_medians, trend
from optix_tricks.dynamics.diagnosis._thresholds import ramp

ROWS = 400
STEP = np.arange(ROWS, dtype=float)


def noise(size=1.0, seed=0):
    return size * np.random.default_rng(seed).standard_normal(ROWS)


def full(value):
    return np.full(ROWS, float(value))


def flat_loss(level=1.0, start=3.0):
    """A fall in the first fifty rows and nothing after."""
    return level + (start - level) * np.exp(-STEP / 10) + noise(0.01)


def usual(**changes):
    """A run that stopped falling though nothing is wrong with its norms."""
    columns = {
        "loss": flat_loss(),
        "gradient_norm": full(1) + noise(0.1),
        "update_norm": full(0.01),
        "parameter_norm": full(10),
        "learning_rate": full(0.01),
    }
    return History(**{**columns, **changes})


LAYERS = [f"layer{i}" for i in range(8)]
SYMPTOMS = {
    "healthy": usual(loss=np.exp(-STEP / 200) + noise(0.05)),
    "converged": usual(accuracy=full(1.0)),
    "critical point": usual(gradient_norm=full(1e-4)),
    "rate too large": usual(gradient_cosine=full(-0.95)),
    "rate too small": usual(loss=3 - STEP / 1e4, update_norm=full(1e-6)),
    "ill-conditioned": usual(
        loss=1 + 0.2 * np.exp(-STEP / 800),
        gradient_cosine=full(0.99),
        curvature=full(90),
        update_norm=full(0.01),
    ),
    "vanishing gradients": usual(
        layer_gradient_norm={n: full(10.0 ** (i - 8)) for i, n in enumerate(LAYERS)}
    ),
    "exploding gradients": usual(
        layer_gradient_norm={n: full(10.0 ** (4 - i)) for i, n in enumerate(LAYERS)}
    ),
    "dead units": usual(dead_fraction={"layer0": full(0.1), "layer1": full(0.9)}),
    "plateau": usual(),
    "diverged": usual(loss=np.exp(STEP / 50)),
    "over-fitting": usual(
        loss=np.exp(-STEP / 100),
        accuracy=np.minimum(1, STEP / 200),
        test_step=np.arange(40.0, 401, 40),
        test_loss=1 + 0.2 * (np.arange(10.0) - 3) ** 2,
        test_accuracy=np.linspace(0.8, 0.6, 10),
    ),
    "noise floor": usual(gradient_cosine=noise(0.1), noise_scale=full(3e3))._replace(
        batch_size=full(32)
    ),
    "batch too large": usual(
        loss=np.exp(-STEP / 200), noise_scale=full(5), batch_size=full(4096)
    ),
    "schedule ended": usual(learning_rate=np.where(STEP < 150, 0.01, 1e-5)),
    "undecided": usual(loss=np.exp(noise(2.0))),
}


def test_every_verdict_has_a_symptom_here():
    assert SYMPTOMS.keys() == MEANING.keys()


@pytest.mark.parametrize("verdict", MEANING)
def test_a_symptom_leads_to_its_verdict(verdict):
    diagnosis = diagnose(SYMPTOMS[verdict])
    assert diagnosis.verdict == verdict
    assert verdict == "undecided" or diagnosis.score >= 0.5
    assert all(score >= 0.2 and other != verdict for other, score in diagnosis.others)


@pytest.mark.parametrize("verdict", sorted(MEANING.keys() - {"plateau", "undecided"}))
def test_without_the_symptom_the_verdict_goes(verdict):
    assert diagnose(SYMPTOMS["plateau"]).verdict != verdict


@pytest.mark.parametrize("verdict", MEANING)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_the_loss_does_not_matter(verdict, unit):
    history = SYMPTOMS[verdict]
    scaled = {
        name: x * unit
        for name, x in history._asdict().items()
        if x is not None and name in ("loss", "test_loss", "gradient_norm", "curvature")
    }
    scaled["learning_rate"] = history.learning_rate / unit
    if history.layer_gradient_norm:
        layers = history.layer_gradient_norm.items()
        scaled["layer_gradient_norm"] = {name: x * unit for name, x in layers}
    found, wanted = diagnose(history._replace(**scaled)), diagnose(history)
    assert found.verdict == wanted.verdict
    assert found.score == pytest.approx(wanted.score)
    assert dict(found.others) == pytest.approx(dict(wanted.others))


TOWARDS = {  # a symptom that is not there at 0 and all there at 1
    "healthy": lambda t: usual(loss=np.exp(-t * STEP / 200) + noise(0.05)),
    "converged": lambda t: usual(accuracy=full(0.5 + t / 2)),
    "schedule ended": lambda t: usual(
        learning_rate=np.where(STEP < 150, 0.01, 0.01 * 10 ** (-3 * t))
    ),
    "critical point": lambda t: usual(gradient_norm=full(10 ** (-4 * t))),
    "rate too large": lambda t: usual(gradient_cosine=full(-t)),
    "rate too small": lambda t: usual(
        loss=3 - STEP / 1e4, update_norm=full(10 ** (-2 - 4 * t))
    ),
    "ill-conditioned": lambda t: SYMPTOMS["ill-conditioned"]._replace(
        curvature=full(10 ** (3 * t - 1))
    ),
    "vanishing gradients": lambda t: usual(
        layer_gradient_norm={n: full(10.0 ** (t * i)) for i, n in enumerate(LAYERS)}
    ),
    "exploding gradients": lambda t: usual(
        layer_gradient_norm={n: full(10.0 ** (-t * i)) for i, n in enumerate(LAYERS)}
    ),
    "dead units": lambda t: usual(dead_fraction={"layer0": full(t)}),
    "diverged": lambda t: usual(loss=np.exp(t * STEP / 100)),
    "over-fitting": lambda t: SYMPTOMS["over-fitting"]._replace(
        test_loss=1 + 0.2 * t * (np.arange(10.0) - 3) ** 2,
        test_accuracy=np.full(10, 0.85),
    ),
    "noise floor": lambda t: usual(
        noise_scale=full(32 * 10 ** (3 * t)), batch_size=full(32)
    ),
    "batch too large": lambda t: usual(
        loss=np.exp(-STEP / 200),
        noise_scale=full(4096 * 10 ** (-3 * t)),
        batch_size=full(4096),
    ),
}


def test_every_cause_has_a_way_to_it():
    assert TOWARDS.keys() == MEANING.keys() - {"plateau", "undecided"}


@pytest.mark.parametrize("verdict", TOWARDS)
def test_a_growing_symptom_turns_the_verdict_once_and_where_its_score_says(verdict):
    found = [diagnose(TOWARDS[verdict](t)) for t in np.linspace(0, 1, 41)]
    named = [diagnosis.verdict == verdict for diagnosis in found]
    assert not named[0]
    assert named[-1]
    assert named == sorted(named)
    scores = [dict([d[:2], *d.others]).get(verdict, 0.0) for d in found]
    assert scores == sorted(scores)
    assert len(set(scores)) > 3  # by degrees, from below one half
    assert max(s for s, there in zip(scores, named, strict=True) if not there) < 0.5
    assert min(s for s, there in zip(scores, named, strict=True) if there) >= 0.5


@given(st.floats(-5, 5), st.floats(-4, 4), st.floats(0.01, 3))
def test_a_ramp_is_between_zero_and_one_and_monotone(x, low, width):
    pair = (low, low + width)
    assert 0 <= ramp(x, pair) <= ramp(x + 0.1, pair) <= 1
    assert ramp(x, pair) == pytest.approx(1 - ramp(x, pair[::-1]), abs=1e-9)


def test_the_fall_is_that_of_theil_and_sen_in_scipy():
    values = np.exp(-STEP / 300 + noise(0.3))
    blocks = np.log(block_medians(values))
    slope = stats.theilslopes(blocks, np.arange(12)).slope
    assert trend(values).fall == pytest.approx(1 - np.exp(12 * slope))


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_error_of_the_fall_is_the_spread_over_seeds(decay):
    def walk(seed):
        e = np.random.default_rng(seed).standard_normal(ROWS)
        for i in range(1, ROWS):
            e[i] += decay * e[i - 1]
        return np.exp(0.1 * e)

    trends = [trend(walk(seed)) for seed in range(60)]
    spread = np.std([t.fall for t in trends])
    typical = np.mean([t.error for t in trends])
    assert 0.7 < typical / spread < 1.6


def test_outliers_do_not_move_the_fall():
    clean = np.exp(-STEP / 300)
    dirty = clean.copy()
    dirty[::17] *= 1e6
    dirty[5::41] = np.nan
    assert trend(dirty).fall == pytest.approx(trend(clean).fall, rel=0.02)


def test_a_loss_below_zero_is_read_too():
    falling = -10 + 4 * np.exp(-STEP / 150) + noise(0.02)
    assert diagnose(History(falling)).verdict == "healthy"
    assert diagnose(History(-falling)).verdict != "healthy"


@pytest.mark.parametrize(
    "name", ["loss", "gradient_norm", "update_norm", "learning_rate"]
)
def test_columns_full_of_nan_raise_nothing(name):
    history = usual(**{name: full(np.nan)})
    diagnosis = diagnose(history)
    wanted = "diverged" if name == "loss" else "plateau"
    assert diagnosis.verdict == wanted
    assert np.isfinite(diagnosis.score)


def test_a_run_that_became_nan_diverged_and_one_row_of_nan_is_nothing():
    loss = np.exp(-STEP / 200)
    loss[150] = np.inf
    assert diagnose(usual(loss=loss)).verdict == "healthy"
    loss[-1] = np.nan
    assert diagnose(usual(loss=loss)).verdict == "diverged"


@pytest.mark.parametrize(
    ("rows", "verdict"), [(29, "undecided"), (30, "undecided"), (120, "undecided")]
)
def test_scores_at_their_limits(rows, verdict):
    """A flat loss: 30 rows are looked at, a fifth is named, and a half is a verdict."""
    found = diagnose(History(np.full(rows, 1.0)))
    assert (found.verdict, found.score) == (verdict, 0)
    assert ("30 are needed" in found.evidence[0]) == (rows < 30)
    assert ("plateau" in dict(found.others)) == (rows == 120)
    half = diagnose(History(np.full(150, 1.0)))
    assert (half.verdict, half.score) == ("plateau", 0.5)


def test_a_rate_that_rises_by_a_fifth_is_no_warm_up():
    rate = np.where(STEP < 250, 1.0, 1.2)
    assert "still rising" not in str(diagnose(SYMPTOMS["undecided"]))
    steady = SYMPTOMS["undecided"]._replace(learning_rate=rate)
    assert "still rising" not in str(diagnose(steady))


def test_a_warm_up_is_too_early_to_tell():
    history = usual(learning_rate=STEP / 1e4, gradient_cosine=full(-0.95))
    diagnosis = diagnose(history)
    assert diagnosis.verdict == "undecided"
    assert "still rising" in str(diagnosis)


def test_few_rows_are_undecided():
    diagnosis = diagnose(cut(SYMPTOMS["healthy"], 0.05))
    assert diagnosis.verdict == "undecided"
    assert "20 rows" in diagnosis.evidence[0]


def test_a_finished_schedule_is_convergence_only_where_the_loss_fell_far():
    ended = {"learning_rate": np.where(STEP < 150, 0.01, 1e-5)}
    little = diagnose(usual(**ended))
    assert little.verdict == "schedule ended"
    assert "0.1% of its peak" in str(little)
    assert diagnose(usual(**ended, accuracy=full(0.34))).verdict == "schedule ended"
    assert diagnose(usual(**ended, accuracy=full(0.995))).verdict == "converged"
    far = diagnose(usual(**ended, loss=flat_loss(level=0.1)))
    assert far.verdict == "converged"
    assert dict(far.others).get("schedule ended", 0.0) < 0.5


def test_a_rate_that_ends_a_rounding_below_zero_has_ended():
    rate = np.where(STEP < 150, 0.01, -1.5e-11)
    for loss in (flat_loss(), flat_loss(level=2.7)):  # whether much was learnt or little
        assert diagnose(usual(loss=loss, learning_rate=rate)).verdict == "schedule ended"


def test_noise_without_bounds_is_no_critical_point():
    logged = {"gradient_norm": full(0.03), "batch_size": full(32)}
    for scale in (1e3, 1e6, 1e12):
        diagnosis = diagnose(usual(**logged, noise_scale=full(scale)))
        assert diagnosis.verdict == "noise floor"
        assert "critical point" not in dict(diagnosis.others)


def test_evidence_of_a_small_gradient_has_the_product_that_was_logged():
    history = usual(gradient_norm=full(2e-3), noise_scale=full(320), batch_size=full(32))
    noise = 10.0  # over the batch
    diagnosis = diagnose(history)
    product = np.median((history.gradient_norm * 10 / history.loss)[ROWS // 2 :])
    assert diagnosis.verdict == "critical point"
    assert (
        f"is {product:.1e}, {product / (1 + noise) ** 0.5:.1e} without its noise"
        in str(diagnosis)
    )


def test_the_curvature_decides_between_minimum_and_saddle():
    flat = {"gradient_norm": full(1e-4), "curvature": full(1e-3)}
    minimum = diagnose(usual(**flat, lowest_curvature=full(1e-6)))
    saddle = diagnose(usual(**flat, lowest_curvature=full(-3e-4)))
    unknown = diagnose(usual(**flat))
    assert minimum.verdict == "converged"
    assert saddle.verdict == unknown.verdict == "critical point"
    assert "It is a saddle" in str(saddle)
    assert "needs the curvature" in str(unknown)
    assert unknown.missing[0].startswith("lowest_curvature")
    assert not any(x.startswith("lowest_curvature") for x in saddle.missing)
    assert "classify_critical_point" in unknown.advice


def test_the_curvature_decides_between_a_small_rate_and_a_bad_condition():
    crawl = SYMPTOMS["ill-conditioned"]
    assert diagnose(crawl._replace(curvature=full(0.9))).verdict == "rate too small"


def test_layers_without_any_gradient_are_frozen_not_vanishing():
    sizes = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    layers = {name: full(size) for name, size in zip(LAYERS, sizes, strict=True)}
    assert diagnose(usual(layer_gradient_norm=layers)).verdict == "plateau"


def test_the_text_tells_what_was_seen_what_it_means_and_what_to_try():
    lines = str(diagnose(usual())).splitlines()
    assert lines[0].startswith("plateau (score 1.00). The loss is flat")
    assert lines[1].startswith("  - Over the second half of the history the loss")
    assert any(line.startswith("Try first: ") for line in lines)
    assert "gradient_cosine" in lines[-1]
    assert "update_norm" not in lines[-1]


def test_with_too_few_finite_losses_in_the_second_half_nothing_is_said():
    loss = np.exp(-np.arange(300.0) / 100)
    loss[160:290] = np.nan
    diagnosis = diagnose(History(loss))
    assert diagnosis.verdict == "undecided"
    assert "too few finite losses" in diagnosis.evidence[0]

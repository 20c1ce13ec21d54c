"""Verdicts on the learning rate, each number at a quarter of its threshold."""

import pytest

from optix_tricks.dynamics.diagnosis import _findings_rate as rules
from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import Finding
from tests.dynamics.symptoms import at_share, power, stuck

QUARTER = 0.25
FAR = {"blown_up": power(at.BLOWN_UP, 1), "highest": power(at.SPIKED, 1)}
PATIENT = {"rows": at_share(at.PATIENCE, QUARTER)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cosine": at_share(at.OPPOSED, QUARTER)}, "their cosine is"),
        ({"alternation": at_share(at.ALTERNATING, QUARTER)}, "Every second loss"),
        ({"turnover": power(at.TURNOVER, QUARTER)}, "of the parameters' norm (usual"),
        ({"bounce": at_share(at.BOUNCE, QUARTER)}, "at 2 a step ends on the"),
    ],
)
def test_a_rate_is_too_large_by_one_sign_of_four(changes, words):
    found = rules.too_large(stuck(**changes))
    assert found.score == pytest.approx(QUARTER)
    [_, said] = found.evidence
    assert words in said
    calm = rules.too_large(stuck(cosine=0.0, alternation=0.0, turnover=1e-9, bounce=0.1))
    assert (calm.score, len(calm.evidence)) == (0, 1)


def test_walls_alone_and_a_crawl_are_told_apart():
    """Gradients that agree do not bounce, and those that oppose may crawl down."""
    most = {"bounce": at_share(at.BOUNCE, 1)}
    agree = most | {"cosine": at_share(at.COHERENT, 1 - QUARTER)}
    assert rules.too_large(stuck(**agree)).score == pytest.approx(QUARTER)
    assert rules.too_large(stuck(**most | PATIENT)).score == pytest.approx(QUARTER)
    crawl = {
        "cosine": at_share(at.OPPOSED, 1),
        "certainty": 99.0,
        "fall": at_share(at.CRAWL, 1 - QUARTER),
    }
    assert rules.too_large(stuck(**crawl)).score == pytest.approx(QUARTER)


def test_weights_are_blown_up_where_little_was_learnt_since():
    for changes, wanted in [
        (FAR | {"level": at_share(at.UNLEARNT, QUARTER)}, QUARTER),
        (FAR | {"level": at_share(at.UNLEARNT, 1)}, 1),
        (
            {
                "blown_up": power(at.BLOWN_UP, QUARTER),
                "highest": power(at.SPIKED, 1),
                "level": at_share(at.UNLEARNT, 1),
            },
            QUARTER,
        ),
        (
            {
                "blown_up": power(at.BLOWN_UP, 1),
                "highest": power(at.SPIKED, QUARTER),
                "level": at_share(at.UNLEARNT, 1),
            },
            QUARTER,
        ),
        ({"turnover": 1e9, "level": at_share(at.RISE, QUARTER)}, QUARTER),
        (
            {"turnover": power(at.TURNOVER, QUARTER), "level": at_share(at.RISE, 1)},
            QUARTER,
        ),
        (FAR | {"level": 9.0, "first": 0.0}, 0),
    ]:
        assert rules.blown_up(stuck(**changes)) == pytest.approx(wanted)


def test_what_blew_up_is_told():
    found = rules.too_large(stuck(blown_up=30.0, highest=8.0, level=3.0, first=4.0))
    assert found.score == 1
    assert found.evidence[1] == (
        "The parameters' norm is 30.0 times its first value; the loss went up to 8.0 "
        "times its own and is at 75%."
    )


NOTHING = Finding("exploding gradients", 0.0, ())
SHORT = {"travel": power(at.TRAVEL, 1), "pull": 1.0}


def test_a_rate_is_too_small_where_there_is_a_slope_and_hardly_a_step():
    for changes, wanted in [
        ({}, 1),
        ({"travel": power(at.TRAVEL, QUARTER)}, QUARTER),
        (PATIENT, QUARTER),
        ({"rate_growth": at_share(at.RATE_FALLS, 1 - QUARTER)}, QUARTER),
        ({"pull": power(at.SMALL_PULL, 1 - QUARTER)}, QUARTER),
        # The curvature decides, where it is known: far from the limit or not.
        ({"bounce": power(at.FAR_FROM_LIMIT, QUARTER)}, QUARTER),
        ({"bounce": 1e-9, "travel": power(at.TRAVEL, QUARTER)}, QUARTER),
        ({"bounce": 0.0}, 1),
        (
            {"bounce": 1e-9, "travel": 1.0, "cosine": at_share(at.COHERENT, QUARTER)},
            QUARTER,
        ),
        ({"travel": 1.0, "cosine": 1.0}, 0),
    ]:
        found = rules.too_small(stuck(**SHORT | changes), NOTHING)
        assert found.score == pytest.approx(wanted)
    exploding = NOTHING._replace(score=1 - QUARTER)
    assert rules.too_small(stuck(**SHORT), exploding).score == pytest.approx(QUARTER)


LIMIT = 10 ** at.TRAVEL[0]


def test_the_evidence_of_a_small_rate():
    for changes, said in [
        ({}, ["looks the same"]),
        ({"travel": LIMIT}, ["looks the same"]),
        ({"travel": 0.99 * LIMIT}, ["All steps of that half", "looks the same"]),
        ({"cosine": at.COHERENT[0]}, ["looks the same"]),
        ({"cosine": at.COHERENT[0] + 0.01}, ["agree", "looks the same"]),
        ({"bounce": 0.5}, ["gradient is 5.0e-01; 1 would"]),
        ({"bounce": 0.0}, []),
    ]:
        _, *evidence = rules.too_small(stuck(**changes), NOTHING).evidence
        assert len(evidence) == len(said)
        for sentence, words in zip(evidence, said, strict=True):
            assert words in sentence


ALONG = {"cosine": at_share(at.COHERENT, 1), "bounce": power(at.AT_LIMIT, 1), "pull": 1.0}


def test_a_valley_is_ill_conditioned_where_the_steepest_walls_limit_the_rate():
    for changes, wanted in [
        ({}, 1),
        ({"cosine": at_share(at.COHERENT, QUARTER)}, QUARTER),
        ({"bounce": power(at.AT_LIMIT, QUARTER)}, QUARTER),
        (PATIENT, QUARTER),
        ({"pull": power(at.SMALL_PULL, 1 - QUARTER)}, QUARTER),
        # Or a zig-zag: gradients oppose each other and the loss falls, slowly.
        (
            {
                "cosine": at_share(at.OPPOSED, 1),
                "certainty": 99.0,
                "fall": at_share(at.CRAWL, QUARTER),
            },
            QUARTER,
        ),
    ]:
        assert rules.ill_conditioned(stuck(**ALONG | changes)).score == pytest.approx(
            wanted
        )


def test_the_evidence_of_an_ill_conditioned_valley():
    for changes, said in [
        ({"cosine": at.COHERENT[0]}, []),
        ({"cosine": at.COHERENT[0] + 0.01}, ["Successive gradients agree"]),
        ({"cosine": at.OPPOSED[0]}, []),
        ({"cosine": at.OPPOSED[0] - 0.01}, ["a zig-zag along a valley"]),
        ({"bounce": 0.5}, ["gradient is 0.50: longer"]),
        ({"bounce": 0.0}, []),
    ]:
        _, *evidence = rules.ill_conditioned(stuck(**changes)).evidence
        assert len(evidence) == len(said)
        for sentence, words in zip(evidence, said, strict=True):
            assert words in sentence

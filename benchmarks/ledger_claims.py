"""What notes on tuning claim of tricks, judged by ledgers on CIFAR-10 and on digits."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.speed_tables import table
from benchmarks.timing import RESULTS

LEDGERS = RESULTS / "ledgers"
UNITS = {"accuracy": (100, 2), "loss": (-1, 3)}  # of a gain, and its digits


class Claim(NamedTuple):
    """Attributes:

    text: what is claimed.
    measure: on which it is judged.
    least: points of accuracy that are claimed, or loss taken away.
    rows: where it was measured: the set, the ledger, the arm.
    """

    text: str
    measure: str
    least: float
    rows: tuple[tuple[str, str, str], ...]


FULL = "CIFAR-10, among eight tricks"
STARTS = ("orthogonal", "normal", "lsuv")
CLAIMS = (
    Claim(
        "warm-up adds a point and more",
        "accuracy",
        1.0,
        (
            ("CIFAR-10", "cifar10", "+warm_up"),
            (FULL, "cifar10_recipe", "-warm_up"),
            ("digits", "digits", "-warm_up"),
        ),
    ),
    Claim(
        "label smoothing adds one to two points",
        "accuracy",
        1.0,
        (
            ("CIFAR-10", "cifar10", "+label_smoothing"),
            (FULL, "cifar10_recipe", "-label_smoothing"),
            ("digits", "digits", "-label_smoothing"),
        ),
    ),
    Claim(
        "no decay of biases and norms adds one to two points",
        "accuracy",
        1.0,
        (
            ("CIFAR-10", "cifar10_decay", "+no_bias_decay"),
            (FULL, "cifar10_recipe", "-no_bias_decay"),
            ("digits", "digits", "-no_bias_decay"),
        ),
    ),
    Claim(
        "a last scale of zero in each block trains faster",
        "loss",
        0.0,
        (
            ("CIFAR-10", "cifar10_zero_gamma", "+zero_gamma"),
            ("digits", "digits_zero_gamma", "+zero_gamma"),
        ),
    ),
)


def gain(ledger: str, arm: str, measure: str) -> tuple[float, float, int] | None:
    """Mean and half-width of what the trick gains, and the pairs."""
    found = json.loads((LEDGERS / ledger / "ledger.json").read_text())
    row = next(row for row in found["rows"] if row["name"] == arm)
    effect, (unit, _) = row[measure], UNITS[measure]
    if not effect or effect["half_width"] is None:
        return None
    mean, half = unit * effect["mean_at_look"], abs(unit) * effect["half_width"]
    return mean, half, row["seeds"]


def judged(mean: float, half: float, least: float) -> str:
    """Confirmed: surely a gain, perhaps of what is claimed; refuted: surely below it."""
    if mean + half < least or mean + half <= 0:
        return "refuted"
    return "confirmed" if mean - half > 0 else "undecided"


def claims() -> str:
    def cells() -> Iterator[list[str]]:
        for claim in CLAIMS:
            for data, ledger, arm in claim.rows:
                yield [claim.text, data, *_said(claim, ledger, arm)]

    return table("| claim | measured on | gain | pairs | verdict |", cells())


def _said(claim: Claim, ledger: str, arm: str) -> list[str]:
    found = gain(ledger, arm, claim.measure)
    if found is None:
        return ["none", "", "undecided"]
    mean, half, pairs = found
    digits = UNITS[claim.measure][1]
    unit = " points" if claim.measure == "accuracy" else " of test loss"
    said = f"{mean:+.{digits}f} ± {half:.{digits}f}{unit}"
    return [said, str(pairs), judged(mean, half, claim.least)]


def starts() -> str:
    """Initialisers in place of LeCun's, with norms and without."""

    def cells() -> Iterator[list[str]]:
        for data in ("cifar10", "digits"):
            for start in STARTS:
                yield [data, f"`{start}`", *(_gain(*x) for x in _pair(data, start))]

    return table("| set | in place of the default | with norms | without |", cells())


def _pair(data: str, start: str) -> Iterator[tuple[str, str]]:
    known = {"cifar10": ("cifar10", "cifar10_starts"), "digits": ("digits_starts",)}
    for ledger in known[data]:
        if _has(ledger, f"+{start}"):
            yield ledger, f"+{start}"
            break
    yield f"{data}_starts_no_norm", f"+{start}"


def _has(ledger: str, arm: str) -> bool:
    found = json.loads((LEDGERS / ledger / "ledger.json").read_text())
    return any(row["name"] == arm for row in found["rows"])


def _gain(ledger: str, arm: str) -> str:
    found = gain(ledger, arm, "accuracy")
    return "diverges" if found is None else f"{found[0]:+.2f} ± {found[1]:.2f}"


CLAIM_TABLES: dict[str, Any] = {"claims": claims, "starts": starts}

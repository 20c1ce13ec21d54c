"""How often is `diagnose` right, and how often does it alarm for nothing?

Trains the labelled suite of `tests/dynamics` on the settings that thresholds were chosen
on, on those that were held out, and on settings drawn at random (`drawn`), and diagnoses
each run: with all that it can log, and with what the training step logs by itself.
Healthy runs are also cut after 25, 50 and 75 % of their rows. Prints confusion matrices,
the recall of each kind and the share of false alarms with a 95 % interval (Wilson's).

    python -m benchmarks.diagnosis [--seeds 10] [--splits held_out] [--figure FILE]
"""

import argparse
import math
import time
from collections import Counter
from typing import Any

import numpy as np

from benchmarks.timing import save
from optix_tricks.dynamics import History, diagnose
from optix_tricks.dynamics.diagnosis._history import cut
from optix_tricks.reports import plot_confusion
from tests.dynamics import drawn, failures, healthy, held_out

SETTINGS = {
    "tuning": failures.tuning() + healthy.tuning(),
    "held_out": held_out.failures() + held_out.healthy(),
    "drawn": [case for draw in drawn.UNSEEN for case in drawn.cases(draw)],
}
FIRST_SEED = {"tuning": 0, "held_out": 1000, "drawn": 0}
LOGS = {"all": History._fields, "usual": failures.USUAL}
CUTS = (0.25, 0.5, 0.75, 1.0)
WELL = ("healthy", "converged", "schedule ended")
NO_ALARM = (*WELL, "undecided")
KINDS = (
    *("diverged", "rate too large", "rate too small", "ill-conditioned"),
    *("critical point", "vanishing gradients", "exploding gradients", "dead units"),
    *("plateau", "over-fitting", "noise floor", "batch too large"),
    *("converged", "schedule ended", "healthy", "undecided"),
)


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    >>> [round(x, 3) for x in wilson(0, 100)]
    [0.0, 0.037]
    """
    z = 1.959964
    share = hits / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    half /= 1 + z * z / runs
    return max(middle - half, 0.0), min(middle + half, 1.0)


def row_of(case: failures.Case, split: str, histories: list[History]) -> dict[str, Any]:
    """Verdicts on the runs of a setting, and how long one diagnosis takes."""
    row: dict[str, Any] = {"split": split, "kind": case.kind, "setting": case.name}
    for logs, names in LOGS.items():
        kept = [failures.keep(history, names) for history in histories]
        start = time.perf_counter()
        row[logs] = Counter(diagnose(history).verdict for history in kept)
        row["ms"] = 1e3 * (time.perf_counter() - start) / len(kept)
        if case.kind in WELL:
            for part in CUTS:
                verdicts = [diagnose(cut(history, part)).verdict for history in kept]
                row[f"{logs} at {part:.0%}"] = Counter(verdicts)
    return row


def matrix(rows: list[dict[str, Any]], split: str, logs: str) -> np.ndarray:
    counts = np.zeros((len(KINDS) - 1, len(KINDS)), int)
    for row in rows:
        if row["split"] == split:
            for verdict, number in row[logs].items():
                counts[KINDS.index(row["kind"]), KINDS.index(verdict)] += number
    return counts


def false_alarms(rows: list[dict[str, Any]], split: str, logs: str) -> list[dict]:
    """Of healthy and converged runs, for each part of their rows."""
    found = []
    for part in CUTS:
        total: Counter = Counter()
        for row in rows:
            if row["split"] == split:
                total += Counter(row.get(f"{logs} at {part:.0%}", {}))
        runs = sum(total.values())
        alarms = runs - sum(total[verdict] for verdict in NO_ALARM)
        low, high = wilson(alarms, runs)
        found.append(
            {"split": split, "logs": logs, "part": part, "runs": runs, "alarms": alarms}
            | {"rate": alarms / runs, "low": low, "high": high}
            | {"undecided": total["undecided"] / runs}
        )
    return found


def show(counts: np.ndarray) -> None:
    print(" " * 21 + "".join(f"{name[:6]:>7}" for name in KINDS) + " recall")
    for name, line in zip(KINDS, counts, strict=False):
        right = line[KINDS.index(name)] / max(line.sum(), 1)
        cells = "".join(f"{n or '.':>7}" for n in line)
        print(f"{name:21}{cells}{right:7.0%}")


def judged(splits: list[str], seeds: int) -> list[dict[str, Any]]:
    """Train and diagnose the settings of the splits: a row a setting."""
    rows: list[dict[str, Any]] = []
    for split in splits:
        of_split = range(FIRST_SEED[split], FIRST_SEED[split] + seeds)
        for case in SETTINGS[split]:
            rows.append(row_of(case, split, case.make(of_split)))
            print(split, case.kind, case.name, dict(rows[-1]["all"]), flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A confusion matrix and false alarms for each split and each set of columns."""
    found: list[dict[str, Any]] = []
    for split in dict.fromkeys(row["split"] for row in rows):
        for logs in LOGS:
            counts = matrix(rows, split, logs).tolist()
            of_split = {"split": split, "logs": logs}
            found.append(of_split | {"verdicts": KINDS, "counts": counts})
            found += false_alarms(rows, split, logs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--splits", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--figure")
    given = parser.parse_args()
    rows = judged(given.splits, given.seeds)
    for row in (found := summary(rows)):
        if "counts" in row:
            print(f"\n{row['split']}, {row['logs']} columns")
            show(np.array(row["counts"]))
        else:
            print(
                f"false alarms at {row['part']:4.0%}: {row['alarms']} of "
                f"{row['runs']} healthy runs, {row['rate']:.1%} "
                f"({row['low']:.1%} to {row['high']:.1%}); "
                f"undecided {row['undecided']:.0%}"
            )
    print(f"\n{np.median([row['ms'] for row in rows]):.1f} ms a diagnosis")
    save("diagnosis", found + rows)
    if given.figure:
        counts = matrix(rows, "held_out", "all")
        plot_confusion(counts, KINDS[:-1], KINDS).savefig(given.figure, dpi=130)


if __name__ == "__main__":
    main()

"""What the numbers of a run say, and what to do next, in words at the top of its page."""

import shlex
from html import escape
from typing import Any, NamedTuple

import numpy as np

from optix_tricks.dynamics import Diagnosis, diagnose, read_history
from optix_tricks.reports._curves import column
from optix_tricks.reports._read import Run
from optix_tricks.tricks import TRICKS, Trick

WELL = ("healthy", "converged", "schedule ended")


class Next(NamedTuple):
    """Commands with places for `run`, `recipe`, `longer`, and tricks that may help."""

    commands: tuple[str, ...] = ("optix-tricks diagnose run {run} --probe",)
    tricks: tuple[str, ...] = ()


LONGER = "optix-tricks train --resume {run} --epochs {longer}"
RATES = "optix-tricks lr-find {recipe}"
CURVATURE = "optix-tricks diagnose curvature {run}"
USE = ("optix-tricks predict {run} FILE", "optix-tricks ablate {recipe}")
NEXT = {
    "healthy": Next((LONGER, *USE)),
    "converged": Next(USE, ("mixup", "cutout", "ema")),
    "schedule ended": Next((RATES, *USE), ("cosine", "ema")),
    "critical point": Next((CURVATURE,), ("gradient_noise", "he_normal")),
    "rate too large": Next((RATES,), ("warm_up", "clip_global_norm")),
    "rate too small": Next((RATES,), ("nesterov", "adamw")),
    "ill-conditioned": Next((CURVATURE,), ("batch_norm", "adamw")),
    "vanishing gradients": Next(tricks=("batch_norm", "he_normal", "lsuv")),
    "exploding gradients": Next(tricks=("clip_global_norm", "batch_norm", "lsuv")),
    "dead units": Next(tricks=("he_normal", "warm_up", "batch_norm")),
    "plateau": Next(),
    "diverged": Next((RATES,), ("warm_up", "clip_global_norm")),
    "over-fitting": Next(tricks=("mixup", "cutout", "decoupled_decay", "early_stopping")),
    "noise floor": Next(tricks=("cosine", "ema", "accumulation")),
    "batch too large": Next((RATES,), ("linear_scaling",)),
    "undecided": Next(),
}
# What is done in training alone, by the slot of the trick that does it.
HARDER = {
    "mix": "examples are mixed",
    "alternate": "images are changed",
    "augment": "images are changed",
    "inserted": "parts of the network are left out",
    "penalties": "a penalty is added",
}


def diagnosed(run: Run) -> Diagnosis | None:
    """The diagnosis of what a run logged; None before its first loss."""
    if not np.isfinite(column(run.train, "loss")).any():
        return None
    size = run.config.get("batch_size")
    of_batch = size if isinstance(size, int) else None
    return diagnose(read_history(run.train, run.test, batch_size=of_batch))


def verdict(run: Run, told: Diagnosis | None) -> str:
    """The diagnosis with its evidence, and the way on: commands, and cards of tricks."""
    if told is None:
        return ""
    epochs = run.config.get("epochs")
    given = {
        "run": shlex.quote(str(run.path)),
        "recipe": shlex.quote(run.recipe),
        "longer": f"{2 * epochs:g}" if isinstance(epochs, int | float) else "N",
    }
    way = NEXT[told.verdict]
    commands = " · ".join(
        f"<code>{escape(each.format(**given))}</code>" for each in way.commands
    )
    cards = ", ".join(linked(trick) for trick in way.tricks)
    also = ", ".join(f"{escape(other)} ({score:.2f})" for other, score in told.others)
    evidence = "".join(f"<li>{escape(sentence)}</li>" for sentence in told.evidence)
    missing = escape(", ".join(told.missing))
    kind = "verdict" if told.verdict in WELL else "verdict trouble"
    parts = [
        f"<h2>{escape(told.verdict.capitalize())}</h2>",
        f"<p>{escape(told.meaning)} (Score {told.score:.2f}.)</p>",
        f"<p><strong>Next:</strong> {escape(told.advice)}</p>",
        f"<p><strong>Commands:</strong> {commands}</p>",
        f"<p><strong>Tricks for it:</strong> {cards}</p>" if cards else "",
        f"<ul>{evidence}</ul>",
        f"<p>Also possible: {also}.</p>" if also else "",
        f"<p>Not logged, and would tell more: {missing}.</p>" if missing else "",
    ]
    return f'<section class="{kind}">{"".join(parts)}</section>'


def linked(name: str) -> str:
    """A trick's name, as a link to its card on the page if it is one of ours."""
    said = escape(name)
    return f'<a href="#card-{said}">{said}</a>' if name in TRICKS else said


def harder_to_train(run: Run) -> str:
    """Why the train loss lies above the test loss, as a sentence; "" where it does not.

    The train loss is the mean over the rows since the test before.
    """
    test = run.test["step"]
    loss = column(run.test, "loss")
    if not test.size or not np.isfinite(loss[-1]):
        return ""
    start = test[-2] if test.size > 1 else -1
    step = run.train["step"]
    rows = column(run.train, "loss")[(step > start) & (step <= test[-1])]
    rows = rows[np.isfinite(rows)]
    if not rows.size or rows.mean() <= loss[-1]:
        return ""
    why = ["a train row is the loss before its step, while the weights still changed"]
    for each, _ in tricks_of(run):
        if each is None:
            continue
        if each.name == "label_smoothing":
            why.append("labels are smoothed in training alone (label_smoothing)")
        for slot in each.slots:
            if slot in HARDER and each.name != "arcface":
                why.append(f"{HARDER[slot]} in training alone ({each.name})")
                break
    return (
        f"The train loss of the last epoch ({rows.mean():.4f}) lies above the test loss"
        f" ({loss[-1]:.4f}), and is not to be compared with it: {'; '.join(why)}."
    )


def tricks_of(run: Run) -> list[tuple[Trick | None, tuple[str, dict[str, Any]]]]:
    """The tricks in a run's config, each beside ours of that name.

    Those of others are not looked up: that would run their code.
    """
    found = run.config.get("tricks")
    named = []
    for each in found if isinstance(found, list) else []:
        match each:
            case [str(name), dict(numbers)]:
                named.append((TRICKS.get(name), (name, numbers)))
    return named

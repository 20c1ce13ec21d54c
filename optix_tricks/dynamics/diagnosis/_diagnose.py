"""Why is my run stuck? A verdict on logged numbers, in words."""

from typing import NamedTuple

from optix_tricks.dynamics.diagnosis import _thresholds as at
from optix_tricks.dynamics.diagnosis._finding import Finding, pace
from optix_tricks.dynamics.diagnosis._findings_data import (
    batch_too_large,
    noise_floor,
    over_fitting,
)
from optix_tricks.dynamics.diagnosis._findings_layers import (
    dead_units,
    exploding,
    vanishing,
)
from optix_tricks.dynamics.diagnosis._findings_pace import (
    converged,
    critical_point,
    diverged,
    healthy,
    plateau,
    schedule_ended,
)
from optix_tricks.dynamics.diagnosis._findings_rate import (
    ill_conditioned,
    too_large,
    too_small,
)
from optix_tricks.dynamics.diagnosis._history import History, check_history
from optix_tricks.dynamics.diagnosis._symptoms import Symptoms, measure

# What it means, and what to try first.
MEANING = {
    "healthy": (
        "The loss is still falling.",
        "Let it run; if its schedule has ended, train anew for longer.",
    ),
    "converged": (
        "The training loss has arrived: longer training will hardly lower it.",
        "Stop here. If the test result is not good enough, change the data, the model or "
        "the regularisation rather than the optimiser.",
    ),
    "schedule ended": (
        "The loss stays where it is because the schedule has taken the rate away; how "
        "far down it could go was not tried.",
        "If the result is not good enough, train anew for longer or with a higher rate; "
        "going on at this rate changes nothing.",
    ),
    "critical point": (
        "The surface is flat here: a minimum, a saddle or a flat stretch.",
        "Run classify_critical_point on the parameters; at a saddle add noise or use "
        "escape_saddle, and start from larger random weights.",
    ),
    "rate too large": (
        "Steps are longer than the valley is wide, so the loss oscillates across it.",
        "Divide the learning rate by 3 to 10, or warm it up; range-test the rate.",
    ),
    "rate too small": (
        "The slope is there and steady, but steps are too short to go down it.",
        "Multiply the learning rate by 10 and look again; range-test the rate.",
    ),
    "ill-conditioned": (
        "The valley is much steeper across than along: the steep walls limit the rate, "
        "and along the floor the loss crawls.",
        "Normalise inputs and layers; use momentum or an adaptive method (Adam).",
    ),
    "vanishing gradients": (
        "The first layers get hardly any gradient.",
        "Use ReLU-like activations with He initialisation, normalisation layers and skip "
        "connections.",
    ),
    "exploding gradients": (
        "Gradients grow out of proportion on their way through the layers.",
        "Initialise with smaller variance or add normalisation layers; clip the gradient "
        "by its global norm until then.",
    ),
    "dead units": (
        "Units that are silent for every example get no gradient and do not come back.",
        "Start again with biases at zero, He initialisation and a smaller or warmed-up "
        "rate; or use a leaky activation.",
    ),
    "plateau": (
        "The loss is flat, and what was logged fits several causes.",
        "Log the missing numbers for a few hundred steps and diagnose again.",
    ),
    "diverged": (
        "The loss has left for good.",
        "Go back to a checkpoint from before, with a third of the learning rate or a "
        "warm-up; clip the gradient, and look for bad inputs.",
    ),
    "over-fitting": (
        "The network learns its training set by heart, wrong labels included.",
        "Stop at the best test loss; add data, augmentation or weight decay, and check "
        "labels that are learnt last.",
    ),
    "noise floor": (
        "The gradient is mostly noise of small batches: at this rate it moves the "
        "weights as far off as the slope brings them back.",
        "Decay the learning rate, or make the batch larger: a factor 10 of either.",
    ),
    "batch too large": (
        "The batch is far above the noise scale: most of its examples add nothing.",
        "Use a smaller batch for more steps from the same examples; or raise the rate.",
    ),
    "undecided": (
        "The numbers do not fit one cause well enough.",
        "Log the missing numbers, or wait for more rows.",
    ),
}
# A verdict of a later line stands only if none of an earlier one does.
MINOR = ("plateau", "batch too large")
WELL = ("healthy", "converged", "schedule ended")
OPEN = ("plateau", "undecided", "critical point", "rate too small")
ADVISED = {  # what to log, by how much it decides
    "gradient_norm": "gradient_norm",
    "update_norm": "update_norm",
    "parameter_norm": "parameter_norm",
    "learning_rate": "learning_rate",
    "gradient_cosine": "gradient_cosine (of successive gradients)",
    "curvature": "curvature (the Hessian's largest eigenvalue)",
    "noise_scale": "noise_scale",
    "layer_gradient_norm": "layer_gradient_norm",
    "dead_fraction": "dead_fraction",
    "test_loss": "test_loss",
}


class Diagnosis(NamedTuple):
    """A verdict with its reasons; printed, a paragraph."""

    verdict: str  # a key of MEANING
    score: float  # 0 to 1: how far the numbers are beyond its thresholds; no probability
    evidence: tuple[str, ...]  # sentences with the numbers
    others: tuple[tuple[str, float], ...]  # other verdicts that fit in part, best first
    meaning: str
    advice: str  # what to try first
    missing: tuple[str, ...]  # quantities that were not logged and might decide

    def __str__(self) -> str:
        """The diagnosis as a short text."""
        lines = [f"{self.verdict} (score {self.score:.2f}). {self.meaning}"]
        lines += [f"  - {sentence}" for sentence in self.evidence]
        lines.append(f"Try first: {self.advice}")
        if self.others:
            also = ", ".join(f"{verdict} ({score:.2f})" for verdict, score in self.others)
            lines.append(f"Also possible: {also}.")
        if self.missing:
            lines.append(f"Not logged, and would tell more: {', '.join(self.missing)}.")
        return "\n".join(lines)


def diagnose(history: History) -> Diagnosis:
    """Say why a run is stuck, or that it is not, from its logged losses and norms.

        score(verdict) = min over its conditions of ramp(symptom)
        verdict = argmax score,  undecided where the largest is below 1/2

    Symptoms have no units: the relative fall of the loss over the second half with its
    standard error, gradient norm x parameter norm / loss, update norm / parameter norm,
    the cosine of successive gradients, curvature x update norm / gradient norm, noise
    scale / batch size, the trend of the layers' gradients over depth. A condition is 0
    below its threshold's lower end, 1 above its upper, and 0 where the number was not
    logged. Of equal scores the one that causes the other wins. Any cause of trouble wins
    over "plateau" and "batch too large", and these over "healthy", "converged" and
    "schedule ended".

    Helps when a loss stopped falling: it names the most likely cause and what to try
    first. Does little before 150 rows, in a warm-up, or with the loss alone.
    Hurts whoever takes the score for a probability. Cost: none in gradient evaluations;
    milliseconds of NumPy for a thousand rows. Measured error rates stand in
    docs/diagnostics.md.

    Args:
      history: see `History` and `read_history`.

    Returns:
      The verdict, its evidence, what else fits, and what should be logged.

    Raises:
      ValueError: if columns of the history differ in length or steps do not rise.

    Examples:
      >>> import numpy as np
      >>> steps = np.arange(200)
      >>> diagnosis = diagnose(History(np.exp(-steps / 100)))
      >>> diagnosis.verdict, diagnosis.evidence[0][:52]
      ('healthy', 'Over the second half of the history the loss fell by')
      >>> bounce = np.where(steps % 2, -0.99, -0.98)
      >>> diagnose(History(np.full(200, 1.3), gradient_cosine=bounce)).verdict
      'rate too large'

    Source: thresholds and their reasons are ours; the steps across a valley from
    "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
    Cohen et al., 2021; the noise scale from "An Empirical Model of Large-Batch Training",
    McCandlish et al., 2018.
    """
    history = check_history(history)
    s = measure(history)
    if s.rows < at.ROWS and s.is_finite:
        few = f"There are {s.rows} rows with a finite loss; {at.ROWS} are needed."
        return _told(Finding("undecided", 0.0, (few,)), (), history)
    findings = _findings(s, history)
    findings.sort(key=lambda f: -f.score)  # of equal ones the cause stays first
    likely = [f for f in findings if f.score >= at.LIKELY]
    minor = [f for f in likely if f.verdict not in WELL]
    causes = [f for f in minor if f.verdict not in MINOR]
    best = next(iter(causes or minor or likely), _undecided(s))
    others = tuple(
        (f.verdict, f.score)
        for f in findings
        if f is not best and f.score >= at.WORTH_NAMING
    )
    return _told(best, others, history)


def _undecided(s: Symptoms) -> Finding:
    evidence = [pace(s)]
    if s.rate_growth > at.RISING_RATE:
        evidence.append("The learning rate is still rising: it is too early to tell.")
    return Finding("undecided", 0.0, tuple(evidence))


def _findings(s: Symptoms, history: History) -> list[Finding]:
    """All findings, a cause before what it causes."""
    explosion = exploding(s, history)
    return [
        explosion,
        vanishing(s, history),
        dead_units(s, history),
        diverged(s),
        over_fitting(s, history),
        too_large(s),
        ill_conditioned(s),
        too_small(s, explosion),
        critical_point(s),
        noise_floor(s),
        batch_too_large(s),
        plateau(s),
        schedule_ended(s),
        converged(s),
        healthy(s),
    ]


def _told(
    finding: Finding, others: tuple[tuple[str, float], ...], history: History
) -> Diagnosis:
    missing: tuple[str, ...] = ()
    if finding.verdict in OPEN:
        missing = tuple(say for n, say in ADVISED.items() if getattr(history, n) is None)
        if finding.verdict == "critical point" and history.lowest_curvature is None:
            missing = ("lowest_curvature (the Hessian's smallest eigenvalue)", *missing)
    return Diagnosis(
        *(finding.verdict, finding.score, finding.evidence, others),
        *MEANING[finding.verdict],
        missing,
    )

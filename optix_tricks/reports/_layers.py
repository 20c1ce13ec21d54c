"""Norms of a run's layers, and the step to which decay and gradients bring them."""

import numpy as np

from optix_tricks.dynamics import equilibrium
from optix_tricks.reports import _tables
from optix_tricks.reports._curves import column, norms_of
from optix_tricks.reports._read import Run
from optix_tricks.reports._verdict import tricks_of

# The kind of `equilibrium` by the tricks of optimiser and decay.
KINDS = {
    ("sgd", "l2"): "sgd",
    ("momentum", "l2"): "heavy_ball",
    ("nesterov", "l2"): "nesterov",
    ("momentum", "decoupled_decay"): "sgdw",
}

_OPEN = 40  # rows; more are folded


def layer_table(run: Run) -> str:
    """A row for each array of parameters: shape, norms at the start and at the end."""
    if not run.layers:
        return ""
    rows = [
        (
            row["name"],
            " × ".join(map(str, row["shape"])) or "–",
            _tables.number(row["start"]),
            _tables.number(row["end"]),
            _tables.number(row["end"] / row["start"])
            if row["start"] and row["end"] is not None
            else "–",
        )
        for row in run.layers
    ]
    heads = ("parameters", "shape", "norm at the start", "at the end", "end / start")
    table = _tables.table(heads, rows, "numbers")
    if len(rows) <= _OPEN:
        return table
    return f"<details><summary>norms of {len(rows)} arrays</summary>{table}</details>"


def tended_to(run: Run) -> np.ndarray:
    """The update over the parameters that a layer before a norm tends to, at each row.

    nan where it is not known: another optimiser, no decay, a rate of zero.
    """
    names = {name for _, (name, _) in tricks_of(run)}
    kinds = [kind for pair, kind in KINDS.items() if names.issuperset(pair)]
    rate, decay = column(run.train, "learning_rate"), column(run.train, "weight_decay")
    momentum = column(run.train, "momentum")
    if kinds[:1] == ["sgd"]:
        momentum = np.zeros_like(momentum)
    known = np.isfinite(rate * decay * momentum) & (rate > 0) & (decay > 0)
    found = np.full(rate.shape, np.nan)
    if len(kinds) == 1 and known.any():
        found[known] = equilibrium(
            kinds[0],
            learning_rate=rate[known],
            weight_decay=decay[known],
            momentum=float(np.median(momentum[known])),
        ).rotation
    return found


def said_of_steps(run: Run) -> str:
    """The measured step beside that of the equilibrium, as a sentence; "" if unknown."""
    wanted, ratio = tended_to(run), norms_of(run)["update/parameter"]
    both = np.isfinite(wanted) & np.isfinite(ratio)
    both[: both.size // 2] = False
    if not both.any():
        return ""
    measured, tended = np.median(ratio[both]), np.median(wanted[both])
    return (
        f"Over the second half a step was {measured:.2g} of the parameters' norm in the"
        f" median. With this rate, decay and momentum layers before a normalisation tend"
        f" to {tended:.2g} (equilibrium, in the chart of norms), whatever the gradient;"
        " those without one after them do not."
    )

"""The setup of a run as a table, the cards of its tricks, and the files beside it."""

import textwrap
from collections.abc import Iterable
from html import escape

from optix_tricks.reports._read import Run
from optix_tricks.reports._verdict import linked, tricks_of
from optix_tricks.tricks import TRICKS, card, summary

FILES = {
    "metrics.jsonl": "every logged row",
    "config.json": "every number of the setup",
    "environment.json": "versions, devices, command",
    "result.json": "the final numbers",
    "confusion.json": "which class was taken for which",
    "examples.npz": "test images of the worst and best loss",
    "layers.json": "norms of the parameters",
    "speed.json": "examples a second",
    "checkpoints": "weights and optimiser, by epoch",
    "tensorboard": "the same rows as events, for a live view",
    "figures": "the figures as PNG",
}


def setup_table(run: Run) -> str:
    """A row a trick: the slots it fills, its name, what it does, its numbers."""
    rows = []
    for each, (name, numbers) in tricks_of(run):
        said = ", ".join(f"{key}={x!r}" for key, x in numbers.items())
        slots = ", ".join(each.slots) if each else "–"
        line = summary(each) if each else "of another package or file"
        cells = (
            escape(slots),
            linked(name),
            escape(line),
            f"<code>{escape(said)}</code>",
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    if not rows:
        return ""
    heads = "".join(f"<th>{x}</th>" for x in ("slot", "trick", "what it does", "numbers"))
    return (
        f'<div class="scroll"><table class="setup"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def cards(names: Iterable[str]) -> str:
    """The cards of those of these tricks that are ours, folded."""
    return "\n".join(
        f'<details id="card-{escape(name)}"><summary><strong>{escape(name)}</strong>: '
        f"{escape(summary(TRICKS[name]))}</summary>"
        f"<pre>{escape(textwrap.dedent(card(TRICKS[name])))}</pre></details>"
        for name in dict.fromkeys(names)
        if name in TRICKS
    )


def files(run: Run) -> str:
    """Links to what lies beside the page, and how to look at a run while it goes."""
    links = [
        f'<li><a href="{name}">{name}</a>: {said}</li>'
        for name, said in FILES.items()
        if (run.path / name).exists()
    ]
    live = f"tensorboard --logdir {run.path / 'tensorboard'}"
    watch = (
        f"<p>While a run goes on: <code>{escape(live)}</code> (of <code>pip install"
        " tensorboard</code>), or write this page again by <code>optix-tricks report "
        f"{escape(str(run.path))}</code>.</p>"
    )
    return f"<ul>{''.join(links)}</ul>{watch}"

"""Which class the final test took for which, and how often it was right, as HTML."""

from html import escape
from typing import Any

import numpy as np

MOST = 20  # classes of a table; of more, the pairs that are taken for each other most
PAIRS = 15


def confusion_table(confusion: dict[str, Any]) -> str:
    """Return a row for each class, shaded by share, with the share that was right.

    Of many classes: the commonest mistakes, and the classes that are least often right.
    """
    names, counts = confusion["classes"], confusion["counts"]
    if len(names) <= MOST:
        return _square(names, counts)
    return (
        f'<div class="columns"><div>{_pairs(names, counts)}</div>'
        f"<div>{_worst(names, counts)}</div></div>"
    )


def _square(names: list[str], counts: np.ndarray) -> str:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = [
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(
            _cell(int(counts[i, j]), float(share[i, j]), is_right=i == j)
            for j in range(len(names))
        )
        + f"<td><strong>{_right(counts, i)}</strong></td></tr>"
        for i, name in enumerate(names)
    ]
    return (
        '<div class="scroll"><table class="numbers confusion"><thead><tr>'
        f'<th scope="col">is \\ told</th>{heads}<th scope="col">right</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _right(counts: np.ndarray, i: int) -> str:
    of = counts[i].sum()
    return f"{100 * counts[i, i] / of:.1f} %" if of else "–"


def _cell(count: int, share: float, *, is_right: bool) -> str:
    """Right ones in one colour and mistakes in the other; a mistake of 1 % is seen."""
    if not count:
        return "<td></td>"
    color = "var(--right)" if is_right else "var(--mark)"
    strength = share if is_right else share**0.5
    style = f"background: color-mix(in srgb, {color} {70 * strength:.0f}%, transparent)"
    return f'<td style="{style}">{count:,}</td>'


def _pairs(names: list[str], counts: np.ndarray) -> str:
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    rows = []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            of = counts[i].sum()
            cells = (names[i], names[j], f"{wrong[i, j]:,} of {of:,}")
            rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    heads = "".join(f"<th>{head}</th>" for head in ("is", "told", "how often"))
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _worst(names: list[str], counts: np.ndarray) -> str:
    of = counts.sum(axis=1)
    share = np.where(of > 0, counts.diagonal() / np.maximum(of, 1), np.inf)
    order = np.argsort(share, kind="stable")[:PAIRS]
    body = "".join(
        f"<tr><td>{escape(names[i])}</td><td>{_right(counts, i)}</td>"
        f"<td>{of[i]:,}</td></tr>"
        for i in map(int, order)
        if of[i]
    )
    heads = "".join(f"<th>{head}</th>" for head in ("class", "right", "of"))
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )

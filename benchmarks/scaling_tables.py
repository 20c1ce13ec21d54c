"""Tables of docs/scaling.md: what each chip of a mesh does, and for how long at least."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.scaling_model import PLAN
from benchmarks.speed_tables import table
from benchmarks.timing import RESULTS
from optix_tricks.ahead import Collective, Estimate, Facts, roofline, target_chip
from optix_tricks.training import LAYOUTS

SHORT = {
    "all-reduce": "all-reduces",
    "all-gather": "all-gathers",
    "reduce-scatter": "reduce-scatters",
    "all-to-all": "all-to-alls",
    "collective-permute": "permutes",
}


def scaling() -> str:
    """What was compiled, beside what its shapes say."""
    head = "| chips | layout | collectives | sent, MB | / model | state and batch, MB"
    head += (
        " | / model | at once, GB | temporaries, GB | / model | TFLOP, XLA's | / model |"
    )
    return _by_kind(head, _compiled) + _missing()


def scaling_time() -> str:
    """The least and the most that the data sheets allow."""
    head = "| chips | layout | products, ms | memory, ms | links, ms | step, ms"
    head += " | images/s of a chip | links decide below |"
    return _by_kind(head, _timed)


def estimate(row: dict[str, Any]) -> Estimate:
    """Bounds on a row's step."""
    facts = {name: row[name] for name in Facts._fields}
    facts["collectives"] = tuple(Collective(*each) for each in row["collectives"])
    flops = row["expected"]["flops"]
    return roofline(Facts(**facts), flops, target_chip(row["target"]))


def is_looped(row: dict[str, Any]) -> bool:
    """Whether products are taken apart into loops of permutes, each counted once."""
    return any(each[0] == "collective-permute" for each in row["collectives"])


def fewest(row: dict[str, Any]) -> float:
    """Images a chip below which the links take longer than anything else.

    What is sent does not depend on the images; the rest is taken to be in proportion.
    """
    of_it = estimate(row)
    images = row["batch"] / row["devices"]
    return images * of_it.exchange / max(of_it.arithmetic, of_it.transfer)


def _compiled(row: dict[str, Any]) -> Iterator[str]:
    model = row["expected"]
    sent = sum(each[3] for each in row["collectives"])
    yield ", ".join(f"{each[1]} {SHORT[each[0]]}" for each in row["collectives"])
    least = "≥ " if is_looped(row) else ""
    yield f"{least}{sent / 1e6:.1f}"
    yield "" if least else f"{sent / model['sent']:.2f}"
    yield f"{row['arguments'] / 1e6:.1f}"
    yield f"{row['arguments'] / model['arguments']:.2f}"
    yield f"{row['memory'] / 1e9:.2f}"
    yield f"{row['temporaries'] / 1e9:.2f}"
    yield f"{row['temporaries'] / model['kept']:.2f}"
    told = row["flops"]
    yield f"{least}{told / 1e12:.3f}" if told else ""
    yield f"{told / model['flops']:.2f}" if told and not least else ""


def _timed(row: dict[str, Any]) -> Iterator[str]:
    of_it = estimate(row)
    images = row["batch"] / row["devices"]
    arithmetic, transfer, exchange = (f"{1e3 * seconds:.2f}" for seconds in of_it)
    least = "≥ " if is_looped(row) else ""
    yield from (arithmetic, least + transfer, least + exchange)
    if least:
        yield from ("", "", "")
        return
    yield f"{1e3 * of_it.seconds:.1f} to {1e3 * of_it.serial:.1f}"
    yield f"{images / of_it.serial:,.0f} to {images / of_it.seconds:,.0f}"
    yield f"{fewest(row):.0f} a chip"


def _by_kind(head: str, cells: Callable[[dict[str, Any]], Iterable[str]]) -> str:
    parts = []
    for path in sorted(RESULTS.glob("scaling_*.json")):
        found = json.loads(path.read_text())
        versions = [f"{name} {x}" for name, x in found["versions"].items() if x]
        kind = path.stem.removeprefix("scaling_")
        ordered = sorted(found["rows"], key=lambda row: row["devices"])
        rows = ([_chips(row), row["layout"], *cells(row)] for row in ordered)
        parts.append(f"{kind}, {', '.join(versions)}:\n\n{table(head, rows)}\n")
    return "".join(parts)


def _chips(row: dict[str, Any]) -> str:
    shape = row["target"].partition(":")[2]
    return f"{row['devices']}" + (f", {shape}" if "x" in shape else "")


def _missing() -> str:
    there = {
        (row["target"], row["layout"])
        for path in RESULTS.glob("scaling_*.json")
        for row in json.loads(path.read_text())["rows"]
    }
    absent = {target: [x for x in LAYOUTS if (target, x) not in there] for target in PLAN}
    names = [f"{target} {', '.join(some)}" for target, some in absent.items() if some]
    return f"Not compiled yet: {'; '.join(names)}.\n" if names else ""


SCALING_TABLES = {function.__name__: function for function in (scaling, scaling_time)}

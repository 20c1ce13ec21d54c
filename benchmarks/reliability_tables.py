"""Tables of docs/reliability.md, from the files of results."""

from collections.abc import Iterator
from typing import Any

from benchmarks import speed_tables
from benchmarks.speed_tables import table


def resume() -> str:
    """What is another after a resume, case by case."""
    head = "| recipe | steps | resumed after | arrays | other bits | rows and result |"

    def cells(row: dict[str, Any]) -> Iterator[str]:
        yield row["case"]
        yield from (f"{row[name]:,}" for name in ("steps", "from", "arrays"))
        names = row["different"]
        yield f"{len(names)}, by {row['largest']:.1g}" if names else "none"
        yield "the same" if row["same_rows"] else "differ"

    return "".join(
        f"{platform}:\n\n" + table(head, map(cells, rows))
        for platform, rows in speed_tables.results("resume")
    )


def checksums() -> str:
    """What they take beside an epoch."""
    head = "| checkpoint of | MB | write, ms | compare, ms | epoch, s | share of it |"

    def timed(row: dict[str, Any], name: str) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return f"{row[f'{name}_ms']:.2f} [{low:.2f}, {high:.2f}]"

    def cells(row: dict[str, Any]) -> Iterator[str]:
        yield row["case"]
        yield f"{row['bytes'] / 1e6:.2f}"
        yield from (timed(row, name) for name in ("write", "read"))
        if "epoch_s" not in row:
            yield from ("", "")
            return
        ends = f"[{row['epoch_low']:.2f}, {row['epoch_high']:.2f}]"
        yield f"{row['epoch_s']:.2f} {ends}, n = {row['epochs']}"
        yield f"{row['share']:.2%}"

    return "".join(
        f"{platform}, {rows[0]['rounds']} rounds, median [quartiles], of epochs [least,"
        " most]:\n\n" + table(head, map(cells, rows))
        for platform, rows in speed_tables.results("checksums")
    )


RELIABILITY_TABLES = {x.__name__: x for x in (resume, checksums)}

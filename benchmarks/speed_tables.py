"""Tables of README.md and docs/speed.md, from the files of results."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.timing import RESULTS

FORMS = ("hand", "tree", "packed", "foreach", "fused")


def results(name: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What was measured on, and the rows, for every platform."""
    for path in sorted(RESULTS.glob(f"{name}_*.json")):
        found = json.loads(path.read_text())
        platform = f"{found['platform'].upper()} ({found['device']}), jax {found['jax']}"
        yield platform, found["rows"]


def _ratio(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"


def _by_case(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    cases: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        cases.setdefault((row["arrays"], row["optimiser"]), {})[row["form"]] = row
    return cases


def optimizer_step() -> str:
    """Ours against Optax and PyTorch's fused kernels."""
    parts = []
    for platform, rows in results("optimizer_step"):
        parts.append(
            f"{platform}, {rows[0]['rounds']} rounds:\n\n"
            "| arrays | optimiser | Optax, ms | tree | packed | PyTorch fused |\n"
            "|---|---|---|---|---|---|\n"
        )
        for (arrays, optimiser), forms in _by_case(rows).items():
            ratios = [_ratio(forms.get(f)) for f in ("tree", "packed", "fused")]
            parts.append(
                f"| {arrays} | {optimiser} | {forms['optax']['ours_ms']:.2f} | "
                f"{' | '.join(ratios)} |\n"
            )
    return "".join(parts)


def optimizer_step_full() -> str:
    """Every form, with what it took to compile and the share of copying's bandwidth."""
    parts = []
    for platform, rows in results("optimizer_step"):
        parts.append(
            f"{platform}, {rows[0]['rounds']} rounds:\n\n"
            "| arrays | optimiser | form | ms | ratio | trace + compile, s "
            "| instructions | of copy bandwidth |\n|---|---|---|---|---|---|---|---|\n"
        )
        for row in rows:
            compiled = f"{row['trace_s']:.2f} + {row['compile_s']:.2f}"
            parts.append(
                f"| {row['arrays']} | {row['optimiser']} | {row['form']} | "
                f"{row['ours_ms']:.2f} | {_ratio(row)} | "
                + (compiled if "instructions" in row else "")
                + f" | {row.get('instructions', '')} | "
                f"{row['copy_bandwidth_share']:.0%} |\n"
            )
    return "".join(parts)


def airbench_step() -> str:
    """Images a second of one step, ours and PyTorch's."""
    parts = []
    for name in ("airbench94", "airbench94_narrow"):
        for platform, rows in results(name):
            for row in (row for row in rows if row["kind"] == "step"):
                ours = 1e3 * row["batch_size"] / row["ours_ms"]
                theirs = 1e3 * row["batch_size"] / row["theirs_ms"]
                speed = theirs and f"{1 / row['ratio']:.2f}"
                low, high = 1 / row["ratio_high"], 1 / row["ratio_low"]
                parts.append(
                    f"| {platform} | {row['width']} | {row['batch_size']} | "
                    f"{ours:,.0f} | {theirs:,.0f} | {speed} [{low:.2f}, {high:.2f}] |\n"
                )
    if not parts:
        return ""
    return (
        "| device | width | batch | ours, images/s | PyTorch, images/s | ratio |\n"
        "|---|---|---|---|---|---|\n" + "".join(parts)
    )


def startup() -> str:
    """Seconds of a command, by what is kept of compiled programs."""
    parts = []
    for platform, rows in results("startup"):
        parts.append(
            f"{platform}, medians of {len(rows[0]['all'])}:\n\n"
            "| programs kept | seconds |\n|---|---|\n"
        )
        parts += [f"| {row['cache']} | {row['seconds']:.1f} |\n" for row in rows]
    return "".join(parts)


def sweep() -> str:
    """An epoch of all members, against one compiled step called member by member."""
    parts = []
    for platform, rows in results("sweep"):
        parts.append(
            f"{platform}, {rows[0]['rounds']} rounds:\n\n"
            "| network | members | way | an epoch, ms | times as fast |\n"
            "|---|---|---|---|---|\n"
        )
        for row in rows:
            faster = [1 / row[k] for k in ("ratio", "ratio_high", "ratio_low")]
            parts.append(
                f"| {row['network']} | {row['members']} | {row['way']} | "
                f"{row['ours_ms']:.1f} | "
                "{:.2f} [{:.2f}, {:.2f}] |\n".format(*faster)
            )
    return "".join(parts)


def streaming() -> str:
    """Streams alone, and beside a training."""
    parts = []
    for platform, rows in results("streaming"):
        parts.append(
            f"{platform}:\n\n| source | way | images/s (least, most) "
            "| first batch, s |\n|---|---|---|---|\n"
        )
        parts += [
            f"| {row['source']} | {row['way']} | {row['images_per_s']:,.0f} "
            f"({row['low']:,.0f}, {row['high']:,.0f}) | {row['first_s']:.1f} |\n"
            for row in rows
            if "images_per_s" in row
        ]
        parts.append(
            "\n| source | training from | ms a step | waiting |\n|---|---|---|---|\n"
        )
        parts += [
            f"| {row['source']} | {row['way']} | {row['step_ms']:.1f} | "
            f"{row['waiting_share']:.1%} |\n"
            for row in rows
            if "waiting_share" in row
        ]
    return "".join(parts)


TABLES = {
    function.__name__: function
    for function in (
        optimizer_step,
        optimizer_step_full,
        airbench_step,
        startup,
        sweep,
        streaming,
    )
}

"""Tables of README.md and docs/speed.md, from the files of results."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.timing import RESULTS


def results(name: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What was measured on, and the rows, for every platform."""
    for path in sorted(RESULTS.glob(f"{name}_[cgt]pu.json")):
        found = json.loads(path.read_text())
        platform = f"{found['platform'].upper()} ({found['device']}), jax {found['jax']}"
        yield platform, found["rows"]


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _ratio(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"


def _faster(row: dict[str, Any]) -> str:
    ends = (1 / row[name] for name in ("ratio", "ratio_high", "ratio_low"))
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ends)


def _by_case(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    cases: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        cases.setdefault((row["arrays"], row["optimiser"]), {})[row["form"]] = row
    return cases


def optimizer_step() -> str:
    """Ours against Optax and PyTorch's fused kernels."""
    head = "| arrays | optimiser | Optax, ms | tree | packed | PyTorch fused |"
    return "".join(
        f"{platform}, {rows[0]['rounds']} rounds:\n\n"
        + table(
            head,
            (
                [*case, f"{forms['optax']['ours_ms']:.2f}"]
                + [_ratio(forms.get(form)) for form in ("tree", "packed", "fused")]
                for case, forms in _by_case(rows).items()
            ),
        )
        for platform, rows in results("optimizer_step")
    )


def optimizer_step_full() -> str:
    """Every form, with what it took to compile and the share of copying's bandwidth."""
    head = (
        "| arrays | optimiser | form | ms | ratio | trace + compile, s "
        "| instructions | of copy bandwidth |"
    )

    def cells(row: dict[str, Any]) -> Iterator[str]:
        yield from (row["arrays"], row["optimiser"], row["form"])
        yield from (f"{row['ours_ms']:.2f}", _ratio(row))
        compiled = "instructions" in row
        yield f"{row['trace_s']:.2f} + {row['compile_s']:.2f}" if compiled else ""
        yield str(row.get("instructions", ""))
        yield f"{row['copy_bandwidth_share']:.0%}"

    return "".join(
        f"{platform}, {rows[0]['rounds']} rounds:\n\n" + table(head, map(cells, rows))
        for platform, rows in results("optimizer_step")
    )


def _airbench(kind: str, *names: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        for platform, rows in results(name):
            yield from ((platform, row) for row in rows if row["kind"] == kind)


def airbench_step() -> str:
    """Images a second of one step, ours and PyTorch's."""
    rows = [
        (
            platform,
            str(row["width"]),
            str(row["batch_size"]),
            f"{1e3 * row['batch_size'] / row['ours_ms']:,.0f}",
            f"{1e3 * row['batch_size'] / row['theirs_ms']:,.0f}",
            _faster(row),
        )
        for platform, row in _airbench("step", "airbench94", "airbench94_narrow")
    ]
    head = "| device | width | batch | ours, images/s | PyTorch, images/s | ratio |"
    return table(head, rows) if rows else ""


def airbench_runs() -> str:
    """Whole runs: seconds and accuracy."""
    names = ("airbench94", "airbench94_muon", "airbench96", "airbench94_runs")
    rows = [
        (
            platform,
            row["recipe"].removeprefix("cifar10_"),
            str(row["width"]),
            row["mode"],
            str(row["runs"]),
            f"{row['mean_s']:.4g}",
            f"{row['accuracy']:.2%}"
            + (f" ± {row['accuracy_error']:.2%}" if row["accuracy_error"] else ""),
        )
        for platform, row in _airbench("run", *names)
    ]
    head = "| device | recipe | width | by | runs | mean, s | accuracy |"
    return table(head, rows) if rows else ""


def startup() -> str:
    """Seconds to the first step of a command and to its end, by what is kept."""
    return "".join(
        f"{platform}, medians of {len(rows[0]['all'])}:\n\n"
        + table(
            "| programs kept | to the first step, s | to the end, s |",
            (
                (row["cache"], f"{row['first_step_s']:.1f}", f"{row['seconds']:.1f}")
                for row in rows
            ),
        )
        for platform, rows in results("startup")
    )


def sweep() -> str:
    """An epoch of all members, against one compiled step called member by member."""
    head = "| network | members | way | an epoch, ms | times as fast |"

    def cells(row: dict[str, Any]) -> Iterator[str]:
        yield from (row["network"], str(row["members"]), row["way"])
        yield from (f"{row['ours_ms']:.1f}", _faster(row))

    return "".join(
        f"{platform}, {rows[0]['rounds']} rounds:\n\n" + table(head, map(cells, rows))
        for platform, rows in results("sweep")
    )


def streaming() -> str:
    """Streams alone, and beside a training."""
    alone = "| source | way | images/s (least, most) | first batch, s |"
    beside = "| source | training from | ms a step | waiting |"
    return "".join(
        f"{platform}:\n\n"
        + table(
            alone,
            (
                (
                    row["source"],
                    row["way"],
                    f"{row['images_per_s']:,.0f} ({row['low']:,.0f}, {row['high']:,.0f})",
                    f"{row['first_s']:.1f}",
                )
                for row in rows
                if "images_per_s" in row
            ),
        )
        + "\n"
        + table(
            beside,
            (
                (
                    row["source"],
                    row["way"],
                    f"{row['step_ms']:.1f}",
                    f"{row['waiting_share']:.1%}",
                )
                for row in rows
                if "waiting_share" in row
            ),
        )
        for platform, rows in results("streaming")
    )


PARTS = {
    "block": "conv, norm, relu, conv",
    "collectives": "17 norms, eight devices",
    "adam": "Adam, packed, of ResNet-50",
    "int8": "Adam int8, 6 of 2048 x 2048",
    "step": "training step",
}


def compiled() -> str:
    """What the compilers for accelerators make of our steps, and of plain ones."""
    head = "| compiled | kernels | under 200 kB | fusions | main memory, GB | at once, GB"
    head += " | all-reduces | equations | trace + compile, s |"

    def cells(ours: dict[str, Any], plain: dict[str, Any]) -> Iterator[str]:
        def both(written: Callable[[dict[str, Any]], str]) -> str:
            return f"{written(ours)} / {written(plain)}"

        yield PARTS[ours["part"]]
        for name in ("kernels", "small_kernels", "fusions"):
            yield both(lambda row, name=name: f"{row[name]:,}")
        for name in ("bytes", "memory"):
            yield both(lambda row, name=name: f"{row[name] / 1e9:.3g}")
        yield both(lambda row: str(sum(each[1] for each in row["collectives"])))
        yield both(lambda row: f"{row['equations']:,}")
        yield both(lambda row: f"{row['trace_s']:.1f} + {row['compile_s']:.0f}")

    def of_target(path: Path) -> str:
        found = json.loads(path.read_text())
        by = {(row["part"], row["side"]): row for row in found["rows"]}
        versions = ", ".join(f"{name} {x}" for name, x in found["versions"].items() if x)
        pairs = [
            (by[part, "ours"], by[part, "plain"])
            for part in PARTS
            if {(part, "ours"), (part, "plain")} <= by.keys()
        ]
        text = table(head, (cells(*pair) for pair in pairs))
        return f"For {found['target']}, {versions}; ours / plain:\n\n{text}"

    return "\n".join(map(of_target, sorted(RESULTS.glob("compiled_*.json"))))


def compile_time() -> str:
    """Equations an array, and what a step on many arrays takes to compile."""

    def timed(row: dict[str, Any]) -> Iterator[str]:
        yield f"{row['optimiser']}, {row['arrays']:,} arrays"
        yield f"{row['ours_instructions']:,} / {row['optax_instructions']:,}"
        for side in ("ours", "optax"):
            yield f"{row[f'{side}_trace_s']:.2f} + {row[f'{side}_compile_s']:.2f}"
        for key in ("trace", "compile", "both"):
            low, high = row[f"{key}_low"], row[f"{key}_high"]
            yield f"{row[f'{key}_ratio']:.2f} [{low:.2f}, {high:.2f}]"

    def counted(rows: list[dict[str, Any]]) -> str:
        return ", ".join(
            f"{row['optimiser']} {row['ours_equations']} / {theirs or '-'}"
            for row in rows
            if (theirs := row.get("optax_equations", "")) != ""
        )

    head = "| ours / Optax | instructions | ours, s | Optax, s"
    head += " | trace | compile | both |"
    return "\n".join(
        f"{platform}; equations a further array adds, ours / Optax's:"
        f" {counted(rows)}.\n\n"
        f"Processor seconds of tracing + compilation, {rows[-1]['rounds']} rounds, ratios"
        " with the least and the largest:\n\n"
        + table(head, (timed(row) for row in rows if "rounds" in row))
        for platform, rows in results("compile_time")
    )


TABLES = {
    function.__name__: function
    for function in (
        optimizer_step,
        optimizer_step_full,
        airbench_step,
        airbench_runs,
        startup,
        sweep,
        streaming,
        compiled,
        compile_time,
    )
}

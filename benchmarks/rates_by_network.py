"""Accuracy against the learning rate for several networks, from sweeps of each.

    optix-tricks sweep benchmarks/ledger_cifar10.py --with l2=0.0005 \\
        --learning-rate 0.0125:0.8:log:7 --seeds 3 --run-dir runs/resnet9_8
    optix-tricks sweep ... --width 4 --run-dir runs/resnet9_4
    optix-tricks sweep ... --with resnet18 --width 4 --run-dir runs/resnet18_4
    python -m benchmarks.rates_by_network runs/resnet9_8 runs/resnet9_4 runs/resnet18_4

copies the sweeps into benchmarks/results/rates and draws docs/images/rates.png.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.speed_tables import table
from benchmarks.timing import RESULTS
from optix_tricks.reports._looks import LINE, RING, name_lines, new_figure
from optix_tricks.reports._style import LIGHT, dress

RATES = RESULTS / "rates"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "rates.png"
LIKELY = 0.05  # share of bootstrap samples in which a rate is the best


def sweeps() -> dict[str, dict[str, Any]]:
    """What was found for each network, by its name and width."""
    return {
        path.stem.replace("_", " of width "): json.loads(path.read_text())
        for path in sorted(RATES.glob("*.json"))
    }


def likely(found: dict[str, Any]) -> list[float]:
    """The rates that may be the best, the lowest first."""
    pairs = zip(found["axes"]["learning_rate"], found["best_in"], strict=True)
    return [rate for rate, share in pairs if share >= LIKELY]


def plot_rates(networks: dict[str, dict[str, Any]]) -> Figure:
    """A curve a network, with a standard error to each side and a ring at the best.

    The bar below covers the rates that are the best in 5 % of bootstrap samples or more.
    """
    figure = new_figure(LIGHT, (6.4, 4.0))
    ax = figure.subplots()
    ax.set_xscale("log")
    lines = []
    colors = (LIGHT.blue, LIGHT.orange, LIGHT.green)
    lowest = min(np.min(_means(found)) for found in networks.values())
    for i, (found, color) in enumerate(zip(networks.values(), colors, strict=True)):
        x, means, best = found["axes"]["learning_rate"], _means(found), _best(found)
        errors = _percent(found).std(axis=1, ddof=1) / np.sqrt(_percent(found).shape[1])
        lines += ax.plot(x, means, color=color, marker="o", markersize=4, **LINE)
        ax.errorbar(x, means, errors, fmt="none", ecolor=color)
        ax.plot(x[best], means[best], "o", color=color, **RING)
        ends, below = likely(found), lowest - 1.5 - i
        ax.plot([ends[0], ends[-1]], [below, below], color=color, marker="|", **LINE)
    ax.set_xticks(x, [f"{rate:.3g}" for rate in x])
    ax.minorticks_off()
    ax.set_ylabel("validation accuracy, %")
    dress(ax, "learning rate", LIGHT)
    name_lines(figure, lines, list(networks), LIGHT)
    return figure


def rates() -> str:
    """The best rate of each network, and those that it may be."""
    rows = []
    for name, found in sweeps().items():
        means, best, some = _means(found), _best(found), likely(found)
        rate = found["axes"]["learning_rate"][best]
        spread = f"{some[0]:.3g} to {some[-1]:.3g}" if len(some) > 1 else f"{some[0]:.3g}"
        rows.append([name, f"{rate:.3g}", spread, f"{means[best]:.2f}"])
    return table("| network | best rate | it may be | accuracy there, % |", rows)


def _percent(found: dict[str, Any]) -> np.ndarray:
    return 100 * np.asarray(found["validation_accuracy"], float)


def _means(found: dict[str, Any]) -> np.ndarray:
    return _percent(found).mean(axis=1)


def _best(found: dict[str, Any]) -> int:
    return int(_means(found).argmax())


RATE_TABLES = {"rates": rates}


def main() -> None:
    RATES.mkdir(exist_ok=True)
    for source in map(Path, sys.argv[1:]):
        shutil.copy(source / "sweep.json", RATES / f"{source.name}.json")
    plot_rates(sweeps()).savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()

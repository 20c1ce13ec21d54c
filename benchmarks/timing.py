"""Timing of peers side by side: interleaved rounds, medians, ratios and their spread."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from optix_tricks import __version__

RESULTS = Path(__file__).parent / "results"


def interleave(
    candidates: dict[str, Callable[[], Any]],
    *,
    rounds: int = 30,
    warmup: int = 3,
    pause: float = 0.002,
) -> dict[str, list[float]]:
    """Seconds of each call, the candidates taking turns within every round.

    Before each call there is a pause: the threads of one library wait for work at full
    speed for a while, and would slow down the next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(warmup + rounds):
        for name, call in candidates.items():
            time.sleep(pause)
            start = time.perf_counter()
            jax.block_until_ready(call())
            if i >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def copy_bandwidth(size: int) -> tuple[Callable[[], Any], int]:
    """Return a call that adds one to a donated array in place, and the bytes it moves."""
    held = [jnp.zeros(max(size // 4, 1), jnp.float32)]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def call() -> Any:
        held[0] = add(held[0])
        return held[0]

    return call, 2 * held[0].nbytes


def compare(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median times in ms, and the ratio round by round: median and quartiles."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "ours_ms": 1e3 * statistics.median(ours),
        "theirs_ms": 1e3 * statistics.median(theirs),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
        "rounds": len(ratios),
    }


def save(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows with what they were measured on."""
    content = {
        "benchmark": name,
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "python": platform.python_version(),
        **{p: metadata.version(p) for p in ("jax", "jaxlib", "optax")},
        "optix_tricks": __version__,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{jax.default_backend()}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path

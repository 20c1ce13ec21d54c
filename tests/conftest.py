"""Eight CPU devices in one process; set up before JAX is imported.

Collectives of fake devices wait for each other on a thread pool: with fewer threads
than twice the devices a queue of undone steps can block itself. `NPROC` sizes the pool.

Nearly all of the time goes into compiling small programs. They are compiled with little
optimisation, in half to a quarter of the time, and kept in .jax_cache for the other
worker and the next run. `COMPILE=full` compiles them as users have them compiled; so do
`make test-newer` and `make test-all`.
"""

import ctypes
import gc
import os
from collections import defaultdict
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NPROC"] = "16"
# Level 0 would make NaN of some gradients.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_cpu_collective_call_terminate_timeout_seconds=30",
        ""
        if os.environ.get("COMPILE") == "full"
        else "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
)

os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import hypothesis
import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile(
    "default", deadline=None, max_examples=25, derandomize=True
)
hypothesis.settings.load_profile("default")

MOST_SETS = 4  # of a test's parameters, unless CI asks for all of them
FEWEST_SETS = 1  # of these, in `make test`
DEAR_LINES = (Path(__file__).parent / "dear.txt").read_text().splitlines()
DEAR = {line.split()[1] for line in DEAR_LINES}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a test's parameter sets mark all but four, evenly spread, `thorough`.

    Of the four all but one are `further`, and so is a dear test: `pytest` takes them,
    `make test` does not.
    """
    sets = defaultdict(list)
    for item in items:
        name = item.nodeid.partition("[")[0]
        if name in DEAR:
            item.add_marker("further")
        if item.get_closest_marker("slow") is None:
            sets[name].append(item)
    for rows in sets.values():
        for most, mark in ((MOST_SETS, "thorough"), (FEWEST_SETS, "further")):
            kept = set(np.linspace(0, len(rows) - 1, min(most, len(rows))).round())
            for item in [row for i, row in enumerate(rows) if i not in kept]:
                item.add_marker(mark)
            rows = [row for i, row in enumerate(rows) if i in kept]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """With TIMES=FILE in the environment, add what a test takes; see tests/dear.py."""
    before = os.times()
    yield
    if "TIMES" in os.environ:
        took = sum(os.times()[:4]) - sum(before[:4])  # of all processors
        with open(os.environ["TIMES"], "a") as times:
            times.write(f"{took:.2f} {item.nodeid}\n")


STATM = "/proc/self/statm"
MOST_GROWTH = 2 << 30  # bytes; a compiled program takes one to two million
smallest = [0]


def resident() -> int:
    with open(STATM) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pytest_runtest_teardown(item, nextitem):
    """Forget compiled programs before thousands of them fill the memory (on Linux).

    What is forgotten must be handed back too: memory that only the allocator keeps
    would have every later test begin without a compiled program.
    """
    if not os.path.exists(STATM):
        return
    smallest[0] = smallest[0] or resident()
    if resident() > smallest[0] + MOST_GROWTH:
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        smallest[0] = resident()

"""How long does a command take to its first step, and to its end, cold and warm?

`optix-tricks train digits --epochs 1`, a process each time: with an empty directory for
compiled programs, again with what the first one left there, and with none.

    python -m benchmarks.startup [--rounds 2]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import save

FIRST_STEP = """\
import os, sys
from optix_tricks.cli import keep_compiled_programs, main
keep_compiled_programs()  # before JAX is imported
from optix_tricks.training._progress import Progress
Progress.on_step = lambda *where: lambda i: os._exit(0)
main(sys.argv[1:])
"""


def seconds(program: list[str], run: Path, cache: Path, **variables: str) -> float:
    """Of one process that writes its run into `run`."""
    command = [sys.executable, *program, "train", "digits", "--epochs", "1"]
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    start = time.perf_counter()
    subprocess.run(
        [*command, "--run-dir", str(run)],
        env=kept | {"XDG_CACHE_HOME": str(cache)} | variables,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def both(home: Path, first: str, whole: str, **variables: str) -> tuple[float, float]:
    """To the first step, and to the end, with what two directories keep."""
    run = home / f"run-{time.time_ns()}"
    return (
        seconds(["-c", FIRST_STEP], run / "first", home / first, **variables),
        seconds(["-m", "optix_tricks"], run / "whole", home / whole, **variables),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    times: dict[str, list[tuple[float, float]]] = {
        "cold": [],
        "warm": [],
        "none kept": [],
    }
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            home = Path(directory)
            times["cold"].append(both(home, "other", "kept"))
            times["warm"].append(both(home, "kept", "kept"))
            off = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
            times["none kept"].append(both(home, "kept", "kept", **off))
        print({name: values[-1] for name, values in times.items()}, flush=True)
    rows = []
    for name, values in times.items():
        first, whole = zip(*values, strict=True)
        rows.append(
            {
                "cache": name,
                "first_step_s": statistics.median(first),
                "seconds": statistics.median(whole),
                "all": values,
            }
        )
    print(f"wrote {save('startup', rows)}")


if __name__ == "__main__":
    main()

"""How long does a command take, from its start to its end, cold and warm?

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


def seconds(run: Path, cache: Path, **variables: str) -> float:
    """Of one process that writes its run into `run`."""
    command = [sys.executable, "-m", "optix_tricks", "train", "digits", "--epochs", "1"]
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    start = time.perf_counter()
    subprocess.run(
        [*command, "--run-dir", str(run)],
        env=kept | {"XDG_CACHE_HOME": str(cache)} | variables,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {"cold": [], "warm": [], "none kept": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            home = Path(directory)
            times["cold"].append(seconds(home / "1", home / "cache"))
            times["warm"].append(seconds(home / "2", home / "cache"))
            off = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
            times["none kept"].append(seconds(home / "3", home / "cache", **off))
        print({name: round(values[-1], 2) for name, values in times.items()}, flush=True)
    rows = [
        {"cache": name, "seconds": statistics.median(values), "all": values}
        for name, values in times.items()
    ]
    print(f"wrote {save('startup', rows)}")


if __name__ == "__main__":
    main()

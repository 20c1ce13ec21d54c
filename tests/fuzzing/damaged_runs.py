"""Change something in the files of a run and say how each command took it.

    python -m tests.fuzzing.damaged_runs --runs 200 --seed 0

Allowed are exit code 0, and 1 with one sentence that is no bug's; code 0 must have left
the weights and their test alone.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

from tests.fuzzing.lines import LANDED, fault, run

COMMANDS = (
    ["report"],
    ["diagnose", "run"],
    ["evaluate"],
    ["train", "--resume"],
    ["train", "digits", "--from"],
)
ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    10**400,
    2**63,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "nowhere",
    "\ud800",
    "a" * 10_000,
    [],
    [1, 2],
    [[1], [2, 3]],
    {},
    {"a": 1},
    "<script>",
    "/proc/none",
]
BYTES = [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"{}", b"[]", b"7", b"\0" * 100]
FILES = ("config.json", "environment.json", "result.json", "confusion.json")


def damage(folder, rng):
    """Change one thing; return in words what."""
    name = rng.choice([*FILES, *FILES, "metrics.jsonl"])
    path = folder / name
    kind = rng.random()
    if kind < 0.1:
        path.unlink()
        return f"{name} deleted"
    if kind < 0.2:
        content = rng.choice(BYTES)
        path.write_bytes(content)
        return f"{name} is {content[:10]}"
    if kind < 0.3:
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(len(content))])
        return f"{name} cut off"
    lines = path.read_text().splitlines() if name == "metrics.jsonl" else None
    number = rng.randrange(len(lines)) if lines else 0
    tree = json.loads(lines[number] if lines else path.read_text())
    place, value = change(tree, rng)
    text = json.dumps(tree)
    if lines:
        lines[number] = text
    path.write_text("\n".join(lines) + "\n" if lines else text)
    return f"{name}: {place} = {value!r:.40}"


def change(tree, rng):
    """Exchange or delete one value somewhere in a tree of JSON."""
    node, place = tree, []
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))]
        if not keys:
            return place, "nothing"
        key = rng.choice(keys)
        place.append(key)
        inner = node[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            node = inner
            continue
        if rng.random() < 0.15:
            del node[key]
            return place, "deleted"
        node[key] = rng.choice(ODD)
        return place, node[key]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(options.seed)
    trouble, codes, began = [], collections.Counter(), time.time()
    with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
        os.environ["XDG_CACHE_HOME"] = str(Path(home, "cache"))
        for _ in range(options.runs):
            shutil.rmtree("run", ignore_errors=True)
            shutil.copytree(LANDED, "run")
            what = damage(Path("run"), rng)
            words = [*rng.choice(COMMANDS), "run"]
            if "--from" in words:
                words += ["--width", "2", "--run-dir", "/proc/none"]
            code, out, err = run(words)
            codes[f"{words[0]} {code}"] += 1
            wrong = fault(words, code, out, err)
            if wrong or (code == 1 and "must" not in err and len(err) > 500):
                trouble.append([wrong or "at length", what, words, err[-300:]])
    json.dump(
        {
            "runs": options.runs,
            "seconds": time.time() - began,
            "codes": codes,
            "trouble": trouble,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()

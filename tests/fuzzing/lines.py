"""Give the command line odd lines and say how each ended.

    python -m tests.fuzzing.lines --lines 1000 --seed 0

Allowed are the exit codes that docs/reliability.md lists, and no traceback. What would
train, probe or compile for long is stopped where it begins.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import optix_tricks.cli
from optix_tricks import ledger, runs, studies, training
from optix_tricks.ledger import _trainings

CODES = (0, 1, 2, 130, 143)
SECONDS = 30  # of CPU time; more is a hang
LANDED = Path(__file__).parents[1] / "runs" / "landed"
WORDS = {name.partition(" ")[0]: None for name in optix_tricks.cli.COMMANDS}
COMMANDS = [*WORDS, "trian", "", "--help", "-h", "--version"]
NAMES = [
    "digits",
    "cifar10_resnet9",
    "cifar10_airbench",
    "no_such_recipe",
    "./mine.py",
    "./none.py",
    "./broken.py",
    "run",
    "file",
    "file/below",
    "absent",
    "/proc/1/none",
    "/dev/null",
    "",
    " ",
    ".",
    "..",
    "~",
    "-",
    "--",
    "*",
    "a" * 300,
    "naïve/名前",
    "new\nline",
    "with space",
    "nul\0byte",
    "\udcff",
    "run/config.json",
    "run/checkpoints",
    "os.path",
    "mixup",
    "weight-norm",
    "curvature",
    "bash",
    "v5e:4x4",
    "h100",
    "x.npz",
    "generated/1000000",
    "generated/8",
    "topics/-1",
    "picture.png",
]
FLAGS = [
    "--debug",
    "--with",
    "--without",
    "--from",
    "--resume",
    "--config",
    "--sort",
    "--run-dir",
    "--dataset",
    "--data-dir",
    "--epochs",
    "--batch-size",
    "--width",
    "--seed",
    "--validation",
    "--learning-rate",
    "--checkpoint-every",
    "--mixup.alpha",
    "--no-nesterov",
    "--nesterov.momentum",
    "--for",
    "--probe",
    "--parts",
    "--images",
    "--accept-changed-file",
    "--steps",
    "--seeds",
    "--tricks",
    "--add",
    "--both",
    "--tune",
    "--budget",
    "--keep-best",
    "--on-bad-number",
    "--devices",
    "--layout",
    "--profile",
    "--help",
    "--of-nothing",
    "-x",
]
VALUES = [
    "1",
    "0",
    "-1",
    "1.5",
    "nan",
    "inf",
    "1e999",
    str(2**63),
    "9" * 400,
    "true",
    "None",
    "",
    "digits",
    "mixup",
    "mixup=0.2",
    "mixup=",
    "=",
    "cutmix=many",
    "5steps",
    "10min",
    "0s",
    "-3steps",
    "0.1,0.2",
    "0.01:1:log:5",
    "1:nan:log:0",
    "mixup,cutmix=0.2",
    "[1,2]",
    "run",
    "file/below",
    "/proc/none",
    "generated/1000000",
]


class Stopped(RuntimeError):
    """What would have taken long has begun."""


class Hang(BaseException):
    """It took more CPU time than it may."""


def stop(*_, **__):
    raise Stopped("it begins.")


def prepare(folder):
    """Put runs, files and recipes there, and stop what takes long where it begins."""
    shutil.copytree(LANDED, folder / "run")
    (folder / "file").write_text("a file")
    (folder / "x.npz").write_bytes(b"PK\3\4 and no more")
    (folder / "picture.png").write_bytes(b"\x89PNG and no more")
    (folder / "broken.py").write_text("def setup(:\n")
    (folder / "mine.py").write_text("def setup():\n    return 3\n")
    training.train = stop
    studies.find_learning_rate = stop
    studies.run_study = stop
    studies.measure_curvature = stop
    runs.load_run = stop
    _trainings.train_once = stop
    ledger.measure_costs = stop


def line(rng):
    """Draw a line: a command, names, and flags with and without values."""
    words = [rng.choice([*COMMANDS, "train", "train", "report", "diagnose"])]
    if rng.random() < 0.9:
        likely = ["digits"] * 20 + ["run"] * 20 + ["--resume"] * 5
        words.append(rng.choice(likely + NAMES))
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        kind = rng.random()
        if kind < 0.75:
            words.append(rng.choice(FLAGS))
        if kind > 0.25:
            words.append(rng.choice(VALUES + NAMES))
    return words


def run(words):
    """Return the exit code and what was written, or the exception that came out."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            optix_tricks.cli.main(words)
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        code = repr(error)
    return code, out.getvalue(), err.getvalue()


def fault(words, code, out, err):
    """Say what is wrong with how a line ended, or None."""
    if code not in CODES or isinstance(code, bool):
        return f"exit code {code}"
    if "Traceback" in err and "--debug" not in words:
        return "a traceback"
    if "unforeseen" in err:
        return "an error that nobody foresaw"
    if code and not (out + err).strip():
        return "nothing said"
    return None


def on_hang(*_):
    raise Hang


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, on_hang)
    rng = random.Random(options.seed)
    codes, trouble, began = collections.Counter(), [], time.time()
    slow = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        os.environ["HOME"] = folder
        prepare(Path(folder))
        for _ in range(options.lines):
            words = line(rng)
            start = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            code, out, err = run(words)
            signal.setitimer(signal.ITIMER_PROF, 0)
            slow[repr(words)[:100]] = round(time.process_time() - start, 2)
            codes[str(code)] += 1
            wrong = fault(words, code, out, err)
            if wrong:
                trouble.append([wrong, words, err[-300:]])
    report = {
        "lines": options.lines,
        "seconds": time.time() - began,
        "codes": codes,
        "slow": slow.most_common(8),
        "trouble": trouble,
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()

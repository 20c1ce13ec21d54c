"""Call public functions with one wrong argument each and say how that ended.

    python -m tests.fuzzing.arguments --calls 500 --seed 0

A legal call is the first one of the docstring's example; in it one argument is exchanged,
be it given there or not. Allowed are: it works, and TypeError or ValueError with the name
of the argument. Run outside of pytest, whose checks of annotations users do not have.
"""

import argparse
import collections
import contextlib
import doctest
import importlib
import inspect
import io
import json
import os
import pkgutil
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optix_tricks
from optix_tricks._paths import Arrays
from tests.fuzzing.calls import CALLS, NAN, NOT_CALLED, TOY
from tests.training import toy_runs

ROOT = Path(__file__).parents[2]
SECONDS = 20  # of CPU time; more is a hang, ...
LONG = {"optix_tricks.studies.probe_run": 120}  # ... but where it is what the call takes
TRACED = object()  # stands for a boolean that is traced
WRONG = {
    "list": [0.1, 0.2],
    "nested list": [[0.1, 0.2], [0.3, 0.4]],
    "empty list": [],
    "tuple": (1, 2),
    "float": 0.5,
    "negative": -1.5,
    "whole": 3,
    "zero": 0,
    "minus": -1,
    "far axis": 99,
    "2**31": 2**31,
    "2**63": 2**63,
    "-2**63": -(2**63) - 1,
    "10**400": 10**400,
    "None": None,
    "word": "nowhere",
    "empty word": "",
    "bytes": b"nowhere",
    "true": True,
    "dict": {"a": 1},
    "set": {1},
    "complex": 1j,
    "nan": float("nan"),
    "inf": float("inf"),
    "array below": jnp.float32(-1),
    "array above": jnp.float32(1e9),
    "array nan": jnp.float32("nan"),
    "numpy below": np.float64(-1),
    "rank 1": jnp.ones(3),
    "rank 2": jnp.ones((2, 2)),
    "integers": jnp.arange(3),
    "no elements": jnp.zeros((0,)),
    "complex array": jnp.ones(3, jnp.complex64),
    "strings": np.array(["a", "b"]),
    "traced": TRACED,
    "function": lambda *args, **kwargs: 0.0,
    "lambda of one": lambda x: x,
    "class": dict,
    "object": object(),
    "transformation": optax.sgd(0.1),
    "factory": optix_tricks.adam,
}
# These may be right and not fit another argument, which may be the one that is named.
FIT = ("rank 1", "rank 2", "integers", "no elements", "whole", "far axis")
# A schedule may leave its range at a later step, where it is traced.
# The numbers of an array with axes are not looked at.
NOT_FINITE = ("nan", "inf", "array nan", "10**400", "lambda of one", "integers")


class Done(BaseException):
    """The call under test has been made; the rest of the example does not matter."""


class Hang(BaseException):
    """It took more CPU time than it may."""


class NoLegalCall(Exception):
    """The example does not come to a call of its own."""


def public():
    """Yield the name and the room of every public function and class."""
    found = set()
    for room in [optix_tricks.__name__, *rooms()]:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            tested = inspect.isfunction(value) or is_built(value)
            if not tested or not value.__module__.startswith("optix_tricks."):
                continue  # Of JAX, under the same name here.
            if f"{room}.{name}".removeprefix("optix_tricks.") in NOT_CALLED:
                continue
            if id(value) not in found:
                found.add(id(value))
                yield room, name


def rooms():
    for info in pkgutil.walk_packages(optix_tricks.__path__, "optix_tricks."):
        if info.ispkg and "._" not in info.name:
            yield info.name


def is_built(value):
    """Whether a class does something when it is made, beyond keeping its fields."""
    return (
        inspect.isclass(value)
        and not issubclass(value, (tuple, BaseException))
        and hasattr(vars(value).get("__init__"), "__wrapped__")
    )


class Subject:
    """A public function, called as its docstring's example calls it."""

    def __init__(self, room, name):
        self.room, self.name = room, name
        self.function = getattr(sys.modules[room], name)
        self.home = sys.modules[self.function.__module__]
        self.signature = inspect.signature(
            vars(self.function)["__init__"]
            if inspect.isclass(self.function)
            else self.function
        )
        names = [n for n in self.signature.parameters if n != "self"]
        self.parameters = [
            n for n in names if "VAR" not in self.signature.parameters[n].kind.name
        ]
        found = doctest.DocTestFinder(recurse=False).find(
            inspect.unwrap(self.function), name, self.home, globs={}
        )
        self.example = "".join(e.source for test in found for e in test.examples)
        short = str(self).removeprefix("optix_tricks.")
        if short in CALLS:
            self.example = TOY.format(root=str(ROOT)) + CALLS[short]
        self.usable = True

    def __str__(self):
        return f"{self.room}.{self.name}"

    def call(self, parameter, value):
        """Make the example's call with one argument exchanged; return what it gave."""
        outcome = []

        def probe(*args, **kwargs):
            bound = self.signature.bind(*self.own(args), **kwargs)
            free = {p.name: p for p in bound.signature.parameters.values()}
            given = dict(bound.arguments)
            if parameter is not None:
                given[parameter] = value
            place, named = [], {}
            for n, p in free.items():
                if n == "self" or n not in given:
                    continue
                if p.kind is p.VAR_POSITIONAL:
                    place += given[n]
                elif p.kind is p.VAR_KEYWORD:
                    named |= given[n]
                elif p.kind is p.POSITIONAL_ONLY or (
                    args and len(place) < len(args) and p.kind is not p.KEYWORD_ONLY
                ):
                    place.append(given[n])
                else:
                    named[n] = given[n]
            outcome.append(self.ended(place, named, parameter, value))
            raise Done

        patched = [(m, getattr(m, self.name, None)) for m in self.where()]
        globs = {**vars(self.home), "__name__": "example", self.name: probe}
        for module, _ in patched:
            setattr(module, self.name, probe)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(self.example, str(self), "exec"), globs)
        except Done:
            return outcome[0]
        except Exception as error:
            raise NoLegalCall(repr(error)) from error
        finally:
            for module, before in patched:
                setattr(module, self.name, before)
        raise NoLegalCall("nothing is called")

    def own(self, args):
        return (None, *args) if inspect.isclass(self.function) else args

    def where(self):
        return [
            m
            for m in {optix_tricks, sys.modules[self.room]}
            if getattr(m, self.name, None) is self.function
        ]

    def ended(self, place, named, parameter, value):
        """Return None if a call is fine, or its exception, or a word."""
        try:
            if value is TRACED:
                return traced(self.function, place, named, parameter, self.usable)
            result = self.function(*place, **named)
            return use(result) if self.usable else None
        except (Done, KeyboardInterrupt):
            raise
        except BaseException as error:
            return error


def traced(function, place, named, parameter, usable):
    """Make the call inside a trace, TRACED exchanged for a traced boolean."""
    errors = []

    def inside(flag):
        args = [flag if x is TRACED else x for x in place]
        kwargs = {n: flag if x is TRACED else x for n, x in named.items()}
        try:
            result = function(*args, **kwargs)
            if usable:
                use(result)
        except BaseException as error:
            errors.append(error)
        return 0

    jax.make_jaxpr(inside)(True)
    return errors[0] if errors else None


PARAMS = {"kernel": jnp.full((4, 3), 0.5), "bias": jnp.full(3, 0.25)}


def use(result):
    """Use what a function returned; say whether it holds a number that is none."""
    if callable(getattr(result, "update", None)) and hasattr(result, "init"):
        state = result.init(PARAMS)
        for _ in range(2):
            updates, state = result.update(PARAMS, state, PARAMS)
        result = updates
    for leaf in jax.tree.leaves(result):
        if isinstance(leaf, (jax.Array, np.ndarray, float)) and not isinstance(
            leaf, jax.core.Tracer
        ):
            kind = jnp.result_type(leaf) if not isinstance(leaf, float) else float
            if jnp.issubdtype(kind, jnp.floating) and bool(jnp.isnan(leaf).any()):
                return "NaN"
    return None


def judged(outcome, subject, parameter, word, value):
    """Return None if an outcome is allowed, or the kind of trouble."""
    if outcome is None:
        return None
    if isinstance(outcome, str):
        said = str(subject).removeprefix("optix_tricks.") in NAN
        return None if said or word in NOT_FINITE else "silent NaN"
    if isinstance(outcome, Hang):
        return "hang"
    if isinstance(outcome, NoLegalCall):
        return "no legal call"
    if isinstance(outcome, AssertionError) and "assert_" in subject.name:
        return None
    names = [parameter]
    if subject.signature.parameters[parameter].annotation is Arrays:
        names.append("parameters")
    if parameter.endswith("_mask"):
        names.append("mask")
    if word in FIT:
        names += subject.parameters
    named = any(re.search(rf"\b{re.escape(n)}\b", str(outcome)) for n in names)
    if is_of_caller(outcome, subject, value):
        return None
    if isinstance(outcome, OSError) and isinstance(value, (str, bytes)):
        return None
    own = type(outcome).__module__.startswith("optix_tricks.")
    if inspect.isfunction(value):  # as Python says whose call it is
        named |= f"{value.__qualname__}()" in str(outcome)
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        named |= own and str(outcome).startswith(tuple(value))
    if isinstance(value, str):  # which an error may quote
        named |= (str(Path(value)) if own else repr(value)) in str(outcome)
        named |= value != "" and value in str(outcome)
    if not isinstance(outcome, (TypeError, ValueError)) and not (own and named):
        return type(outcome).__name__
    return None if named else "not named"


NETWORKS = {"model", "norm", "apply"}  # which raise in flax on inputs that do not fit


def is_of_caller(error, subject, value):
    """Whether the value, or a function of the example itself, raised, called by ours."""
    if inspect.isfunction(value):
        made = inspect.unwrap(value)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            is_checked = frame.f_locals.get("function") is made  # by ours
            if frame.f_code is made.__code__ or is_checked:
                return True
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        place for place, frame in enumerate(frames) if "optix_tricks/" in frame.filename
    ]
    own = [str(subject), toy_runs.__file__]
    own += ["flax/nnx/nn/"] if NETWORKS & {*subject.parameters} else []
    theirs = [
        place
        for place, frame in enumerate(frames)
        if any(name in frame.filename for name in own)
    ]
    return bool(ours and theirs) and theirs[-1] > ours[0]


def called(subject, parameter, value, folder):
    """Make one call in a directory of its own, and return what came of it."""
    os.chdir(tempfile.mkdtemp(dir=folder))
    signal.setitimer(signal.ITIMER_PROF, LONG.get(str(subject), SECONDS))
    try:
        return subject.call(parameter, value)
    except (Hang, Exception) as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def on_hang(*_):
    raise Hang


def draw(calls, seed, subjects):
    """Return calls as (subject, parameter, word), all subjects before any twice."""
    rng = random.Random(seed)
    drawn = []
    while len(drawn) < calls:
        rng.shuffle(subjects)
        for subject in subjects:
            if subject.parameters:
                parameter = rng.choice(subject.parameters)
                drawn.append((subject, parameter, rng.choice([*WRONG])))
    return drawn[:calls]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, on_hang)
    subjects = [Subject(*names) for names in public()]
    subjects = [s for s in subjects if re.search(options.only, str(s))]
    began, trouble, seen = time.process_time(), [], set()
    took = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for subject, parameter, word in draw(options.calls, options.seed, subjects):
            start = time.process_time()
            value = WRONG[word]
            outcome = called(subject, parameter, value, folder)
            kind = judged(outcome, subject, parameter, word, value)
            if kind is not None and subject not in seen:
                seen.add(subject)
                legal = called(subject, None, None, folder)
                subject.usable = legal is None
                outcome = called(subject, parameter, value, folder)
                kind = judged(outcome, subject, parameter, word, value)
            took[subject] += time.process_time() - start
            if kind is not None:
                text = "" if isinstance(outcome, str) else str(outcome)[:200]
                trouble.append([kind, str(subject), parameter, word, text])
                if options.show:
                    print(trouble[-1], flush=True)
    report = {
        "calls": options.calls,
        "seconds": time.process_time() - began,
        "subjects": len(subjects),
        "slow": [[str(s), round(t, 1)] for s, t in took.most_common(12)],
        "kinds": collections.Counter(t[0] for t in trouble),
        "trouble": trouble,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

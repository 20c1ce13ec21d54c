"""Optax's own tests, from the installed wheel, with our functions in place of its own.

Each test module of Optax is loaded anew and sees Optax through a view in which the
functions that we have under the same name are ours. Optax itself is left as it is. A
test is selected if it, a helper of its module or its row of parameters names such a
function, and the row names no other optimiser of Optax's.
"""

import ast
import builtins
import contextlib
import functools
import inspect
import itertools
import textwrap
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import jax
import jaxtyping
import optax
import optax.contrib

import optix_tricks
from optix_tricks import losses, schedules

OPTAX = Path(optax.__file__).parent

SHARED: dict[str, tuple[Callable, Callable]] = {
    name: (getattr(theirs, name), getattr(ours, name))
    for ours, theirs in itertools.product(
        (optix_tricks, schedules, losses), (optax, optax.contrib)
    )
    for name in ours.__all__
    if callable(getattr(theirs, name, None))
}
"""Optax's function and ours, by the name they share."""

Bridge = Callable[[Callable], Callable]
"""From one of our functions to the one that a test calls in its place."""


class Use:
    """What the running test called of ours, and the bridge that lies between."""

    called: ClassVar[set[str]] = set()
    bridge: ClassVar[Bridge | None] = None


class View:
    """A module of Optax with our functions in it."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, types.ModuleType) and value.__name__.startswith("optax."):
            return View(value)
        return STAND_INS.get(id(value), value)


def stand_in(name: str, theirs: Callable, ours: Callable) -> Callable:
    """Ours, called as Optax's is, and noted."""
    names = inspect.signature(theirs).parameters
    signature = inspect.signature(ours)
    own = signature.parameters.values()

    @functools.wraps(ours)
    def call(*args: Any, **kwargs: Any) -> Any:
        Use.called.add(name)
        make = Use.bridge(ours) if Use.bridge else ours
        return make(*args, **kwargs)

    # Optax's tests read from its annotations whether a schedule may be given.
    call.__signature__ = signature.replace(
        parameters=[p.replace(annotation=names.get(p.name, p).annotation) for p in own]
    )
    call.shared_name = name
    return call


def stand_ins() -> dict[int, Callable]:
    """New ones: what a test has compiled of the old ones is called by no other."""
    return {id(pair[0]): stand_in(name, *pair) for name, pair in SHARED.items()}


STAND_INS = stand_ins()


class SkippedByOptax(Exception):
    """A test of Optax declined to run."""


class Outcome(unittest.TestResult):
    """Keeps what a test raised."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[BaseException] = []

    def addError(self, test: Any, err: Any) -> None:
        self.raised.append(err[1])

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.raised.append(err[1])

    def addSkip(self, test: Any, reason: str) -> None:
        self.raised.append(SkippedByOptax(reason))


class OptaxTest(NamedTuple):
    """One test of Optax, one row of its parameters."""

    id: str
    case: type[unittest.TestCase]
    method: str
    of_row: frozenset[str]  # our functions that the row names
    holds_ours: bool  # a transformation of ours was made when the row was

    def run(self, bridge: Bridge | None = None) -> None:
        """Run it, raise the first thing that it raises, and see that ours were used.

        Args:
          bridge: applied to our functions before they are called.
        """
        outcome = Outcome()
        use = mock.patch.multiple(Use, called=set(), bridge=bridge)
        with conditions(), use, mock.patch.dict(STAND_INS, stand_ins()):
            self.case(self.method).run(outcome)
            for error in outcome.raised:
                raise error
            used = Use.called & self.of_row if self.of_row else Use.called
            assert used or self.holds_ours


@contextlib.contextmanager
def conditions() -> Iterator[None]:
    """Optax's conditions in place of those of our own tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with (
            jax.numpy_rank_promotion("allow"),
            # Optax compares versions as strings, and would take 0.10 for older than 0.7.
            mock.patch.object(jax, "__version__", "1.0"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "'penalty' was deprecated", FutureWarning)
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
        jax.config.update("jax_enable_x64", False)


def load(path: Path) -> types.ModuleType:
    """Execute a test module of Optax with views for what it imports of Optax."""

    def import_views(name: str, *args: Any) -> Any:
        module = __import__(name, *args)
        return View(module) if module.__name__.split(".")[0] == "optax" else module

    module = types.ModuleType(".".join(path.relative_to(OPTAX).with_suffix("").parts))
    module.__dict__["__builtins__"] = vars(builtins) | {"__import__": import_views}
    module.__file__ = str(path)
    exec(compile(path.read_text(), path, "exec"), vars(module))
    return module


def select() -> list[OptaxTest]:
    """Every test of Optax that concerns a function of ours, by file."""
    made: dict[int, Any] = {}

    def remember(make: Callable) -> Callable:
        def remembered(*args: Any, **kwargs: Any) -> Any:
            x = make(*args, **kwargs)
            return made.setdefault(id(x), x)

        return remembered

    with (
        mock.patch.object(Use, "bridge", remember),
        mock.patch.dict("os.environ"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Specifying a key will be required in optax")
        modules = [load(path) for path in sorted(OPTAX.rglob("*_test.py"))]
    return [test for module in modules for test in _tests_in(module, made)]


def _tests_in(module: types.ModuleType, made: dict[int, Any]) -> Iterator[OptaxTest]:
    for case in vars(module).values():
        if not (isinstance(case, type) and issubclass(case, unittest.TestCase)):
            continue
        in_set_up = _mentioned(case.setUp)
        for method in unittest.TestLoader().getTestCaseNames(case):
            if hasattr(getattr(case, method), "__unittest_skip__"):
                continue  # switched off in Optax
            function, row = _function_and_row(getattr(case, method))
            values = list(row.values())
            optimisers = {
                value
                for key, value in row.items()
                if key.endswith("_name") and _is_of_optax(value)
            }
            of_row = optimisers | {v.shared_name for v in values if _is_stand_in(v)}
            holds_ours = any(id(value) in made for value in values)
            concerned = of_row or holds_ours or in_set_up or _mentioned(function)
            if concerned and of_row <= SHARED.keys():
                name = f"{module.__name__}.{case.__name__}.{method}"
                id_ = "-".join(filter(None, [name, *map(_word, values)]))
                yield OptaxTest(id_, case, method, frozenset(of_row), holds_ours)


def _function_and_row(method: Callable) -> tuple[Callable, dict[str, Any]]:
    """The test as written, and the row of parameters that absl bound to it."""
    bound = inspect.getclosurevars(method).nonlocals
    if "testcase_params" not in bound:
        return method, {}
    function, row = bound["test_method"], bound["testcase_params"]
    if isinstance(row, dict):
        return function, row
    row = row if isinstance(row, (tuple, list)) else [row]
    names = [*inspect.signature(function).parameters][1:]
    return function, dict(zip(names, row, strict=False))


@functools.cache
def _mentioned(function: Callable) -> set[str]:
    """Names of our functions in the body of a function and of its module's helpers."""
    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    found = set()
    for node in itertools.chain.from_iterable(map(ast.walk, body)):
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = _look_up(ast.unparse(node), function.__globals__)
            if _is_stand_in(value):
                found.add(value.shared_name)
            elif inspect.isfunction(value) and value.__globals__ is function.__globals__:
                found |= _mentioned(value)
    return found


def _look_up(dotted: str, scope: dict[str, Any]) -> Any:
    first, *rest = dotted.split(".")
    return functools.reduce(
        lambda x, name: getattr(x, name, None), rest, scope.get(first)
    )


def _is_of_optax(name: Any) -> bool:
    return any(hasattr(room, str(name)) for room in (optax, optax.contrib))


def _is_stand_in(value: Any) -> bool:
    return inspect.isfunction(value) and hasattr(value, "shared_name")


def _word(value: Any) -> str:
    """A parameter in a test's name; nothing where it has no short one."""
    if isinstance(value, dict):
        return ",".join(f"{k}={_word(v)}" for k, v in value.items())
    if isinstance(value, (str, int, float, type(None))):
        return str(value)
    return getattr(value, "__name__", "").strip("_")

"""What was read of compiled programs, kept by their text: compiling takes minutes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optix_tricks.ahead import Collective, Facts, compiled_facts

COMPILERS = ("jaxlib", "libtpu", "jax-cuda13-pjrt")


def kept_facts(text: str, target: str, compiled: Callable[[], Any]) -> Facts:
    """Return the facts of a program, from the last time where it is the same.

    They lie in `optix_tricks/compiled` in `$XDG_CACHE_HOME` or `~/.cache`, by the lowered
    program, the target, the versions of the compilers and this package's.

    Args:
      text: of the lowered program.
      target: for which it is compiled.
      compiled: compiles it.
    """
    said = [text, target, os.environ.get("XLA_FLAGS", ""), *map(_version, COMPILERS)]
    said.append(",".join(Facts._fields) + _version("optix_tricks"))
    name = hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    path = Path(home, "optix_tricks", "compiled", f"{name}.json")
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(path.read_text())
        collectives = tuple(Collective(*each) for each in kept.pop("collectives"))
        return Facts(**kept, collectives=collectives)
    facts = compiled_facts(compiled())
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(facts._asdict()))
        new.replace(path)
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"

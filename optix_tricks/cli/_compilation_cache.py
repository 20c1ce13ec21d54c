"""Compiled programs outlive the process, so that a second start takes seconds less."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

PLACE = "JAX_COMPILATION_CACHE_DIR"
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles, unless the user's settings say where or not to.

    The place is `optix_tricks/jax` in `$XDG_CACHE_HOME` or `~/.cache`.
    `JAX_COMPILATION_CACHE_DIR` names another, `JAX_ENABLE_COMPILATION_CACHE=0` none. The
    environment tells it, since most commands begin without JAX; a process that has
    imported it has decided for itself.
    """
    if PLACE not in os.environ and "jax" not in sys.modules:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        os.environ[PLACE] = str(Path(home, "optix_tricks", "jax"))
        os.environ[LEAST_SECONDS] = "0"


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Read no compiled program from the disk, to time how long compiling takes."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    def use_cache(on: bool) -> None:
        jax.config.update("jax_enable_compilation_cache", on)
        compilation_cache.reset_cache()  # JAX asks once whether to use it

    kept = jax.config.values["jax_enable_compilation_cache"]
    use_cache(False)
    try:
        yield
    finally:
        use_cache(kept)

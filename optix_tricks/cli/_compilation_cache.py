"""Compiled programs outlive the process, so that a second start takes seconds less."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles, unless the user's settings say where or not to.

    The place is `optix_tricks/jax` in `$XDG_CACHE_HOME` or `~/.cache`.
    `JAX_COMPILATION_CACHE_DIR` names another, `JAX_ENABLE_COMPILATION_CACHE=0` none.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        path = Path(home, "optix_tricks", "jax")
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Read no compiled program from the disk, to time how long compiling takes."""
    kept = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", kept)

"""Where compiled programs are kept."""

import os
import sys

import jax
import numpy as np

from optix_tricks.cli._compilation_cache import (
    LEAST_SECONDS,
    PLACE,
    compiling_anew,
    keep_compiled_programs,
)


def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(PLACE, "elsewhere")
    monkeypatch.setenv(LEAST_SECONDS, "1")
    monkeypatch.delitem(sys.modules, "jax")
    keep_compiled_programs()
    assert (os.environ[PLACE], os.environ[LEAST_SECONDS]) == ("elsewhere", "1")
    monkeypatch.delenv(PLACE)
    keep_compiled_programs()
    assert os.environ[PLACE] == str(tmp_path / "optix_tricks/jax")
    assert os.environ[LEAST_SECONDS] == "0"  # the smallest too
    monkeypatch.delenv(PLACE)
    monkeypatch.setitem(sys.modules, "jax", None)  # a process that has it decides itself
    keep_compiled_programs()
    assert PLACE not in os.environ


def test_what_is_timed_is_compiled_though_it_is_on_the_disk():
    """By JAX's own reports of what it read there."""
    seen = []

    def listen(name, **_):
        seen.append(name)

    def hits():
        jax.clear_caches()
        seen.clear()
        jax.jit(lambda x: x * 3.7 + 1)(np.ones(3, np.float32)).block_until_ready()
        return seen.count("/jax/compilation_cache/cache_hits")

    jax.monitoring.register_event_listener(listen)
    try:
        hits()  # which writes it
        assert hits() == 1
        with compiling_anew():
            assert hits() == 0
        assert hits() == 1
    finally:
        jax.monitoring.unregister_event_listener(listen)

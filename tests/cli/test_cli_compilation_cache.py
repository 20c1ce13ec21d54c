"""Where compiled programs are kept."""

import os
import sys

from optix_tricks.cli._compilation_cache import (
    LEAST_SECONDS,
    PLACE,
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

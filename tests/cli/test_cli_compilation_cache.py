"""Where compiled programs are kept."""

import jax

from optix_tricks.cli._compilation_cache import keep_compiled_programs


def test_compiled_programs_are_kept_unless_told_otherwise(tmp_path, monkeypatch):
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        jax.config.update(names[0], "elsewhere")
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
        jax.config.update(names[0], None)
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "optix_tricks/jax")
        assert getattr(jax.config, names[1]) == 0  # the smallest too
    finally:
        for name, value in before.items():
            jax.config.update(name, value)

"""Marks for tests of compilers that not every machine has."""

import importlib.util

import pytest

HOW = "is not installed: pip install 'optix_tricks[compile]'"
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason=f"libtpu {HOW}"
)
needs_cuda = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda13_plugin") is None,
    reason=f"JAX's plug-in for CUDA {HOW}",
)

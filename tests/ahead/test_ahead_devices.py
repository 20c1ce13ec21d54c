"""Targets by name, and what is said where one is unknown or its compiler absent."""

import pytest
from jax.experimental import topologies

from optix_tricks.ahead import compile_only_devices
from tests.ahead.installed import needs_cuda, needs_libtpu


@pytest.mark.parametrize("target", ["", "a100", "h100:0", "h100:2x2", "v5e:x"])
def test_an_unknown_target_is_one_sentence(target):
    with pytest.raises(ValueError, match=r"^target must be h100, .*got '.*'\.$"):
        compile_only_devices(target)


@pytest.mark.parametrize(
    ("target", "error", "what"),
    [
        ("h100", NotImplementedError("topology not implemented for cuda"), "JAX's plug"),
        ("v5e:4x4", RuntimeError("JAX TPU support not installed; see"), "libtpu, which"),
    ],
)
def test_an_absent_compiler_is_one_sentence_with_the_way(
    monkeypatch, target, error, what
):
    def absent(*arguments, **options):
        raise error

    monkeypatch.setattr(topologies, "get_topology_desc", absent)
    with pytest.raises(RuntimeError) as caught:
        compile_only_devices(target)
    assert str(caught.value).startswith(what)
    assert str(caught.value).endswith(": pip install 'optix_tricks[compile]'.")


@needs_libtpu
def test_tpus_have_their_topology():
    assert len(compile_only_devices("v5e")) == 1
    devices = compile_only_devices("v5e:4x4")
    assert [device.platform for device in devices] == ["tpu"] * 16
    with pytest.raises(ValueError, match=r"topology that libtpu knows.*'v5e:2x7'"):
        compile_only_devices("v5e:2x7")


@needs_cuda
def test_gpus_have_their_number():
    devices = compile_only_devices("h100:8")
    assert [device.device_kind for device in devices] == ["NVIDIA H100 80GB HBM3"] * 8

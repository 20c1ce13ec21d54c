"""Which layers are found scale-invariant."""

from tests.studies.toy_study import paths


def test_all_convolutions_and_nothing_else_are_found_invariant(job, invariant):
    kernels = [name for name in paths(job.params) if name.endswith("conv/kernel")]
    assert len(kernels) == 8
    assert sorted(invariant.names) == sorted(kernels)

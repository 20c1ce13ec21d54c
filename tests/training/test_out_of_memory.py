"""XLA's error of a full device becomes one sentence; others stay what they are."""

import jax
import pytest

from optix_tricks.training import RunError
from optix_tricks.training._out_of_memory import memory_explained

FULL = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 137438953472 bytes."


def test_it_names_the_ways_out():
    with pytest.raises(RunError) as caught, memory_explained(512):
        raise jax.errors.JaxRuntimeError(FULL)
    sentence = str(caught.value)
    for way in ("512 examples", "accumulation", "remat", "packed", "--layout fsdp"):
        assert way in sentence
    assert "\n" not in sentence


def test_other_errors_pass():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory_explained(1):
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault")


def test_a_run_that_does_not_fit_says_so(tmp_path, monkeypatch):
    from optix_tricks.training import _feeds as feeds
    from optix_tricks.training import train
    from tests.training.toy_runs import linear_job, start, toy_dataset

    def full(*arguments, **options):
        raise jax.errors.JaxRuntimeError(FULL)

    monkeypatch.setattr(feeds, "epoch_of", lambda step: full)
    with start(tmp_path / "run") as run, pytest.raises(RunError, match="does not hold"):
        train(linear_job(epochs=1), toy_dataset(), run)

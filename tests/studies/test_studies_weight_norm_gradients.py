"""Gradients of batches of many sizes, at one point."""

import numpy as np
import pytest

from optix_tricks.studies import run_study
from optix_tricks.training import RunDirectory
from tests.studies.toy_study import TOY


@pytest.mark.further
def test_gradients_shrink_as_noise_does(tmp_path, digits):
    told = []
    with RunDirectory(tmp_path) as run:
        found = run_study(
            TOY, digits, run, parts=["gradients"], on_step=lambda *at: told.append(at)
        )["gradients"]
    # 22 steps of an epoch, and eight batches of each of six sizes.
    assert told == [("gradients", i, 70) for i in range(70)]
    sizes = np.array(found["batch_sizes"])
    squares, errors = (np.array(found[x]) for x in ("square_norm", "standard_error"))
    assert sizes.tolist() == [32, 64, 128, 256, 512, 1024]
    assert (np.diff(squares) < 0).all()
    law = found["signal"] + found["noise"] / sizes
    assert (np.abs(squares - law) < 4 * errors).all()
    # Twice the batch, half the noise: from 32 to 64 images the signal drops out.
    assert squares[0] - squares[1] == pytest.approx(
        found["noise"] / 64, abs=4 * np.hypot(errors[0], errors[1])
    )

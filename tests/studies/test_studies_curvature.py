"""The curvature where a run stands, of a quadratic that is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.studies import measure_curvature
from tests.studies.quadratics import H, quadratic

START = {"kernel": np.full((3, 4), 2.0, np.float32)}


def weighed(signs):
    """Half the square of each output, some of them taken away."""
    return lambda logits, labels: jnp.sum(jnp.asarray(signs)[None] * logits**2, -1) / 2


def test_of_a_valley(make_run):
    path, _ = make_run(quadratic, START)
    told = []
    text = measure_curvature(path, images=300, on_step=lambda *at: told.append(at))
    head, *_, stable, below, figure = text.splitlines()
    assert head == f"{path} after epoch 3, loss of 300 training images"
    assert stable == "gradient descent is stable up to the rate 0.5"  # 2 / 4
    assert below.startswith("0.0% of the eigenvalues lie below -")
    assert figure == f"Drawn in {path / 'figures' / 'spectrum.png'}"
    assert (path / "figures" / "spectrum.png").stat().st_size > 5_000
    # A gradient, thirty products and two more; thirty of each of four probes.
    assert {total for _, total in told} == {153}
    done = [count for count, _ in told]
    assert done == sorted(done)
    assert done[0] == 1
    assert done[-1] <= 153


def test_of_a_saddle_and_of_all_images(make_run):
    signs = np.where(np.arange(12) < 3, -1.0, 0.125).astype(np.float32)
    path, _ = make_run(quadratic, START, weighed(signs))
    text = measure_curvature(path)
    assert "loss of 320 training images" in text
    assert "saddle" in text
    assert "stable up to the rate 4\n" in text  # 2 / 0.5, of H[-1] / 8
    below = next(line for line in text.splitlines() if "of the eigenvalues" in line)
    share = float(below.partition("%")[0])
    assert share == pytest.approx(25, abs=8)  # 3 of 12, by four probes
    assert H[-1] * signs[-1] == 0.5


def test_of_a_hill_and_without_images(make_run):
    path, _ = make_run(quadratic, START, weighed(-np.ones(12, np.float32)))
    text = measure_curvature(path, images=1)
    assert "loss of 1 training images" in text
    assert "no positive curvature was found" in text
    assert "100.0% of the eigenvalues lie below" in text
    with pytest.raises(ValueError, match="images must be at least 1, got 0"):
        measure_curvature(path, images=0)

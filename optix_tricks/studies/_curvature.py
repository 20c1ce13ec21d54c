"""The loss surface where a run stands: is it a critical point, and how sharp is it?"""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks._files import own_directory
from optix_tricks._tree import PyTree
from optix_tricks.dynamics import (
    classify_critical_point,
    hessian_operator,
    spectral_density,
)
from optix_tricks.reports import plot_spectral_density
from optix_tricks.reports._save import save_figure
from optix_tricks.runs._restored import restore_run
from optix_tricks.training import Batch
from optix_tricks.training._dataset import PathLike
from optix_tricks.training._run_directory import explained

MATVECS = 30
PROBES = 4
CHUNK = 256  # images
SEED = 0  # of random starts
DPI = 110


@dataclasses.dataclass
class _Counted:
    """Batches to be read again for each product; tells how often that was."""

    batches: list[Batch]
    tell: Callable[[int], None]
    readings: int = 0

    def __iter__(self) -> Iterator[Batch]:
        yield from self.batches
        self.readings += 1
        self.tell(self.readings)


def measure_curvature(
    path: PathLike,
    *,
    images: int = 512,
    data_dir: PathLike | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Measure the curvature of the training loss at a run's newest checkpoint.

    The loss is the mean over the first images of the training set, as they are, without
    a penalty on the weights, in float32 whatever the run computed in, and with batch
    statistics frozen at the run's averages: a sum over examples, so that chunks add up.
    Costs 153 passes over the images, nearly all
    of them Hessian products of two to three gradients; some 40 more where curvature
    leaves open what the point is.

    Args:
        path: The directory of a run with a checkpoint; figures/spectrum.png goes there.
        images: How many of the training set.
        data_dir: Where the data are, if not where they were.
        on_step: Called after each pass with how many are done of how many.

    Returns:
        The verdict on the point with its evidence, the largest stable rate of gradient
        descent, 2 / λ_max, the share of negative eigenvalues, and where the figure is.

    Raises:
        ReportError: If `path` is not a run's directory.
        RunError: If the run's recipe or settings are unknown to this version.
        CheckpointError: If it has no checkpoint, or one of another model.
        ValueError: If `images` is not positive.
    """
    check_count("images", images, minimum=1)
    restored = restore_run(path, data_dir=data_dir)
    run, _, dataset, _, state, epoch = restored
    job = restored.in_float32()
    figure = run.path / "figures" / "spectrum.png"
    with explained(run.path):
        own_directory(figure.parent)  # a directory that is read only fails early
    x, y = (
        jnp.asarray(a[:images]) for a in (dataset.train.inputs, dataset.train.targets)
    )
    starts = range(0, len(y), CHUNK)
    passes = 1 + MATVECS + 2 + PROBES * MATVECS
    batches = _Counted(
        [Batch(x[i : i + CHUNK], y[i : i + CHUNK]) for i in starts],
        lambda done: on_step(min(done, passes), passes),
    )

    def loss(params: PyTree, batch: Batch) -> Array:
        logits, _ = job.apply(params, state.batch_stats, batch.inputs, train=False)
        return jnp.mean(job.loss(logits, batch.targets))

    point_key, spectrum_key = jax.random.split(jax.random.key(SEED))
    point = classify_critical_point(
        loss, state.params, batches=batches, num_matvecs=MATVECS, key=point_key
    )
    spectrum = spectral_density(
        hessian_operator(loss, state.params, batches=batches),
        state.params,
        num_matvecs=MATVECS,
        num_probes=PROBES,
        key=spectrum_key,
    )
    shares = np.asarray(spectrum.weights) / PROBES
    sharpest = float(point.lambda_max)
    stable = (
        f"gradient descent is stable up to the rate {2 / sharpest:.3g}"
        if sharpest > 0
        else "no positive curvature was found: nothing limits the rate here"
    )
    below = np.asarray(spectrum.values) < -float(spectrum.width)
    with explained(run.path):
        save_figure(plot_spectral_density(spectrum), figure, dpi=DPI)
    return (
        f"{run.path} after epoch {epoch}, loss of {len(y):,} training images\n"
        f"{point.describe()}\n"
        f"{stable}\n"
        f"{np.sum(shares[below]):.1%} of the eigenvalues lie below "
        f"{-float(spectrum.width):.2g}\n"
        f"Drawn in {figure}"
    )

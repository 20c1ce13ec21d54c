"""A run's weight norms as arrays, held against the equilibrium."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from optix_tricks._paths import named_leaves
from optix_tricks.dynamics.norms._autocorrelation import standard_error_of_mean
from optix_tricks.dynamics.norms._corrected_equilibrium import corrected_equilibrium
from optix_tricks.dynamics.norms._norm_dynamics import WeightNorms


class WeightNormRecord(NamedTuple):
    """Samples of a run; NumPy arrays, as `numpy.savez(path, **record._asdict())` saves.

    The fields from `square_norm` on are those of `WeightNorms`, [samples, layers].
    """

    layers: Any  # names, [layers]
    step: Any  # int [samples], counted from 0
    learning_rate: Any  # [samples]
    weight_decay: Any  # []
    momentum: Any  # [], of the optimiser
    decay: Any  # [], of the running sum of gradients
    square_norm: Any
    change: Any
    shrink: Any
    growth: Any
    relative_update: Any
    rotation: Any
    weight_cosine: Any
    gradient_square: Any
    trace_cosine: Any
    trace_product: Any


def weight_norm_record(
    samples: WeightNorms | Sequence[WeightNorms],
    *,
    steps: ArrayLike | Sequence[int],
    learning_rate: ArrayLike | Sequence[float],
    weight_decay: float,
    momentum: float = 0.0,
    decay: float = 0.9,
) -> WeightNormRecord:
    """Gather the samples of a run as arrays of steps and layers.

        record.square_norm[i, l] = |w_l|² at steps[i]

    Helps to save, draw and compare a run; `WeightNormRecord(**numpy.load(path))` reads
    it back. Does little for one step: look at the sample. Cost: a copy to the host.

    Args:
        samples: one a step that was measured: a sequence, or stacked as `lax.scan` stacks
            them.
        steps: their numbers, counted from 0.
        learning_rate: η at these steps, or one number.
        weight_decay: λ.
        momentum: ρ.
        decay: β of `observe_weight_norms`.

    Returns:
        The record; masked layers are left out.

    Raises:
        ValueError: if the numbers of steps and samples differ.

    Examples:
        >>> from optix_tricks.dynamics import weight_norms
        >>> w, g = {"conv": jnp.array([3.0, 4.0])}, {"conv": jnp.array([-4.0, 3.0])}
        >>> options = dict(learning_rate=0.1, weight_decay=0.2)
        >>> sample = weight_norms(w, g, updates={"conv": -0.1 * g["conv"]}, **options)
        >>> record = weight_norm_record([sample, sample], steps=[0, 16], **options)
        >>> print(record.layers, record.square_norm.shape)
        ['conv'] (2, 1)

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, for what is recorded.
    """
    stacked: WeightNorms = (
        samples
        if isinstance(samples, WeightNorms)
        else jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *samples)
    )
    numbers = np.asarray(steps)
    columns = {
        name: np.stack([np.asarray(x) for x in jax.tree.leaves(tree)], axis=-1)
        for name, tree in stacked._asdict().items()
    }
    if numbers.shape != columns["change"].shape[:1]:
        raise ValueError(
            f"steps must be {len(columns['change'])} numbers, one a sample, got shape "
            f"{list(numbers.shape)}."
        )
    return WeightNormRecord(
        layers=np.array([leaf.name for leaf in named_leaves(stacked.square_norm)]),
        step=numbers,
        learning_rate=np.broadcast_to(np.asarray(learning_rate, float), numbers.shape),
        weight_decay=np.asarray(weight_decay, float),
        momentum=np.asarray(momentum, float),
        decay=np.asarray(decay, float),
        **columns,
    )


MOST_PULL = 0.1  # moves the law's relative update by 5 %


class EquilibriumComparison(NamedTuple):
    """Root mean squares of η|g|/|w| over a stretch of a run, by layer."""

    layers: Any  # names
    measured: Float[Array, " layers"]
    predicted: Float[Array, " layers"]  # by `equilibrium`
    corrected: Float[Array, " layers"]  # by `corrected_equilibrium`
    standard_error: Float[Array, " layers"]  # of measured / corrected
    autocorrelation: Float[Array, " layers"]  # S
    drift: Float[Array, " layers"]  # δ, relative change of |w|² per step
    pull: Float[Array, " layers"]  # g·w / (λ|w|²), along the weights; 0 if invariant
    invariant: Bool[Array, " layers"]  # |pull| <= 0.1; the law is not about the others


def compare_equilibrium(
    kind: str, record: WeightNormRecord, *, start: int = 0, stop: int | None = None
) -> EquilibriumComparison:
    """Hold the relative updates of a run against what rate and decay predict.

        measured² = Σ η²|g|² / Σ|w|²,    in the predictions ηλ → λ Σ η|w|² / Σ|w|²
        S = ρ Σ η² g_t·v_{t-1} / Σ η²|g|²,    δ = (last |w|² - first) / Σ|w|² per step
        pull = Σ η g·w / (λ Σ η|w|²)

    with the sums over the samples of steps in [start, stop). Weighted in this way the
    balance of norms holds for schedules, too, as long as they are slow against
    1/(1-ρ) steps. The standard error is that of the sums over the sampled batches; where
    measured / corrected is off 1 by more than a few of them in an `invariant` layer, the
    kind, the rate or the decay is another than was said. In the others the gradient pulls
    along the weights as decay does, and all predictions are beside the point.

    Helps to answer whether a layer obeys weight decay's law, and if not why: not there
    yet (`drift`), correlated gradients (`autocorrelation`), or not scale-invariant. Does
    little before the relaxation time has passed a few times. Cost: sums over the record.

    Args:
        kind: "sgd", "heavy_ball", "nesterov" or "sgdw".
        record: with `decay` equal to `momentum`, if that is not 0.
        start: first step.
        stop: end of the steps, exclusive; None: the last.

    Returns:
        Numbers by layer; twenty samples are the fewest with a standard error.

    Raises:
        ValueError: if fewer than two samples are left, or the record's `decay` is not its
            `momentum`.

    Examples:
        >>> from optix_tricks.dynamics import weight_norms
        >>> w, g = {"conv": jnp.array([3.0, 4.0])}, {"conv": jnp.array([-5.64, 4.23])}
        >>> options = dict(learning_rate=0.1, weight_decay=0.1)
        >>> sample = weight_norms(w, g, updates={"conv": 0 * g["conv"]}, **options)
        >>> record = weight_norm_record([sample] * 40, steps=range(40), **options)
        >>> found = compare_equilibrium("sgd", record)
        >>> print(f"{found.measured[0]:.4f} {found.predicted[0]:.4f}", found.invariant)
        0.1410 0.1411 [ True]

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, equations 3 to 9.
    """
    steps = np.asarray(record.step)
    taken = (steps >= start) & (steps < (np.inf if stop is None else stop))
    if np.sum(taken) < 2:
        raise ValueError(
            f"start and stop must leave at least two samples, got {int(np.sum(taken))} "
            f"from {start} to {stop}."
        )
    r, beta = float(record.momentum), float(record.decay)
    if r not in (0.0, beta):
        raise ValueError(
            f"record must have decay equal to momentum, {r}, got {beta}: give both to "
            "observe_weight_norms."
        )
    eta = np.asarray(record.learning_rate, float)[taken, None]
    square, g_square, product = (
        np.asarray(x, float)[taken]
        for x in (record.square_norm, record.gradient_square, record.trace_product)
    )
    if r == 0:
        product = np.zeros_like(product)
    weights = square.mean(0)
    rate = (eta * square).mean(0) / weights  # η, averaged as decay sees it
    s = r * (eta**2 * product).mean(0) / (eta**2 * g_square).mean(0)
    span = steps[taken][-1] - steps[taken][0]
    drift = (square[-1] - square[0]) / (span * weights)
    options: dict[str, Any] = {
        "learning_rate": jnp.asarray(rate),
        "weight_decay": float(record.weight_decay),
        "momentum": r,
    }
    predicted = corrected_equilibrium(kind, **options).relative_update
    corrected = corrected_equilibrium(
        kind, autocorrelation=jnp.asarray(s), drift=jnp.asarray(drift), **options
    ).relative_update
    by_gradient = eta**2 * (g_square + 2 * r * (r if kind == "nesterov" else 1) * product)
    error = standard_error_of_mean(jnp.asarray(by_gradient / by_gradient.mean(0))) / 2
    measured = jnp.asarray(np.sqrt((eta**2 * g_square).mean(0) / weights))
    cosine = np.nan_to_num(np.asarray(record.weight_cosine, float)[taken])  # NaN at 0
    along = (eta * cosine * np.sqrt(g_square * square)).mean(0)
    pull = along / (float(record.weight_decay) * rate * weights)
    return EquilibriumComparison(
        record.layers,
        measured,
        predicted,
        corrected,
        measured / corrected * error,
        jnp.asarray(s),
        jnp.asarray(drift),
        jnp.asarray(pull),
        jnp.asarray(np.abs(pull) <= MOST_PULL),
    )

"""The balance of decay and gradients where these are correlated from step to step."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_number
from optix_tricks.dynamics.norms._equilibrium import (
    BY_GRADIENT,
    BY_SIGN,
    check_equilibrium,
    relative_update_square,
)


class CorrectedEquilibrium(NamedTuple):
    """Root mean squares over a stretch of a run, per layer."""

    relative_update: Float[Array, "..."]  # η|g|/|w|
    rotation: Float[Array, "..."]  # |w_{t+1} - w_t|/|w_t|, radians


def corrected_equilibrium(
    kind: str,
    *,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike,
    momentum: ArrayLike = 0.0,
    autocorrelation: ArrayLike = 0.0,
    drift: ArrayLike = 0.0,
) -> CorrectedEquilibrium:
    """Predict the relative update where gradients agree, or oppose, from step to step.

        "heavy_ball"   (η|g|/|w|)² = (1-ρ) (2ηλ + (1-ρ)δ) / (1 + 2S)
        "nesterov"     (η|g|/|w|)² = (1-ρ) (2ηλ + (1-ρ)δ) / (1 + 2ρS)
        "sgdw"         (η|g|/|w|)² = (1-ρ)² (2ηλ + δ) / (1 + 2S)
        S = Σ_{k≥1} ρ^k R_k = ρ E[g_t·v_{t-1}] / E|g|²,    R_k = E[g_t·g_{t-k}] / E|g|²
        v_t = ρ v_{t-1} + g_t,    δ = (mean change of |w|² per step) / (mean of |w|²)

    and with the terms of order (ηλ)² of `equilibrium`, which this is at S = δ = 0.
    Momentum steps along gradients that are no longer orthogonal to the weights; how much
    they then lengthen them depends on the later gradients alone, through S. Batches that
    undo each other's steps (S < 0) leave shorter weights and longer relative updates.
    The rotation of heavy ball and of SGDW does not depend on S at all. Nothing is assumed
    of the gradients but g·w = 0; terms of order ηλ S/(1-ρ) are left out.

    Helps where the measured relative update is off `equilibrium`'s, to tell correlated
    gradients (S) from norms still on their way (δ). Does little without momentum, where
    S = 0 whatever the correlations. Cost: free; `observe_weight_norms` measures S and δ
    at the price of one running average.

    Args:
        kind: "sgd", "heavy_ball", "nesterov" or "sgdw".
        learning_rate: η > 0.
        weight_decay: λ > 0.
        momentum: ρ in [0, 1).
        autocorrelation: S > -1/2, a number or an array [layers]; of no effect on "sgd",
            where ρ = 0.
        drift: δ, as S.

    Returns:
        The prediction; NaN where S or δ leaves no solution.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> options = dict(learning_rate=0.2, weight_decay=5e-4, momentum=0.9)
        >>> for s in (0.0, -0.18):
        ...     found = corrected_equilibrium("heavy_ball", autocorrelation=s, **options)
        ...     print(f"{found.relative_update:.5f} {found.rotation:.5f}")
        0.00447 0.01026
        0.00559 0.01026

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, with the balance of
    norms solved for correlated gradients.
    """
    if kind in BY_SIGN:
        raise ValueError(
            f"kind must be one of {BY_GRADIENT}, got {kind!r}: its steps do not follow "
            "the gradient's length."
        )
    check_equilibrium(kind, learning_rate, weight_decay, momentum)
    check_number("drift", drift)
    check_number("autocorrelation", autocorrelation)
    if isinstance(autocorrelation, (int, float)) and autocorrelation <= -0.5:
        raise ValueError(
            f"autocorrelation must be above -1/2, got {autocorrelation!r}: no gradients "
            "have less."
        )
    s, change = jnp.asarray(autocorrelation), jnp.asarray(drift)
    if kind == "sgd":
        s = jnp.zeros_like(s)
    rate: Any = learning_rate * jnp.asarray(weight_decay)
    r: Any = momentum
    relative = relative_update_square(kind, rate, r, autocorrelation=s, drift=change)
    if kind == "nesterov":
        turned = relative * (1 + 2 * r + 2 * r * s + r**2 * (1 + 2 * s) / (1 - r**2))
    elif kind == "sgdw":
        turned = (2 * rate + change) * (1 - r) / (1 + r)
    else:
        turned = (2 * rate + (1 - r) * change) / (1 + r)
    return CorrectedEquilibrium(
        *jnp.broadcast_arrays(jnp.sqrt(relative), jnp.sqrt(turned))
    )

"""Where weight decay and gradients balance in layers that a normalisation follows."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike

from optix_tricks._checks import check_decay, check_positive
from optix_tricks.transforms import equilibrium_rotation

BY_GRADIENT = ("sgd", "heavy_ball", "nesterov", "sgdw")
BY_SIGN = ("adamw", "lion")  # the step's length does not follow the gradient's
KINDS = (*BY_GRADIENT, *BY_SIGN)


class Equilibrium(NamedTuple):
    """What a scale-invariant layer tends to; all per step, in root mean square."""

    relative_update: ArrayLike  # η|g|/|w|; NaN for "adamw" and "lion"
    first_order: ArrayLike  # the same to leading order in ηλ
    rotation: ArrayLike  # |w_{t+1} - w_t|/|w_t|, radians
    relaxation_steps: ArrayLike  # in which what is missing falls to 1/e


def equilibrium(
    kind: str,
    *,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike,
    momentum: ArrayLike = 0.0,
    b2: ArrayLike = 0.99,
) -> Equilibrium:
    """Predict relative update, rotation and relaxation time of scale-invariant layers.

        "sgd"          η|g|/|w| = sqrt(2ηλ - η²λ²)                        (1-ρ)/(4ηλ)
        "heavy_ball"   η|g|/|w| = sqrt(2ηλ(1-ρ) (1 - ηλ/(2(1+ρ))))        (1-ρ)/(4ηλ)
        "nesterov"     η|g|/|w| = sqrt(2ηλ(1-ρ))                          (1-ρ)/(4ηλ)
        "sgdw"         η|g|/|w| = sqrt(2ηλ)(1-ρ)                          1/(4ηλ)
        "adamw"        |Δw|/|w| = sqrt(2ηλ (1-β1)/(1+β1))                 1/(2ηλ)
        "lion"         |Δw|/|w| = sqrt(πηλ ((1-β1)² + β1²(1-β2)/(1+β2)))  1/(2ηλ)

    The loss does not change with such a layer's length: its gradient is orthogonal to
    its weights and lengthens them, decay shortens them, and where both are equal only η
    and λ are left, whatever the network. The last column is the time in steps in which
    |w|⁴ (for "adamw" and "lion" |w|²) comes 1 - 1/e of the way. Gradients are taken as
    noise, independent from step to step; `corrected_equilibrium` does without that.
    "sgd" and "heavy_ball" are exact then, the others hold to leading order in ηλ ("lion"
    within 4 % at 1e-3); `relative_update` of "sgdw" has its exact value, too. Rotations
    of the first five are those of `equilibrium_rotation`.

    Helps to tell what a rate and a decay mean: their product is the step's length, and
    their relaxation time the memory of the initial norm. Does little for layers without
    a norm behind them (`scale_invariance` tells them apart), and for schedules that are
    faster than the relaxation. Cost: free.

    Args:
        kind: one of the six; decay goes through the momentum in "sgd", "heavy_ball" and
            "nesterov" (`add_decayed_weights` before it), beside it in the others.
        learning_rate: η > 0; an array [steps] gives arrays.
        weight_decay: λ > 0.
        momentum: ρ in [0, 1), or β1 of "adamw" and "lion"; "sgd" has none.
        b2: β2 of "lion"; no other kind depends on it.

    Returns:
        Python numbers for numbers, arrays for arrays.

    Raises:
        ValueError: if an argument is out of range, or `kind` has no equilibrium: with
            Adam and L2 regularisation it depends on each layer's gradients.

    Examples:
        >>> found = equilibrium(
        ...     "heavy_ball", learning_rate=0.4, weight_decay=5e-4, momentum=0.9
        ... )
        >>> print(f"{found.relative_update:.5f} {found.rotation:.5f}")
        0.00632 0.01451
        >>> print(f"{found.relaxation_steps:.0f} steps")
        125 steps

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019, for "sgd" and
    "heavy_ball"; "Rotational Equilibrium: How Weight Decay Balances Learning Across
    Neural Networks", Kosson, Messmer and Jaggi, 2024, for "sgdw", "adamw" and "lion".
    """
    check_equilibrium(kind, learning_rate, weight_decay, momentum)
    check_decay("b2", b2)
    eta, decay, r, b = map(_plain, (learning_rate, weight_decay, momentum, b2))
    rate = eta * decay  # ηλ
    if kind in BY_GRADIENT:
        relative = relative_update_square(kind, rate, r) ** 0.5
        first = (2 * rate) ** 0.5 * ((1 - r) if kind == "sgdw" else (1 - r) ** 0.5)
        relaxation = (1 if kind == "sgdw" else 1 - r) / (4 * rate)
    else:
        relative = first = rate * float("nan")
        relaxation = 1 / (2 * rate)
    if kind == "lion":
        spread = (1 - r) ** 2 + r**2 * (1 - b) / (1 + b)  # of what the sign is taken of
        rotation = (math.pi * rate * spread) ** 0.5
    else:
        rotation = equilibrium_rotation(kind, eta, decay, momentum=r)
    return Equilibrium(relative, first, rotation, relaxation)


def equilibrium_norm(
    kind: str,
    *,
    learning_rate: ArrayLike,
    weight_decay: ArrayLike,
    momentum: ArrayLike = 0.0,
    b2: ArrayLike = 0.99,
    gradient_scale: ArrayLike | None = None,
    size: int | None = None,
) -> ArrayLike:
    """Predict the norm that a scale-invariant layer tends to.

        |w| = sqrt(η |g||w| / relative_update)             "sgd" to "sgdw"
        |w| = sqrt(ηD/(2λ))                                "adamw"
        |w| = η sqrt(D) / rotation                         "lion"

    |g||w| is the same at any length of a scale-invariant layer, so that one measured
    anywhere tells where the length goes; for heavy ball the first line is
    (η (|g||w|)² / (2λ(1-ρ)))^(1/4). D is the layer's number of weights, for steps that
    are as long in each of them.

    Helps to start layers at their equilibrium, and to see how far from it they are. Does
    little where |g||w| itself changes by orders of magnitude, as it does while the loss
    falls. Cost: free.

    Args:
        kind: as in `equilibrium`.
        learning_rate: η > 0.
        weight_decay: λ > 0.
        momentum: ρ or β1 in [0, 1).
        b2: β2 of "lion".
        gradient_scale: |g||w|, in root mean square; of "sgd", "heavy_ball", "nesterov"
            and "sgdw".
        size: D; of "adamw" and "lion".

    Returns:
        |w|, in the units of the weights.

    Raises:
        ValueError: if an argument is out of range, or what the kind needs is not given.

    Examples:
        >>> norm = equilibrium_norm(
        ...     "adamw", learning_rate=0.001, weight_decay=0.05, momentum=0.9, size=10_000
        ... )
        >>> print(f"{norm:.1f}")
        10.0

    Source: "Rotational Equilibrium: How Weight Decay Balances Learning Across Neural
    Networks", Kosson, Messmer and Jaggi, 2024, section 3.
    """
    found = equilibrium(
        kind,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        momentum=momentum,
        b2=b2,
    )
    eta, r = _plain(learning_rate), _plain(momentum)
    if kind in BY_GRADIENT:
        if gradient_scale is None:
            raise ValueError(f"gradient_scale must be given for {kind!r}, got None.")
        check_positive("gradient_scale", gradient_scale)
        return (eta * _plain(gradient_scale) / found.relative_update) ** 0.5
    if size is None:
        raise ValueError(f"size must be given for {kind!r}, got None.")
    check_positive("size", size)
    length = 1.0 if kind == "lion" else ((1 - r) / (1 + r)) ** 0.5  # of a step, per √D
    return eta * size**0.5 * length / found.rotation


def _plain(x: ArrayLike) -> Any:
    """Python numbers as they are, the rest as JAX arrays."""
    return x if isinstance(x, (int, float)) else jnp.asarray(x)


def relative_update_square(
    kind: str, rate: Any, r: Any, *, autocorrelation: Any = 0.0, drift: Any = 0.0
) -> Any:
    """(η|g|/|w|)² from ηλ and ρ, and S and δ of `corrected_equilibrium`."""
    s = autocorrelation
    if kind == "sgdw":
        q = r * (1 - rate)
        share = (1 - r**2) * (1 - q) / (1 + q)
        return (rate * (2 - rate) + drift) * share / (1 + 2 * s)
    balance = (1 - r) * (2 * rate + (1 - r) * drift)
    if kind == "nesterov":
        return balance / (1 + 2 * r * s)
    return balance * (1 - rate / (2 * (1 + r))) / (1 + 2 * s)


def check_equilibrium(
    kind: str, learning_rate: Any, weight_decay: Any, momentum: Any
) -> None:
    """Raise unless the kind has an equilibrium and the numbers are in range."""
    if kind in ("adam", "adam_l2"):
        raise ValueError(
            f"kind must be one of {KINDS}, got {kind!r}: with L2 regularisation inside "
            "Adam the equilibrium has no fixed value, it depends on each layer's "
            "gradients. Decoupled decay, 'adamw', has one."
        )
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    check_positive("learning_rate", learning_rate)
    check_positive("weight_decay", weight_decay)
    check_decay("momentum", momentum)
    known = all(isinstance(x, (int, float)) for x in (learning_rate, weight_decay))
    if known and not learning_rate * weight_decay < 2:
        raise ValueError(
            "learning_rate times weight_decay must be below 2, from where on decay alone "
            f"diverges, got {learning_rate!r} and {weight_decay!r}."
        )
    if kind == "sgd" and isinstance(momentum, (int, float)) and momentum != 0:
        raise ValueError(
            f"momentum must be 0 for 'sgd', got {momentum!r}: take 'heavy_ball'."
        )

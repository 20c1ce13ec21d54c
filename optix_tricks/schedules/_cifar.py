"""The steps that the CIFAR literature trains with."""

import optax
from jax.typing import ArrayLike

from optix_tricks._checks import check_count, check_number
from optix_tricks._paths import Whole
from optix_tricks.schedules._piecewise import piecewise_values_schedule
from optix_tricks.schedules._progress import as_exact

# The factor of each drop, and the epochs before which it comes.
DROPS = {200: (5, (60, 120, 160)), 300: (10, (150, 225))}


def cifar_step_schedule(
    steps_per_epoch: Whole, *, epochs: Whole = 200, init_value: ArrayLike = 0.1
) -> optax.Schedule:
    """Drop the rate after certain epochs, as published CIFAR results did.

        epochs 200: I, I/5, I/25, I/125 from epochs 0, 60, 120, 160 on
        epochs 300: I, I/10, I/100      from epochs 0, 150, 225 on

    with I = 0.1 in batches of 128, and Nesterov momentum of 0.9.

    Helps where numbers are to stand beside published ones. Hurts in a
    shorter run: it ends before the small rates. Cost: free.

    Args:
        steps_per_epoch: updates an epoch: 391 for 50,000 images in batches of 128, 390
            without the last, smaller one.
        epochs: 200 or 300.
        init_value: I.

    Returns:
        A function from the step count t to the value, of the count's shape.

    Raises:
        ValueError: if `steps_per_epoch` is not a whole number of at least 1, or `epochs`
            is neither 200 nor 300.

    Examples:
        >>> schedule = cifar_step_schedule(391)
        >>> print(*[f"{schedule(391 * epoch):.4g}" for epoch in (0, 60, 120, 160, 199)])
        0.1 0.02 0.004 0.0008 0.0008

    Source: 200: "Wide Residual Networks", Zagoruyko and Komodakis, 2016; "Improved
    Regularization of Convolutional Neural Networks with Cutout", DeVries and Taylor,
    2017. 300: "Densely Connected Convolutional Networks", Huang et al., 2017 (batches of
    64); "Regularizing Neural Networks by Penalizing Confident Output Distributions",
    Pereyra et al., 2017.
    """
    check_count("steps_per_epoch", steps_per_epoch, minimum=1)
    check_number("init_value", init_value)
    if epochs not in DROPS:
        raise ValueError(
            f"epochs must be 200 or 300, got {epochs}; for other lengths give the"
            " boundaries to piecewise_constant_schedule."
        )
    factor, drops = DROPS[epochs]
    values = [as_exact(init_value) / factor**drop for drop in range(len(drops) + 1)]
    return piecewise_values_schedule(values, [steps_per_epoch * drop for drop in drops])

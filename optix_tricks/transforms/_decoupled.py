"""Decoupled weight decay behind a rescaling, in Optax's form and in the paper's."""

from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask
from optix_tricks.transforms._decay import add_decayed_weights
from optix_tricks.transforms._in_float32 import chain_in_float32
from optix_tricks.transforms._learning_rate import scale_by_learning_rate


class DescendState(NamedTuple):
    """State of `descend`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # schedule: the multiplier last used


def descend(schedule: ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    r"""Multiply by :math:`-\eta_t`, for updates that already contain a learning rate."""
    check_nonnegative("schedule", schedule)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"factor": -h["schedule"]}

    def rule(
        g: Array, w: Array | None, *, schedule: Array, factor: Array
    ) -> tuple[Array]:
        return (factor * g,)

    return leafwise(
        rule, DescendState, hyperparams={"schedule": schedule}, prepare=prepare
    )


def decay_and_descend(
    scale: optax.GradientTransformation,
    learning_rate: ScalarOrSchedule,
    *,
    weight_decay: ScalarOrSchedule,
    mask: Mask | None,
    schedule: ScalarOrSchedule | None,
) -> optax.GradientTransformationExtraArgs:
    r"""Finish an optimiser whose direction is `scale`.

    .. math:: w \leftarrow w - \alpha_t (u_t + \lambda w)
        \quad\text{or, with a schedule,}\quad w - \eta_t (\alpha u_t + \lambda w)

    In the first the decay follows the learning rate; in the second rate and decay are
    chosen apart and follow the schedule together.
    """
    decay = add_decayed_weights(weight_decay, mask=mask)
    if schedule is None:
        return chain_in_float32(scale, decay, scale_by_learning_rate(learning_rate))
    rate = scale_by_learning_rate(learning_rate, flip_sign=False)
    return chain_in_float32(scale, rate, decay, descend(schedule))

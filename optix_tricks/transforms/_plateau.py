"""Less rate once a metric no longer improves: the plateau as a link of a chain."""

from typing import Any, Literal, NamedTuple

import optax
from jax.typing import ArrayLike

from optix_tricks._hyperparams import ScalarOrSchedule, current_values, first_values
from optix_tricks._tree import Mask, PyTree, map_states
from optix_tricks.transforms._learning_rate import (
    ScaleByLearningRateState,
    scale_by_learning_rate,
)
from optix_tricks.transforms._plateau_machine import (
    PlateauState,
    check_plateau,
    plateau,
)


class ReduceOnPlateauState(NamedTuple):
    """State of `reduce_on_plateau`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # factor, patience, rtol, atol, cooldown, ...
    plateau: PlateauState

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"plateau_scale": self.plateau.scale}


def reduce_on_plateau(
    factor: ScalarOrSchedule = 0.1,
    patience: int | ScalarOrSchedule = 10,
    rtol: ScalarOrSchedule = 1e-4,
    atol: ScalarOrSchedule = 0.0,
    cooldown: int | ScalarOrSchedule = 0,
    accumulation_size: int | ScalarOrSchedule = 1,
    min_scale: ScalarOrSchedule = 0.0,
    *,
    mode: Literal["min", "max"] = "min",
    per_step: bool = True,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Scale updates down once a metric no longer improves.

    .. math:: u = s_t \, g

    where the scale :math:`s_t` is that of `plateau`, which has seen the values up to
    this step's. Place it after everything that is to be reduced, last in the chain.

    Helps where the length of the run is not known and the metric is quiet. Hurts where
    it is noisy: the minimum of a noisy metric is a lucky draw that later values do not
    reach, so the rate falls too early; and where runs are compared, as each then has a
    schedule of its own. Average first, over an epoch with `accumulation_size`.

    Args:
      factor: see `plateau`; so are the others up to `mode`.
      patience: in judged values, that is in steps by `accumulation_size`.
      rtol: relative threshold.
      atol: absolute threshold.
      cooldown: in judged values.
      accumulation_size: the steps whose values are averaged before one judgement.
      min_scale: the smallest scale.
      mode: "min" or "max".
      per_step: judge the value of each step. If False `update` takes none and only
        scales, and `observe_plateau` judges, as once an epoch.
      mask: which leaves are scaled; the others pass unchanged.

    Returns:
      A transformation; no slots; one multiplication per element. `update` takes the
      metric as the extra argument `value`. Reports `plateau_scale`. The identity at
      `factor=1`.

    Raises:
      ValueError: if a number is outside its range, `mode` is unknown, or the value is
        not given or no scalar.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = reduce_on_plateau(factor=0.5, patience=1)
      >>> state = tx.init(jnp.zeros(2))
      >>> for loss in (1.0, 0.8, 0.8):
      ...     updates, state = tx.update(jnp.ones(2), state, value=loss)
      ...     print(updates)
      [1. 1.]
      [1. 1.]
      [0.5 0.5]

    References:
      `optax.contrib.reduce_on_plateau`; `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    arguments = {
        "factor": factor,
        "patience": patience,
        "rtol": rtol,
        "atol": atol,
        "cooldown": cooldown,
        "accumulation_size": accumulation_size,
        "min_scale": min_scale,
    }
    check_plateau(**arguments)
    hyperparams: dict[str, ScalarOrSchedule] = {
        name: float(given) if isinstance(given, int) else given
        for name, given in arguments.items()
    }

    def init_fn(params: PyTree) -> ReduceOnPlateauState:
        link = scale_by_learning_rate(1.0, flip_sign=False, mask=mask)
        return ReduceOnPlateauState(
            link.init(params).count, first_values(hyperparams), plateau(mode=mode).init()
        )

    def update_fn(
        updates: PyTree,
        state: ReduceOnPlateauState,
        params: PyTree | None = None,
        *,
        value: ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ReduceOnPlateauState]:
        del extra_args
        values = current_values(hyperparams, state.hyperparams, state.count)
        after = state.plateau
        if per_step:
            if value is None:
                raise ValueError(
                    "value must be given to reduce_on_plateau: call update(updates,"
                    " state, params, value=loss)."
                )
            after = plateau(mode=mode, **values).update(after, value)
        link = scale_by_learning_rate(after.scale, flip_sign=False, mask=mask)
        before = ScaleByLearningRateState(state.count, {"learning_rate": after.scale})
        updates, (count, _) = link.update(updates, before, params)
        return updates, ReduceOnPlateauState(count, values, after)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def observe_plateau(
    opt_state: PyTree, value: ArrayLike, *, mode: Literal["min", "max"] = "min"
) -> PyTree:
    r"""Judge a metric that is there once an epoch; no weight moves.

    .. math:: s \leftarrow \text{plateau}(s, v)

    in each state of `reduce_on_plateau(per_step=False)`, however deep it lies, with the
    hyperparameters that stand there. The steps that follow are scaled by what comes out.

    Helps where there is a validation loss: it is quieter than that of a batch, and rises
    where a network begins to learn by heart. Hurts where an epoch is long: the rate stays
    too high for `patience` of them. Cost: free.

    Args:
      opt_state: of a chain that has a `reduce_on_plateau`.
      value: the metric.
      mode: as that of the transformation.

    Returns:
      A state like `opt_state`.

    Raises:
      ValueError: if there is no plateau in it, or the value is no scalar.

    Examples:
      >>> import jax.numpy as jnp
      >>> tx = reduce_on_plateau(factor=0.5, patience=1, per_step=False)
      >>> state = tx.init(jnp.zeros(2))
      >>> for validation_loss in (1.0, 0.8, 0.8):
      ...     state = observe_plateau(state, validation_loss)
      ...     updates, state = tx.update(jnp.ones(2), state)  # an epoch of them
      ...     print(updates)
      [1. 1.]
      [1. 1.]
      [0.5 0.5]

    References:
      `torch.optim.lr_scheduler.ReduceLROnPlateau`, whose `step(metrics)` this is.
    """

    def judged(node: ReduceOnPlateauState) -> ReduceOnPlateauState:
        machine = plateau(mode=mode, **node.hyperparams)
        return node._replace(plateau=machine.update(node.plateau, value))

    changed = map_states(judged, ReduceOnPlateauState, opt_state)
    if changed is None:
        raise ValueError(
            "opt_state must hold a plateau, and has none: put"
            " reduce_on_plateau(per_step=False) into the chain."
        )
    return changed

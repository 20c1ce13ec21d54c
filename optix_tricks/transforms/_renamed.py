"""A link whose numbers have other names: two of a kind in one optimiser."""

from typing import Any

import optax

from optix_tricks._tree import PyTree


def renamed(
    link: optax.GradientTransformationExtraArgs, **names: str
) -> optax.GradientTransformationExtraArgs:
    """Keep the hyperparameters of `link` in its state under other names.

    >>> from optix_tricks.transforms._learning_rate import scale_by_learning_rate
    >>> tx = renamed(scale_by_learning_rate(0.5), learning_rate="adam_learning_rate")
    >>> print(tx.init({}).hyperparams["adam_learning_rate"])
    0.5
    """
    back = {new: old for old, new in names.items()}

    def init(params: PyTree) -> Any:
        return _rename(link.init(params), names)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        inner = _rename(state, back)
        updates, inner = link.update(updates, inner, params, **extra_args)
        return updates, _rename(inner, names)

    return optax.GradientTransformationExtraArgs(init, update)


def _rename(state: Any, names: dict[str, str]) -> Any:
    held = state.hyperparams
    return state._replace(hyperparams={names.get(k, k): x for k, x in held.items()})

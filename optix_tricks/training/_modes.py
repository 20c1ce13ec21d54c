"""Whether a flax.nnx model trains or evaluates: its layers' modes, its call's `train`."""

import inspect
from typing import Any

from flax import nnx


def in_mode(model: nnx.Module, *, train: bool) -> nnx.Module:
    """Switch all layers by `model.train()` or `model.eval()`; return the model.

    In evaluation every batch statistic refuses a new value from then on: a layer that
    writes one normalises by the batch, whatever the model was told.
    """
    if train:
        model.train()
        return model
    model.eval()
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.BatchStat):
            hooks = variable.get_metadata("on_set_value", ())
            name = "/".join(map(str, path))
            variable.set_metadata(statistic=name, on_set_value=(*hooks, _refuse))
    return model


def _refuse(variable: nnx.Variable, value: Any) -> Any:
    name = variable.get_metadata("statistic")
    raise ValueError(
        "model must leave its batch statistics as they are with train=False, but"
        f" '{name}' gets a new value: the call of that layer says that it trains; hand"
        " `train` on to it, or say nothing, and model.eval() switches it."
    )


def train_argument(model: Any, *, train: bool) -> dict[str, bool]:
    """Return `train` as a keyword of the model's call if that takes it, else nothing."""
    return {"train": train} if _takes_train(model) else {}


def check_call(model: nnx.Module) -> None:
    """Raise unless a model can be called on images, with `train` or without."""
    fault = None if callable(model) else "it has no __call__"
    if fault is None:
        try:
            inspect.signature(model).bind(None, **train_argument(model, train=True))
        except TypeError as error:
            fault = str(error)
    if fault is not None:
        raise ValueError(
            "model must be called as model(images, train=...) or model(images), got"
            f" {type(model).__name__}: {fault}."
        )


def _takes_train(model: Any) -> bool:
    if isinstance(model, nnx.Sequential):  # which hands keywords to its first layer
        return bool(model.layers) and _takes_train(model.layers[0])
    parameters = inspect.signature(model).parameters
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return any_keyword or "train" in parameters

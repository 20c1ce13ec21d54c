"""A network of one layer; apart, since it needs flax at its import."""

from typing import Any

from flax import nnx

from optix_tricks.testing._layer_subject import LayerSubject


class Net(nnx.Module):
    """One layer with the call that a training step makes."""

    def __init__(self, subject: LayerSubject) -> None:
        self.layer = subject.build()
        self.training, self.evaluation = subject.training, subject.evaluation

    def __call__(self, x: Any, *, train: bool) -> Any:
        return self.layer(x, **(self.training if train else self.evaluation))

"""What each layer of a model puts out."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from flax import nnx
from jax.extend.core import get_opaque_trace_state

from optix_tricks._tree import check_arrays

Selection = Callable[[str, nnx.Module], bool]


def is_affine(path: str, module: nnx.Module) -> bool:
    """Whether a module has a kernel: a convolution or a linear layer."""
    del path
    return isinstance(
        module, (nnx.Conv, nnx.ConvTranspose, nnx.Linear, nnx.LinearGeneral)
    )


def named_layers(model: nnx.Module, only: Selection = is_affine) -> dict[str, nnx.Module]:
    """Return a model's modules by path, such as "layer1.conv", where `only` selects them.

    A module that stands in two places is named once.

    Examples:
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)
        >>> list(named_layers(model))
        ['layers.0']
    """
    found = {}
    for path, module in nnx.iter_modules(model):
        name = ".".join(map(str, path))
        if only(name, module):
            found[name] = module
    return found


def layer_outputs(
    model: nnx.Module, *args: Any, only: Selection = is_affine, **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    """Call a model; return its output and those of its layers, in the order of the calls.

    The model itself is called, unchanged: where it updates batch statistics or draws
    random numbers, it does so here. A layer that is called twice shows its last output.
    Differentiable, and traceable where the model is. Cost: that of the call; what is
    returned and used is kept in memory.

    Args:
        model: any module.
        *args: of the call.
        only: `only(path, module)`, which layers to show; by default those with a kernel.
        **kwargs: of the call.

    Returns:
        The model's output, and a dict from path to output.

    Raises:
        ValueError: if no layer is selected, the model was made by `nnx.eval_shape` and
            has no values, or a layer is selected that the model calls inside of a
            transformation of its own, such as `vmap`, from which nothing can be kept.

    Examples:
        >>> import jax.numpy as jnp
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)
        >>> y, outputs = layer_outputs(model, jnp.ones((4, 2)))
        >>> {path: x.shape for path, x in outputs.items()}
        {'layers.0': (4, 3)}
    """
    check_arrays("model", nnx.to_pure_dict(nnx.state(model)))
    layers = named_layers(model, only)
    if not layers:
        raise ValueError("only must select at least one layer of the model, got none.")
    outputs: dict[str, Any] = {}
    here = get_opaque_trace_state()
    with contextlib.ExitStack() as stack:
        for path, layer in layers.items():
            stack.enter_context(_recorded(layer, path, outputs, here))
        result = model(*args, **kwargs)
    return result, outputs


@contextlib.contextmanager
def _recorded(
    layer: nnx.Module, path: str, outputs: dict[str, Any], here: Any
) -> Iterator[None]:
    """Give this one object a class that keeps what a call returns."""
    kind = type(layer)

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if get_opaque_trace_state() != here:
            raise ValueError(
                f"only must not select {path!r}: the model calls it inside of a"
                " transformation, as DropConnect does in training; select the layer"
                " around it, or call the model to evaluate."
            )
        outputs.pop(path, None)
        y = kind.__call__(self, *args, **kwargs)
        outputs[path] = y
        return y

    recording = type(kind.__name__, (kind,), {"__call__": call})
    object.__setattr__(layer, "__class__", recording)
    try:
        yield
    finally:
        object.__setattr__(layer, "__class__", kind)

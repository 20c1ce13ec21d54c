"""The layers that a network is given: one contract for convolutions and for norms.

A part is a class, or a `functools.partial` of one, or a function. The network calls it
with its own choices, and what a partial sets goes before them:
`conv=functools.partial(nnx.Conv, kernel_init=orthogonal())`.

- **A convolution** is given what `nnx.Conv` takes, and is called as `conv(x)`.
- **A norm of examples** is given `num_features`, `scale_init`, `dtype` and `rngs`, and is
  called as `norm(x)`.
- **A norm with running statistics**, which is one that takes `momentum`, is given the
  same, `momentum`, `epsilon` and `axis_name`, and is called as `norm(x,
  use_running_average=not train)`, as every norm is whose call takes that.

The norms of examples keep their own epsilon and never hear of `axis_name`, over which
they would average different examples. All norms of `optix_tricks.layers` and of flax.nnx
are of one kind or the other; your own is, if it takes what its kind is given.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx
from jaxtyping import Array, Num

Part = Callable[..., Any]


def make_part(name: str, part: Part, *args: Any, **choices: Any) -> Any:
    """Make a layer by the network's choices, where its caller has made none.

    Args:
      name: of the network's argument.
      part: what makes the layer.
      *args: of the layer.
      **choices: of the network; keywords of a `functools.partial` go before them.

    Raises:
      TypeError: if `part` is a layer already.

    Examples:
      >>> part = functools.partial(nnx.Linear, use_bias=False)
      >>> layer = make_part("head", part, 2, 3, use_bias=True, rngs=nnx.Rngs(0))
      >>> layer.use_bias
      False
    """
    if isinstance(part, nnx.Module) or not callable(part):
        raise TypeError(
            f"{name} must make layers, as a class or a functools.partial of one does, got"
            f" {type(part).__name__}, which is none of these."
        )
    chosen = part.keywords if isinstance(part, functools.partial) else {}
    return part(*args, **(choices | chosen))


def make_norm(
    norm: Part, num_features: int, *, of_batches: Mapping[str, Any], **choices: Any
) -> Any:
    """Make a norm of either kind.

    Args:
      norm: what makes it.
      num_features: of its input's last axis.
      of_batches: what a norm with running statistics is given beside the rest.
      **choices: what every norm is given.

    Examples:
      >>> given = {"of_batches": {"momentum": 0.9}, "rngs": nnx.Rngs(0)}
      >>> make_norm(nnx.BatchNorm, 2, **given).momentum
      0.9
      >>> make_norm(nnx.LayerNorm, 2, **given).epsilon
      1e-06
    """
    if _takes(norm, "momentum"):
        choices |= of_batches
    return make_part("norm", norm, num_features, **choices)


def call_norm(
    norm: Callable[..., Array], x: Num[Array, "*batch features"], *, train: bool
) -> Num[Array, "*batch features"]:
    """Return norm(x), in its mode if it has one.

    Args:
      norm: of either kind.
      x: features on the last axis.
      train: whether to normalise by the batch and move the running statistics.
    """
    if "use_running_average" in inspect.signature(norm).parameters:
        return norm(x, use_running_average=not train)
    return norm(x)


def _takes(part: Part, name: str) -> bool:
    """Whether a part takes an argument; `**` is the base class's, or anything."""
    if isinstance(part, functools.partial):
        return _takes(part.func, name)
    calls = [part]
    if isinstance(part, type):
        calls = [
            vars(kind)["__init__"] for kind in part.__mro__ if "__init__" in vars(kind)
        ]
    for call in calls:
        parameters = inspect.signature(call).parameters.values()
        if any(parameter.name == name for parameter in parameters):
            return True
        if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters):
            return False
    return True

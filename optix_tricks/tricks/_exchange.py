"""Layers of a finished flax.nnx module exchanged for others."""

from collections.abc import Callable, Iterator
from typing import Any

from flax import nnx
from jaxtyping import Array

from optix_tricks.training import make_norm

NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm)
KERNELS = (nnx.Conv, nnx.Linear)


class AnyMode(nnx.Module):
    """A norm of examples where one of batches was: it does not mind being told a mode."""

    def __init__(self, norm: Callable[[Array], Array]):
        self.norm: Any = norm

    def __call__(self, x: Array, **mode: Any) -> Array:
        """Return the normalised features."""
        del mode
        return self.norm(x)


def places(model: nnx.Module, kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the path and the layer of each that is of these kinds, none twice.

    Layers within layers of these kinds are not looked for.
    """
    seen: set[int] = set()

    def walk(path: str, node: Any) -> Iterator[tuple[str, Any]]:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, kinds):
            yield path, node
            return
        for name, below in _children(node):
            yield from walk(f"{path}/{name}" if path else str(name), below)

    yield from walk("", model)


def exchange(
    model: nnx.Module, kinds: tuple[type, ...], make: Callable[[str, Any], Any]
) -> int:
    """Replace each layer of these kinds by `make(path, layer)`, in the model itself.

    A layer that stands in several places is made once.

    Returns:
      How many layers there were.
    """
    found = list(places(model, kinds))
    new = {id(layer): make(path, layer) for path, layer in found}
    seen: set[int] = set()

    def walk(node: Any) -> None:
        if id(node) in seen or id(node) in new:
            return
        seen.add(id(node))
        for name, below in list(_children(node)):
            if id(below) in new:
                _put(node, name, new[id(below)])
            else:
                walk(below)

    walk(model)
    return len(found)


def require(count: int, trick: str, layer: str) -> None:
    """Raise unless a trick has found a layer of its kind."""
    if not count:
        raise ValueError(f"{trick} needs a network with {layer}, this one has none.")


def norm_like(old: Any, part: Callable[..., Any], rngs: nnx.Rngs) -> Any:
    """Make a norm by `part` in the place of another, with its features and dtype."""
    norm = make_norm(
        part,
        old.num_features,
        of_batches={
            "momentum": getattr(old, "momentum", 0.9),
            "epsilon": getattr(old, "epsilon", 1e-5),
            "axis_name": getattr(old, "axis_name", None),
        },
        dtype=old.dtype,
        rngs=rngs,
    )
    for name in ("scale", "bias"):
        ours, theirs = getattr(norm, name, None), getattr(old, name, None)
        if isinstance(ours, nnx.Param) and isinstance(theirs, nnx.Param):
            ours[...] = theirs[...]
    told = isinstance(old, nnx.BatchNorm) and not isinstance(norm, nnx.BatchNorm)
    return AnyMode(norm) if told else norm


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    below: list[tuple[Any, Any]]
    if isinstance(node, nnx.Module):
        below = [(k, x) for k, x in vars(node).items() if not k.startswith("_pytree")]
    elif isinstance(node, dict):
        below = list(node.items())
    elif isinstance(node, list):
        below = list(enumerate(node))
    else:
        return
    for name, x in below:
        if isinstance(x, nnx.Module | list | dict):
            yield name, x


def _put(node: Any, name: Any, layer: Any) -> None:
    if isinstance(node, nnx.List):
        node[int(name)] = layer
    elif isinstance(node, nnx.Module):
        setattr(node, name, layer)
    else:
        node[name] = layer

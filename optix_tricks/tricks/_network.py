"""The network of a setup: made from parts, or taken as it is and changed where it can be.

The order of making is fixed: network, norms, kernels' starts, layers that drop, kernels'
parametrisation, then what is done to the whole, in the order of its places.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Key

from optix_tricks._tree import PyTree
from optix_tricks.layers import unopened_bounds
from optix_tricks.training import Apply, Policy, functional
from optix_tricks.training._compiling import jit_once
from optix_tricks.tricks._chain import Parts, only
from optix_tricks.tricks._context import Context, Network, named_key
from optix_tricks.tricks._exchange import (
    KERNELS,
    NORMS,
    exchange,
    norm_like,
    places,
    require,
)
from optix_tricks.tricks._setup import Setup
from optix_tricks.tricks._trick import Level, parameters_of

MOST_LEFT = 0.25  # of a norm's initial statistics at the end of a run


class SlowStatistics(UserWarning):
    """The run is too short for the momentum of its batch norms."""


def classifier(network: Callable[..., nnx.Module], **fixed: Any) -> Callable[..., Any]:
    """Return the function that makes a network of images for a setup.

        Setup(network=classifier(ResNet9, width=16))

    Args:
      network: `network(classes, in_channels=..., rngs=..., ...)`, as those of `training`.
      **fixed: arguments of it.
    """

    def make(context: Context, **parts: Any) -> nnx.Module:
        return network(context.classes, in_channels=context.channels, **parts)

    network = functools.partial(network, **fixed)
    return _with_parts_of(network, make, but="in_channels")


def from_parts(network: Callable[..., nnx.Module]) -> Callable[..., Any]:
    """Return the function for a setup where the facts of the data are told already."""

    def make(context: Context, **parts: Any) -> nnx.Module:
        del context
        return network(**parts)

    return _with_parts_of(network, make)


def _with_parts_of(
    network: Callable[..., Any], make: Callable[..., Any], but: str = ""
) -> Callable[..., Any]:
    """Let a function say which parts it takes, a network's keywords, and its name."""
    free = [
        parameter
        for name, parameter in parameters_of(network).items()
        if name != but and parameter.kind is parameter.KEYWORD_ONLY
    ]
    made = network.func if isinstance(network, functools.partial) else network
    make.__name__ = getattr(made, "__name__", type(made).__name__)
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    make.__signature__ = inspect.Signature([first, *free])  # type: ignore[attr-defined]
    return make


def level_of(network: Any) -> Level:
    """Return what a setup's network is.

    Raises:
      ValueError: if it is none of the three.
    """
    if isinstance(network, nnx.Module):
        return Level.MODULE
    if isinstance(network, tuple) and len(network) == 3 and callable(network[0]):
        return Level.APPLY
    if callable(network):
        return Level.FACTORY
    raise ValueError(
        "network must be a function that makes a flax.nnx module, such a module, or a"
        f" tuple (apply, params, batch_stats), got {type(network).__name__}."
    )


def check_levels(setup: Setup) -> None:
    """Raise unless the network is enough for each of the tricks."""
    of_trick = setup.filled()["network"] or setup.network is None
    given = Level.FACTORY if of_trick else level_of(setup.network)
    for each in setup.tricks:
        if each.level > given:
            raise ValueError(
                f"{each.name} needs {each.level.wanted}: the network is {given.wanted}."
            )


def make_network(setup: Setup, parts: Parts, context: Context) -> Network:
    """Make the network of a setup with all that its tricks put into it.

    Raises:
      ValueError: if a trick needs more of the network than it is.
    """
    network = only(parts["network"], setup.network)
    policy = only(parts["precision"], Policy())
    options = {"preprocess": context.prepare, "output_dtype": policy.output}
    if level_of(network) is Level.APPLY:
        apply, params, stats = network
        return _applied(Network(apply, lambda seed: (params, stats)), parts)
    if isinstance(network, nnx.Module):
        _check_taken(parts, set(), policy)

    if context.at_once and _is_ours(setup):
        network = _at_once(network)
    module = functools.partial(_module, network, parts, context)

    @functools.lru_cache(maxsize=1)  # the first seed's is what the function comes from
    def split(seed: int) -> tuple[Apply, PyTree, PyTree]:
        model = module(seed)
        if seed == 0:  # of the network, whatever its weights
            _warn_of_closed_bounds(model, context.steps)
            _warn_of_slow_statistics(model, context.steps)
        return functional(model, **options)

    def init(seed: int) -> tuple[PyTree, PyTree]:
        _, params, stats = split(seed)
        return params, stats

    return _applied(Network(split(0)[0], init, module), parts)


def _is_ours(setup: Setup) -> bool:
    """Whether the network is one of this package's, which can be traced."""
    return any(
        getattr(each.calls, "__module__", "").startswith("optix_tricks.")
        for each in setup.filled()["network"][-1:]
    )


def _at_once(network: Callable[..., nnx.Module]) -> Callable[..., nnx.Module]:
    """Let a function draw all arrays in one program, not each in one of its own."""

    @functools.wraps(network)
    def make(context: Context, *, rngs: nnx.Rngs, **parts: Any) -> nnx.Module:
        streams, before = nnx.split(rngs)

        def drawn(state: Any) -> Any:
            own = nnx.merge(streams, state)
            return nnx.split((network(context, rngs=own, **parts), own))

        model, after = nnx.merge(*jit_once(drawn)(before))
        nnx.update(rngs, nnx.state(after))
        return model

    make.__signature__ = inspect.signature(network)  # type: ignore[attr-defined]
    return make


def _warn_of_closed_bounds(model: nnx.Module, steps: int) -> None:
    if closed := unopened_bounds(model, steps):
        warnings.warn(
            f"the run ends after {steps} steps, before the bounds of {len(closed)}"
            f" BatchRenorm, such as {closed[0]}, open: they are plain batch norms; give"
            f" them those of renorm_bounds({steps}).",
            stacklevel=2,
        )


def _warn_of_slow_statistics(model: nnx.Module, steps: int) -> None:
    """Where much of a norm's initial statistics is left, and 0.9 would leave little."""
    slow = {
        ".".join(map(str, path)): norm.momentum
        for path, norm in nnx.iter_modules(model)
        if isinstance(norm, nnx.BatchNorm)
        and 0.9**steps <= MOST_LEFT < norm.momentum**steps
    }
    if slow:
        name, momentum = next(iter(slow.items()))
        warnings.warn(
            f"tests see norms that lag behind the weights: with a momentum of {momentum},"
            f" {momentum**steps:.0%} of the running statistics of {len(slow)} BatchNorm,"
            f" such as {name}, are still the initial ones after the {steps} steps of this"
            " run; give them momentum=0.9, or train for longer.",
            SlowStatistics,
            stacklevel=2,
        )


def _applied(network: Network, parts: Parts) -> Network:
    for change in parts["applied"].values():
        network = change(network)
    return network


def _module(network: Any, parts: Parts, context: Context, seed: int) -> nnx.Module:
    key = jax.random.key(seed)
    rngs = nnx.Rngs(seed)
    norm = only(parts["norm"])
    if isinstance(network, nnx.Module):
        model = nnx.clone(network)
        takes: set[str] = set()
    else:
        policy = only(parts["precision"], Policy())
        given: dict[str, Any] = {**policy.of_network, "rngs": rngs}
        given |= {"norm": norm} if norm is not None else {}
        for of_trick in parts["options"].values():
            given |= of_trick
        takes = set(parameters_of(network))
        model = network(context, **{k: x for k, x in given.items() if k in takes})
        _check_taken(parts, takes, policy)
    if norm is not None and "norm" not in takes:
        _exchange_norms(model, norm, rngs, next(iter(parts["norm"])))
    init = only(parts["kernel_init"])
    if init is not None:
        _redraw(model, init, key)
    for name, change in parts["inserted"].items():
        model = change(model, named_key(key, name))
    parametrised = only(parts["kernel"])
    if parametrised is not None:
        name = next(iter(parts["kernel"]))
        layers = exchange(model, KERNELS, lambda path, layer: parametrised(layer, rngs))
        require(layers, name, "a convolution or a linear layer")
    for name, change in parts["made"].items():
        model = change(model, named_key(key, name))
    return model


def _check_taken(parts: Parts, takes: set[str], policy: Policy) -> None:
    wanted: dict[str, Any] = dict(parts["options"])
    if policy != Policy():
        wanted |= {name: ["dtype"] for name in parts["precision"]}
    for trick, options in wanted.items():
        for name in options:
            if name not in takes:
                raise ValueError(
                    f"{trick} needs a network that is made by a function with {name!r}:"
                    f" this one has {', '.join(sorted(takes)) or 'no function'}."
                )


def _exchange_norms(model: nnx.Module, norm: Any, rngs: nnx.Rngs, name: str) -> None:
    made = exchange(model, NORMS, lambda path, old: norm_like(old, norm, rngs))
    require(made, name, "a norm of flax.nnx or of optix_tricks.layers")


def _redraw(model: nnx.Module, init: Any, key: Key[Array, ""]) -> None:
    """Draw each kernel anew, from the key of its path."""
    found = list(places(model, KERNELS))
    require(len(found), "a kernel initialiser", "a convolution or a linear layer")
    for path, layer in found:
        kernel = layer.kernel[...]
        drawn = init(named_key(key, f"{path}/kernel"), kernel.shape, kernel.dtype)
        layer.kernel[...] = drawn

"""What is done to a network once it is made, from the first training examples or not."""

import functools
from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import Array, Key

from optix_tricks import initializers, layers
from optix_tricks._masks import mask_by_path
from optix_tricks._paths import named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training import RestoreReport, load_params, restore_partially
from optix_tricks.training._modes import train_argument
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._exchange import exchange, places, require
from optix_tricks.tricks._trick import Level, trick

Change = Callable[[nnx.Module, Key[Array, ""]], nnx.Module]
made = functools.partial(trick, "made", level=Level.MODULE)


def _lsuv(
    model: nnx.Module,
    context: Context,
    key: Any,
    *,
    examples: int = 512,
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> nnx.Module:
    """Scale the kernels over the first training examples; statistics stay as they are.

    Args:
      model: the network.
      context: of the run.
      key: of the orthonormal kernels.
      examples: of training, the first, over which variances are measured.
      tolerance: how far from 1 the variances may stay.
      max_iterations: how often a layer is scaled at most.
    """
    shown = context.prepare(context.first(examples).inputs)
    kept = nnx.state(model, nnx.BatchStat)
    model, _ = initializers.lsuv(
        model,
        shown,
        key=key,
        tolerance=tolerance,
        max_iterations=max_iterations,
        **train_argument(model, train=True),
    )
    nnx.update(model, kept)
    return model


@made(calls=_lsuv, about=initializers.lsuv, place="variance", main="examples")
def lsuv(context: Context, call: Any) -> Change:
    """Each layer's output has variance 1 over the first training examples."""
    return lambda model, key: call(model, context, key)


def _whiten(model: nnx.Module, context: Context, *, examples: int = 5000) -> nnx.Module:
    """Set the first filters of the first convolution to whitened patches.

    Args:
      model: the network.
      context: of the run.
      examples: of training, the first, whose patches are whitened.

    Raises:
      ValueError: if the network has no convolution, or its first is no square one on the
        images.
    """
    convolutions = [x for _, x in places(model, (nnx.Conv,))]
    require(len(convolutions), "whitening", "a convolution")
    kernel = convolutions[0].kernel
    height, width, channels, filters = kernel[...].shape
    if height != width or channels != context.channels:
        raise ValueError(
            "whitening needs a first convolution that is square and of the images'"
            f" {context.channels} channels, got a kernel {list(kernel[...].shape)}."
        )
    images = context.prepare(context.first(examples).inputs)
    white = initializers.patch_whitening(images, kernel_size=height)
    count = min(filters, white.shape[-1])
    kernel[...] = kernel[...].at[..., :count].set(white[..., :count])
    return model


@made(
    calls=_whiten,
    about=initializers.patch_whitening,
    place="whitening",
    main="examples",
    needs=["images"],
)
def whitening(context: Context, call: Any) -> Change:
    """The first convolution starts from the whitened patches of the images."""
    return lambda model, key: call(model, context)


def with_weights_of(model: nnx.Module, *, run: str = "") -> nnx.Module:
    """Take over the arrays of a run that have the same paths and shapes.

    Args:
      model: the network.
      run: the run's directory.

    Raises:
      ValueError: if there are none.
    """
    carried = nnx.Not(nnx.Any(nnx.Param, nnx.RngState, nnx.Intermediate))
    states = {
        "params": nnx.state(model, nnx.Param),
        "batch_stats": nnx.state(model, carried),
    }
    own = {name: nnx.to_pure_dict(state) for name, state in states.items()}
    new, _ = taken_over(own, run)
    for tree in new.values():
        nnx.update(model, tree)
    return model


def taken_over(
    own: dict[str, PyTree], run: str
) -> tuple[dict[str, PyTree], RestoreReport]:
    """Replace arrays by those of a run with the same path and shape, and say which.

    Args:
      own: {"params": tree, "batch_stats": tree}.
      run: its directory.

    Raises:
      ValueError: if there are none.
    """
    loaded = load_params(run)
    here, there = (
        {(leaf.name, leaf.value.shape) for leaf in named_leaves(tree)}
        for tree in (own, loaded)
    )
    if not here & there:
        raise ValueError(
            f"pretrained must find arrays of this network in run {run!r}: it has none."
        )
    return restore_partially(own, loaded)


@made(calls=with_weights_of, about=restore_partially, place="loaded", main="run")
def pretrained(context: Context, call: Any) -> Change:
    """Weights of an earlier run, where paths and shapes are the same."""
    return lambda model, key: call(model)


def _zero_gamma(model: nnx.Module, *, pattern: str = "") -> nnx.Module:
    """Set the scales whose paths match the pattern to zero.

    Args:
      model: the network.
      pattern: of their paths; empty for the network's own switch.
    """
    params = nnx.state(model, nnx.Param)
    zeroed = initializers.zero_gamma(nnx.to_pure_dict(params), mask_by_path(pattern))
    nnx.update(model, zeroed)
    return model


@trick(
    "options",
    "made",
    calls=_zero_gamma,
    about=initializers.zero_gamma,
    main="pattern",
    place="gamma",
    level=Level.MODULE,
)
def zero_gamma(context: Context, call: Any) -> tuple[dict[str, Any], Change]:
    """Residual branches start at zero: by the network's own switch, or by a pattern."""
    if call.keywords["pattern"]:
        return {}, lambda model, key: call(model)
    return {"zero_init_last_gamma": True}, lambda model, key: model


def before_the_last(
    model: nnx.Module, wrap: Callable[[nnx.Linear], Any], trick: str
) -> nnx.Module:
    """Put another layer in the place of the last linear one."""
    found = [path for path, _ in places(model, (nnx.Linear,))]
    require(len(found), trick, "a linear layer")
    last = found[-1]
    exchange(
        model, (nnx.Linear,), lambda path, layer: wrap(layer) if path == last else layer
    )
    return model


@trick(
    "inserted",
    calls=layers.Dropout,
    place="dropped",
    fields=(),
    main="rate",
    level=Level.MODULE,
    rate=0.5,
)
def dropout(context: Context, call: Any) -> Change:
    """Inputs of the last linear layer are dropped."""

    def change(model: nnx.Module, key: Key[Array, ""]) -> nnx.Module:
        rngs = nnx.Rngs(dropout=key)

        def wrap(layer: nnx.Linear) -> nnx.Module:
            return nnx.Sequential(call(rngs=rngs), layer)

        return before_the_last(model, wrap, "dropout")

    return change


@trick(
    "inserted",
    "kernel",
    calls=layers.DropConnect,
    place="dropped",
    fields=["per_example"],
    main="rate",
    level=Level.MODULE,
    rate=0.5,
)
def drop_connect(context: Context, call: Any) -> tuple[Change, None]:
    """Weights of the last linear layer are dropped, and are no other parametrisation."""

    def change(model: nnx.Module, key: Key[Array, ""]) -> nnx.Module:
        rngs = nnx.Rngs(dropout=key)
        return before_the_last(
            model, lambda layer: call(layer, rngs=rngs), "drop_connect"
        )

    return change, None


@trick(
    "options",
    calls=layers.LayerScale,
    fields=(),
    main="init_value",
    level=Level.FACTORY,
    init_value=1e-5,
)
def layer_scale(context: Context, call: Any) -> dict[str, float]:
    """Residual branches are multiplied by trained factors that start small."""
    return {"layer_scale": call.keywords["init_value"]}


@trick(
    "options",
    calls=layers.DropPath,
    fields=(),
    main="rate",
    level=Level.FACTORY,
    rate=0.1,
)
def drop_path(context: Context, call: Any) -> dict[str, float]:
    """Residual branches are left out, the last most often."""
    return {"drop_path": call.keywords["rate"]}

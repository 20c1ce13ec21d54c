"""What a training step carries, and a flax.nnx model as a pure function of it."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from optix_tricks._packed import pack
from optix_tricks._paths import Arrays
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._modes import check_call, in_mode, train_argument


class TrainState(NamedTuple):
    """All that changes from step to step: a tree of arrays, the random key included."""

    step: Int[Array, ""]  # int32, steps done
    params: Arrays
    batch_stats: PyTree  # all that the network carries and no gradient moves
    opt_state: PyTree
    key: Key[Array, ""]  # never changes; each step folds its number in


@runtime_checkable
class Apply(Protocol):
    """A network as a pure function; see `functional`."""

    def __hash__(self) -> int: ...
    def __call__(
        self,
        params: Arrays,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> tuple[PyTree, PyTree]: ...


def pixels_as_floats(inputs: PyTree) -> PyTree:
    """Return floats and uint8 as float32; other integers, such as tokens, as they are."""

    def as_float(x: Array) -> Array:
        is_number = jnp.issubdtype(x.dtype, jnp.floating) or x.dtype == jnp.uint8
        return x.astype(jnp.float32) if is_number else x

    return jax.tree.map(as_float, inputs)


def _unscaled() -> Callable[[PyTree], PyTree]:
    """Return `pixels_as_floats` that warns, once, of images: uint8 of four axes."""
    said = (
        "images of uint8 reach the network as numbers up to 255: give functional a"
        " preprocess, such as normalize(*dataset.channel_statistics()), or lambda x: x"
        " if the network scales them itself."
    )
    warn_once = functools.cache(lambda: warnings.warn(said, stacklevel=2))

    def prepare(inputs: PyTree) -> PyTree:
        if any(x.dtype == jnp.uint8 and x.ndim >= 4 for x in jax.tree.leaves(inputs)):
            warn_once()
        return pixels_as_floats(inputs)

    return prepare


def functional(
    model: nnx.Module,
    *,
    preprocess: Callable[[Any], Any] | None = None,
    output_dtype: DTypeLike | None = None,
) -> tuple[Apply, PyTree, PyTree]:
    """Split an nnx model once into a pure function and plain dicts of arrays.

    Carried as plain dicts under `jax.jit`, a model costs no more per call than the
    arithmetic; `nnx.jit` walks the module at every call, at 12 to 18 times the overhead.

    `train` goes to the model's call, where that takes it, and all layers are switched to
    the same by `model.train()` or `model.eval()`: dropout and batch normalisation follow
    it however the model is written. What a layer is told at its own call goes before
    both; so a batch normalisation that stays frozen is one that is called with
    `use_running_average=True`.

    Random numbers, those of dropout for one, are drawn from the `key` of the call alone:
    each of the model's streams starts anew from it. The same key draws the same.

    Args:
      model: any module that is called on the inputs, with `train=` or without.
      preprocess: applied to the inputs first, inside: scaling and normalisation, as of
        `normalize`. None turns floats and uint8 into float32 and scales nothing.
      output_dtype: of the outputs; None leaves them as the model returns them.

    Returns:
      `apply(params, batch_stats, inputs, train=..., key=...) -> (outputs, batch_stats)`,
      the parameters, and the batch statistics: with them every variable of a type of its
      own, which the step carries along. What a call sows (`nnx.Intermediate`) is not
      kept. A model without random numbers needs no key.

    Warns:
      UserWarning: once, when `apply` is called on images of uint8 and no `preprocess`
        scales them. Tokens and tables of whole numbers are nothing to scale.

    Raises:
      ValueError: if the model's call needs more than inputs and `train`; when `apply` is
        called, if random numbers are trained with and no key is given, or batch
        statistics move with `train=False`.
    """
    parts: Any = nnx.split(model, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    _, params, streams, _, stats = parts
    carried = {path for path, _ in nnx.to_flat_state(stats)}
    check_call(model)
    prepare = _unscaled() if preprocess is None else preprocess
    graphs = {
        train: nnx.graphdef(in_mode(nnx.merge(*parts, copy=True), train=train))
        for train in (True, False)
    }

    def apply(
        params: Arrays,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        if train and key is None and jax.tree.leaves(streams):
            raise ValueError(
                "key must be given to train a model that draws random numbers, got None."
            )
        check_arrays("params", params)
        check_arrays("batch_stats", batch_stats)
        started = streams if key is None else _started(streams, key)
        of_model = params, started, batch_stats
        try:
            module: Any = nnx.merge(graphs[train], *of_model, copy=True)
        except ValueError as error:
            raise ValueError(
                "params and batch_stats must be those of the model that functional was"
                f" given: {error}"
            ) from error
        outputs = module(prepare(inputs), **train_argument(module, train=train))
        if output_dtype is not None:
            outputs = jax.tree.map(lambda x: x.astype(output_dtype), outputs)
        after = nnx.state(module, lambda path, _: path in carried)
        return outputs, nnx.to_pure_dict(after)

    return apply, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def _started(streams: Any, key: Array) -> Any:
    """Every stream with a key of its own, folded from one, and its count at zero."""
    variables = nnx.to_flat_state(streams)
    return nnx.from_flat_state(
        (
            path,
            variable.replace(
                jax.random.split(jax.random.fold_in(key, place), variable.shape)
                if isinstance(variable, nnx.RngKey)
                else jnp.zeros_like(variable.get_value())
            ),
        )
        for place, (path, variable) in enumerate(variables)
    )


def normalize(
    mean: Float[Array | np.ndarray, " channel"],
    std: Float[Array | np.ndarray, " channel"],
) -> Callable[[Array], Array]:
    """Return a preprocessing of uint8 images: (images / 255 - mean) / std, float32."""

    def preprocess(images: Array) -> Array:
        centre, scale = jnp.reshape(mean, (1, 1, 1, -1)), jnp.reshape(std, (1, 1, 1, -1))
        return (images.astype(jnp.float32) / 255 - centre) / scale

    return preprocess


def create_state(
    params: Arrays,
    batch_stats: Arrays,
    tx: optax.GradientTransformation,
    key: Key[Array, ""],
    *,
    packed: bool = False,
) -> TrainState:
    """Return the state before the first step.

    Its arrays are copies, each with a buffer of its own: a compiled step may be given it
    for good, and what was given here, a model's own variables too, stays as it is.

    Args:
      params: a plain tree of arrays.
      batch_stats: of `functional`.
      tx: the optimiser.
      key: from which all steps draw.
      packed: keep parameters and optimiser state in a few buffers (`optix_tricks.pack`).
        The step, the evaluation and checkpoints take either; `optix_tricks.unpack` gives
        the tree back. The masks and labels of `tx` decide which arrays share a buffer,
        those that Optax's wrappers are given too if they are this package's or made by
        `optix_tricks.per_buffer`. Helps networks of hundreds of small arrays on a CPU;
        costs 30 ms of compilation for each array that is packed.

    Raises:
      ValueError: if parameters or statistics are shapes without values.
    """
    check_arrays("params", params)
    check_arrays("batch_stats", batch_stats)
    own = jax.tree.map(jnp.copy, pack(params, tx=tx) if packed else params)
    return _without_doubles(
        TrainState(
            step=jnp.zeros((), jnp.int32),
            params=own,
            batch_stats=jax.tree.map(jnp.copy, batch_stats),
            opt_state=tx.init(own),
            key=jnp.copy(key),
        )
    )


def _without_doubles(state: TrainState) -> TrainState:
    """Copy what stands there before: one array in two places could not be donated."""
    seen: set[int] = set()

    def once(x: Array) -> Array:
        if id(x) in seen:
            return jnp.copy(x)
        seen.add(id(x))
        return x

    return jax.tree.map(once, state)

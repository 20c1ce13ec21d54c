"""What a training step carries, and a flax.nnx model as a pure function of it."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, Num

from optix_tricks._tree import PyTree


class TrainState(NamedTuple):
    """All that changes from step to step: a tree of arrays, the random key included."""

    step: Int[Array, ""]  # int32, steps done
    params: PyTree
    batch_stats: PyTree  # running mean and variance of the normalisation layers
    opt_state: PyTree
    key: Key[Array, ""]  # never changes; each step folds its number in


@runtime_checkable
class Apply(Protocol):
    """A network as a pure function; see `functional`."""

    def __call__(  # noqa: D102
        self,
        params: PyTree,
        batch_stats: PyTree,
        images: Num[Array, "batch height width channel"],
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch classes"], PyTree]: ...


def functional(
    model: nnx.Module,
    *,
    preprocess: Callable[[Array], Array] = lambda images: images.astype(jnp.float32),
) -> tuple[Apply, PyTree, PyTree]:
    """Split an nnx model once into a pure function and plain dicts of arrays.

    Carried as plain dicts under `jax.jit`, a model costs no more per call than the
    arithmetic; `nnx.jit` walks the module at every call, at 12 to 18 times the overhead.

    Args:
      model: any module whose call takes `images` and `train=`, and whose variables are
        `nnx.Param` and `nnx.BatchStat`.
      preprocess: applied to the images first, inside: scaling and normalisation.

    Returns:
      `apply(params, batch_stats, images, train=...) -> (logits, batch_stats)`, the
      parameters, and the batch statistics.

    Raises:
      ValueError: if the model has other variables, such as those of dropout.
    """
    parts: Any = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    graph, params, stats, rest = parts
    if jax.tree.leaves(rest):
        kinds = {type(x).__name__ for _, x in nnx.to_flat_state(rest)}
        raise ValueError(
            "model must hold nothing but parameters and batch statistics, found "
            f"{', '.join(sorted(kinds))}."
        )

    def apply(
        params: PyTree, batch_stats: PyTree, images: Array, *, train: bool
    ) -> tuple[Array, PyTree]:
        module: Any = nnx.merge(graph, params, batch_stats, copy=True)
        logits = module(preprocess(images), train=train)
        return logits, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    return apply, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def normalize(
    mean: Float[Array, " channel"], std: Float[Array, " channel"]
) -> Callable[[Array], Array]:
    """Return a preprocessing of uint8 images: (images / 255 - mean) / std, float32."""

    def preprocess(images: Array) -> Array:
        centre, scale = jnp.reshape(mean, (1, 1, 1, -1)), jnp.reshape(std, (1, 1, 1, -1))
        return (images.astype(jnp.float32) / 255 - centre) / scale

    return preprocess


def create_state(
    params: PyTree,
    batch_stats: PyTree,
    tx: optax.GradientTransformation,
    key: Key[Array, ""],
) -> TrainState:
    """Return the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=tx.init(params),
        key=key,
    )

"""Steps that are compiled side by side: ours, and plain Optax and flax.nnx's."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optix_tricks as ot
from optix_tricks.layers import BatchNorm
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet50,
    create_state,
    functional,
    make_train_step,
    normalize,
)

Side = Literal["ours", "plain"]
CLASSES = 1000
MEAN, STD = jnp.array((0.485, 0.456, 0.406)), jnp.array((0.229, 0.224, 0.225))
RATE, DECAY = 0.1, 1e-4
NORMS: dict[Side, Callable[..., Any]] = {"ours": BatchNorm, "plain": nnx.BatchNorm}
Made = tuple[Any, ...]  # a function, and the shapes of its arguments


class Block(nnx.Module):
    """Convolution, norm, relu, convolution."""

    def __init__(self, side: Side, channels: int, rngs: nnx.Rngs) -> None:
        def conv() -> nnx.Conv:
            return nnx.Conv(
                channels, channels, (3, 3), use_bias=False, dtype=jnp.bfloat16, rngs=rngs
            )

        self.first, self.last = conv(), conv()
        self.norm = NORMS[side](channels, dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.norm(self.first(x), use_running_average=not train)
        return self.last(nnx.relu(x))


def block(side: Side, *, batch: int, size: int = 28, channels: int = 128) -> Made:
    """Forward and backward, and the statistics."""
    model = nnx.eval_shape(lambda: Block(side, channels, nnx.Rngs(0)))
    apply, params, stats = functional(model, preprocess=lambda x: x)
    x = jax.ShapeDtypeStruct((batch, size, size, channels), jnp.bfloat16)

    def step(params: Any, stats: Any, x: Any, t: Any) -> Any:
        def forward(params: Any, x: Any) -> Any:
            return apply(params, stats, x, train=True)

        y, back, stats_after = jax.vjp(forward, params, x, has_aux=True)
        return y, back(t), stats_after

    return step, params, stats, x, x


def network_step(
    side: Side, *, stages: tuple[int, ...], width: int, size: int, batch: int
) -> Made:
    """A training step of a ResNet with bottlenecks, momentum and decay of kernels."""
    model = nnx.eval_shape(
        lambda: ResNet50(
            CLASSES,
            stages=stages,
            width=width,
            norm=NORMS[side],
            dtype=jnp.bfloat16,
            rngs=nnx.Rngs(0),
        )
    )
    apply, params, stats = functional(model, preprocess=normalize(MEAN, STD))
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    given = Batch(images, jax.ShapeDtypeStruct((batch,), jnp.int32))
    if side == "plain":
        return _plain_step(apply, params, stats, given)
    tx = optax.chain(
        ot.add_decayed_weights(DECAY, mask=ot.no_bias_or_norm),
        ot.sgd(RATE, momentum=0.9, nesterov=True),
    )
    state = jax.eval_shape(
        lambda *trees: create_state(*trees, tx, jax.random.key(0)), params, stats
    )
    return make_train_step(apply, cross_entropy, tx), state, given


def _plain_step(apply: Any, params: Any, stats: Any, given: Batch) -> Made:
    """By hand: loss, accuracy and the gradient's norm are what it tells."""
    tx = optax.chain(
        optax.add_decayed_weights(
            DECAY, mask=lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)
        ),
        optax.sgd(RATE, momentum=0.9, nesterov=True),
    )

    def step(state: Any, batch: Batch) -> Any:
        params, stats, opt_state = state

        def objective(params: Any) -> Any:
            logits, after = apply(params, stats, batch.inputs, train=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, batch.targets
            )
            return losses.mean(), (logits, after)

        (loss, (logits, after)), grads = jax.value_and_grad(objective, has_aux=True)(
            params
        )
        updates, opt_state = tx.update(grads, opt_state, params)
        said = {
            "loss": loss,
            "accuracy": (logits.argmax(-1) == batch.targets).mean(),
            "gradient_norm": optax.tree.norm(grads),
        }
        return (optax.apply_updates(params, updates), after, opt_state), said

    state = jax.eval_shape(lambda p, s: (p, s, tx.init(p)), params, stats)
    return step, state, given


def packed_step(side: Side, *, width: int) -> Made:
    """Adam on the arrays of a ResNet-50: packed, and Optax's tree."""
    model = nnx.eval_shape(lambda: ResNet50(CLASSES, width=width, rngs=nnx.Rngs(0)))
    _, params, _ = functional(model)
    if side == "ours":
        return _optimizer_step(ot.adam(RATE), jax.eval_shape(ot.pack, params))
    return _optimizer_step(optax.adam(RATE), params)


def int8_step(side: Side, *, size: int) -> Made:
    """Adam on six square arrays: moments in bytes, and Optax's in float32."""
    params = {f"w{i}": jax.ShapeDtypeStruct((size, size), jnp.float32) for i in range(6)}
    if side == "ours":
        return _optimizer_step(ot.adam(RATE, state_dtype="int8"), params)
    return _optimizer_step(optax.adam(RATE), params)


def _optimizer_step(tx: Any, params: Any) -> Made:
    def step(state: Any, grads: Any) -> Any:
        params, opt_state = state
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step, jax.eval_shape(lambda p: (p, tx.init(p)), params), params

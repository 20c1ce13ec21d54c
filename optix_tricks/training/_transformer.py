"""A causal transformer in flax.nnx, pre-norm: tokens to the logits of the next ones.

    x = E[token] + P[position]
    x = x + attention(norm(x))
    x = x + mlp(norm(x))            both for each block
    logits = W norm(x)

Its kernels are those of `nnx.Linear`, [in, out], so that what exchanges, redraws or steps
kernels finds matrices.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from optix_tricks._checks import check_count
from optix_tricks.layers import (
    DropPath,
    LayerNorm,
    LayerScale,
    stochastic_depth_rates,
)
from optix_tricks.training._parts import Part, call_norm, make_norm

EXPANSION = 4  # of the features, within an MLP


class CausalAttention(nnx.Module):
    """Attention of each position to itself and to those before it.

        y_t = W_o concat_h Σ_{s ≤ t} softmax_s(q_th · k_sh / √d) v_sh

    with d = width / heads.

    Args:
      width: features of input and output.
      heads: number of heads, a divisor of the width.
      linear: makes the four projections.
      last_init: of the last projection's kernel.

    References:
      Vaswani et al., Attention is all you need, 2017.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        linear: Callable[..., nnx.Linear],
        last_init: Callable[..., Any],
    ):
        self.heads = heads
        self.query = linear(width, width)
        self.key = linear(width, width)
        self.value = linear(width, width)
        self.out = linear(width, width, kernel_init=last_init)

    def __call__(
        self, x: Float[Array, "batch length width"]
    ) -> Float[Array, "batch length width"]:
        """Return the features; the softmax is float32."""
        batch, length, width = x.shape
        by_head = batch, length, self.heads, width // self.heads
        q, k, v = (f(x).reshape(by_head) for f in (self.query, self.key, self.value))
        scores = jnp.einsum("bthd,bshd->bhts", q, k, preferred_element_type=jnp.float32)
        is_past = jnp.tri(length, dtype=bool)[None, None]
        scores = jnp.where(is_past, scores / math.sqrt(by_head[-1]), -jnp.inf)
        weights = jax.nn.softmax(scores).astype(v.dtype)
        y = jnp.einsum("bhts,bshd->bthd", weights, v)
        return self.out(y.reshape(x.shape))


class TransformerBlock(nnx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) with a GELU in the middle."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        linear: Callable[..., nnx.Linear],
        norm: Callable[[], Any],
        last_init: Callable[..., Any],
        drop_path: float,
        layer_scale: float | None,
        rngs: nnx.Rngs,
    ):
        def scale() -> LayerScale | None:
            return None if layer_scale is None else LayerScale(width, layer_scale)

        self.norm1 = norm()
        self.attention = CausalAttention(width, heads, linear=linear, last_init=last_init)
        self.scale1 = scale()
        self.norm2 = norm()
        self.expand = linear(width, EXPANSION * width)
        self.contract = linear(EXPANSION * width, width, kernel_init=last_init)
        self.scale2 = scale()
        self.drop = DropPath(drop_path, rngs=rngs if drop_path else None)

    def __call__(
        self, x: Float[Array, "batch length width"], *, train: bool
    ) -> Float[Array, "batch length width"]:
        """Return the features."""
        y = self.attention(norm_of_positions(self.norm1, x, train=train))
        y = y if self.scale1 is None else self.scale1(y)
        x = x + self.drop(y, deterministic=not train)
        y = self.expand(norm_of_positions(self.norm2, x, train=train))
        y = self.contract(jax.nn.gelu(y))
        y = y if self.scale2 is None else self.scale2(y)
        return x + self.drop(y, deterministic=not train)


class Transformer(nnx.Module):
    """A decoder that tells the next token at each position from those up to it.

        x = E[token] + P[position];    x = x + attention(norm(x)),
        x = x + mlp(norm(x)) in each block;    logits = W norm(x)

    with an MLP four times as wide and learnt embeddings.

    Helps text and other sequences of tokens. Hurts with little data, which it learns by
    heart. Cost: the square of the length in the attention; `depth` (12 w² + 13 w) +
    (2 V + T + 2) w + V parameters with layer norms, of width w, V classes and length T.

    Beside others: `warm_up` and `adamw` or `muon` go with it; `drop_path` and
    `layer_scale` are arguments of its branches.

    Whatever the norm, it sees each position as an example of its own, so that none looks
    ahead; batch norms still do in training, by their statistics.

    Args:
      num_classes: number of tokens, and of logits.
      length: most positions of an example.
      width: features of a position.
      depth: number of blocks.
      heads: of each attention, a divisor of the width.
      drop_path: rate at which the last block's branches are left out in training, an
        example at a time; it grows linearly from the first block.
      layer_scale: the factors of branches at the start; None for none.
      norm: makes the normalisations, of examples or of batches; see `make_norm`.
      dtype: of activations. Logits are always float32, and so is the softmax.
      param_dtype: of kernels and embeddings.
      rngs: for the initial kernels (LeCun normal; smaller by 1 / √(2 depth) where a
        branch ends, so that the sum of the branches keeps its size), the embeddings
        (normal, 0.02) and for `drop_path`.

    Raises:
      ValueError: if a number is less than 1, or `heads` does not divide `width`; when
        called, if there are more positions than `length`.

    Examples:
      >>> model = Transformer(5, length=8, width=8, depth=1, heads=2, rngs=nnx.Rngs(0))
      >>> model(jnp.array([[0, 3, 1]]), train=False).shape
      (1, 3, 5)

    References:
      Radford et al., Language models are unsupervised multitask learners, 2019.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        length: int,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm: Part = LayerNorm,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        numbers = {"length": length, "width": width, "depth": depth, "heads": heads}
        for name, number in numbers.items():
            check_count(name, number, minimum=1)
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}.")
        given: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}

        def linear(n: int, m: int, **options: Any) -> nnx.Linear:
            return nnx.Linear(n, m, **(given | options))

        def embed(n: int) -> nnx.Embed:
            init = nnx.initializers.normal(0.02)
            return nnx.Embed(n, width, embedding_init=init, **given)

        def normalisation() -> Any:
            of_batches = {"momentum": 0.9, "epsilon": 1e-5, "axis_name": None}
            options = {"scale_init": nnx.initializers.ones, "dtype": dtype, "rngs": rngs}
            return make_norm(norm, width, of_batches=of_batches, **options)

        last_init = nnx.initializers.variance_scaling(
            1 / (2 * depth), "fan_in", "truncated_normal"
        )
        self.length = length
        self.token_embed = embed(num_classes)
        self.position_embed = embed(length)
        self.blocks = nnx.List(
            TransformerBlock(
                width,
                heads,
                linear=linear,
                norm=normalisation,
                last_init=last_init,
                drop_path=rate,
                layer_scale=layer_scale,
                rngs=rngs,
            )
            for rate in stochastic_depth_rates(depth, drop_path)
        )
        self.norm = normalisation()
        self.head = nnx.Linear(width, num_classes, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch length"], *, train: bool
    ) -> Float[Array, "batch length classes"]:
        """Return float32 logits of the token after each."""
        length = tokens.shape[1]
        if length > self.length:
            raise ValueError(
                f"tokens must be at most length={self.length} positions, got {length}."
            )
        positions = self.position_embed(jnp.arange(length))
        x = self.token_embed(tokens) + positions[None]
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(norm_of_positions(self.norm, x, train=train).astype(jnp.float32))


def norm_of_positions(
    norm: Callable[..., Array], x: Float[Array, "batch length width"], *, train: bool
) -> Float[Array, "batch length width"]:
    """Normalise each position by itself, as if it were an example."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return call_norm(norm, rows, train=train).reshape(x.shape)

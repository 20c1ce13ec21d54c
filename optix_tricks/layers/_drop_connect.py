"""Dropout of weights."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PRNGKeyArray

from optix_tricks.layers._dropout import Dropout
from optix_tricks.layers._kernel import kernel_of, replaced


class DropConnect(nnx.Module):
    """Wrap a layer: its weights are set to zero at random in training.

        y = (M ⋆ W) x + m ⋆ b,    M, m ~ Bernoulli(1 - rate) / (1 - rate)

    with a mask of its own for each example, the bias included, as in the paper. The mean
    over masks is the plain layer, and evaluation is the plain layer. The paper instead
    draws the layer's outputs in evaluation from a Gaussian of the same mean and variance
    and averages what the next activation makes of them: a correction for its curvature.

    Helps large fully connected layers that overfit. Does little for convolutions, whose
    weights are few. Cost: a copy of the weights and a random number for each of them, for
    each example; with `per_example=False` for each batch. A convolution with masks per
    example is as many convolutions as examples.

    Beside others: `Dropout` of the layer's inputs is the case where all weights of an
    input share a mask. It does not wrap `WeightNorm` or `SpectralNorm`, which have no
    kernel of their own.

    Args:
        layer: any with a parameter `kernel`, such as `nnx.Linear` and `nnx.Conv`.
        rate: the probability of zero, in [0, 1); at 0 the plain layer, with no random
            number.
        per_example: False for one mask for the whole batch: cheap, and noisier, as the
            noise does not average over the batch.
        deterministic: True for evaluation; `.train()` and `.eval()` switch it.
        rng_collection: the stream of `rngs` to draw from.
        rngs: keys for calls that are given none.

    Raises:
        ValueError: if the layer has no kernel, `rate` is not in [0, 1), or, when called,
            inputs have no batch axis for masks per example.

    Examples:
        >>> init = {"kernel_init": nnx.initializers.ones, "rngs": nnx.Rngs(0)}
        >>> layer = nnx.Linear(4, 2, **init)
        >>> dropped = DropConnect(layer, 0.5, rngs=nnx.Rngs(0))
        >>> dropped(jnp.ones((3, 4))).shape
        (3, 2)
        >>> print(dropped(jnp.ones((1, 4)), deterministic=True))
        [[4. 4.]]

    Source: "Regularization of Neural Networks using DropConnect", Wan et al., 2013,
    section 3.
    """

    def __init__(
        self,
        layer: nnx.Module,
        rate: float,
        *,
        per_example: bool = True,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ):
        kernel_of(layer)
        self.layer: Any = layer
        self.per_example = per_example
        self.dropout = Dropout(
            rate,
            deterministic=deterministic,
            rng_collection=rng_collection,
            rngs=rngs,
        )

    def __call__(
        self,
        inputs: Array,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | PRNGKeyArray | None = None,
    ) -> Array:
        """Return what the layer does with the weights that are left.

        Args:
            inputs: [batch, ...], as the layer takes them.
            deterministic: goes before that of the constructor.
            rngs: keys, or one key; goes before that of the constructor.
        """
        if deterministic is None:
            deterministic = self.dropout.deterministic
        if deterministic or self.dropout.rate == 0:
            return self.layer(inputs)
        found = {name: getattr(self.layer, name, None) for name in ("kernel", "bias")}
        given = {name: x[...] for name, x in found.items() if x is not None}
        weights, unravel = ravel_pytree(given)

        def call(weights: Array, x: Array) -> Array:
            return replaced(self.layer, **unravel(weights))(x)

        if not self.per_example:
            left = self.dropout(weights, deterministic=deterministic, rngs=rngs)
            return call(left, inputs)
        if inputs.ndim < 2:
            raise ValueError(
                "inputs must have the batch as first axis for a mask per example, got"
                f" shape {list(inputs.shape)}; add the axis."
            )
        # The zeros lie on the devices as the inputs do, and so will the copies.
        zeros = jnp.zeros_like(inputs.reshape(inputs.shape[0], -1)[:, :1], weights.dtype)
        left = self.dropout(weights[None] + zeros, deterministic=deterministic, rngs=rngs)
        return jax.vmap(call)(left, inputs)

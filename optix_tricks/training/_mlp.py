"""A multilayer perceptron in flax.nnx: vectors to logits or to numbers."""

import math

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from optix_tricks._checks import check_count
from optix_tricks.training._parts import Part, call_norm, make_norm


class MLP(nnx.Module):
    """Layers that are all connected, with a ReLU after each but the last.

        x ← relu(norm(W x + b)),    `depth` times,    then W x + b

    An image is taken as the vector of its values.

    Helps tables, and as the least of baselines. Hurts images and text, of whose order it
    knows nothing. Cost: parameters without norms are (n + 1) w + (depth - 1) (w + 1) w +
    (w + 1) m, of n inputs, width w and m outputs.

    Beside others: deep ones want a norm, or `lsuv`; `dropout` before the last layer.

    Args:
      num_outputs: logits, or numbers of an example; None gives one number without an axis
        of its own.
      in_features: values of an example.
      width: of every hidden layer.
      depth: number of hidden layers; 0 leaves linear regression.
      norm: makes the normalisations; None leaves them out. See `make_norm`.
      dtype: of activations. Outputs are always float32.
      param_dtype: of the kernels and biases of hidden layers.
      rngs: for the initial kernels (He normal; LeCun normal of the last).

    Raises:
      ValueError: if `width` is less than 1 or `depth` less than 0.

    Examples:
      >>> model = MLP(3, in_features=4, width=8, rngs=nnx.Rngs(0))
      >>> model(jnp.ones((2, 4)), train=False).shape
      (2, 3)
      >>> number = MLP(None, in_features=4, rngs=nnx.Rngs(0))
      >>> number(jnp.ones((2, 4)), train=False).shape
      (2,)

    References:
      Rumelhart, Hinton and Williams, Learning representations by back-propagating errors,
      1986.
    """

    def __init__(
        self,
        num_outputs: int | None,
        *,
        in_features: int,
        width: int = 64,
        depth: int = 2,
        norm: Part | None = None,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_count("width", width, minimum=1)
        check_count("depth", depth)
        sizes = [in_features, *depth * [width]]
        self.dtype = dtype
        self.is_one = num_outputs is None
        self.hidden = nnx.List(
            nnx.Linear(
                n,
                width,
                kernel_init=nnx.initializers.he_normal(),
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            for n in sizes[:-1]
        )
        self.norms = nnx.List(
            make_norm(
                part,
                width,
                of_batches={"momentum": 0.9, "epsilon": 1e-5, "axis_name": None},
                scale_init=nnx.initializers.ones,
                dtype=dtype,
                rngs=rngs,
            )
            for part in ([] if norm is None else [norm] * depth)
        )
        self.head = nnx.Linear(sizes[-1], num_outputs or 1, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self, inputs: Num[Array, "batch ..."], *, train: bool
    ) -> Float[Array, "batch ..."]:
        """Return float32 outputs; `train` uses and updates batch statistics, if any."""
        x = inputs.reshape(len(inputs), math.prod(inputs.shape[1:])).astype(self.dtype)
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if self.norms:
                x = call_norm(self.norms[i], x, train=train)
            x = nnx.relu(x)
        outputs = self.head(x.astype(jnp.float32))
        return outputs[:, 0] if self.is_one else outputs

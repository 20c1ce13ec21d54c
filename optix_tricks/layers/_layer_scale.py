"""LayerScale: a small trained factor for each feature of a residual branch."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_number
from optix_tricks._tree import wide_dtype


class LayerScale(nnx.Module):
    """Multiply each feature of a residual branch by a trained factor that starts small.

        y = γ x,    γ = init_value at the start

    Called on the branch before the shortcut is added: `x + layer_scale(f(x))`. A block
    then starts near the identity, and the branch grows as it proves useful. γ is float32
    and the product is rounded once, to the dtype of x. γ is a vector, so that
    `no_bias_or_norm` leaves it out of weight decay, which would draw the branch back to
    nothing; with the mask the decay acts on the branch's kernels alone.

    Helps deep residual nets, transformers of over a dozen blocks first of all, whose
    branches at full size make the first steps unstable, and which stop gaining from more
    blocks without it. Does little for shallow nets, and for branches that end in a
    normalisation, whose own γ can start small or at zero. A small γ makes the branch's
    gradients small too: Adam divides that out, SGD does not. Cost: one product an element
    and a number a feature.

    Beside others: stands before `DropPath`. LARS and LAMB give a vector so small a step
    in proportion: leave it out of their ratio with `no_bias_or_norm`. `zero_gamma` is the
    same for branches that end in a norm.

    Args:
        num_features: length of the last axis.
        init_value: γ at the start, a finite number. The paper's are 0.1 up to 18 blocks,
            1e-5 up to 24, 1e-6 beyond; 0 gives blocks that start as the identity.
        param_dtype: of γ.

    Raises:
        ValueError: if an argument is out of its range; at the call, if x is not floating
            or has another number of features.

    Examples:
        >>> layer_scale = LayerScale(3, 0.1)
        >>> print(layer_scale(jnp.array([[1.0, -2.0, 30.0]])))
        [[ 0.1 -0.2  3. ]]

    Source: "Going deeper with Image Transformers", Touvron et al., 2021 (CaiT).
    """

    def __init__(
        self,
        num_features: int,
        init_value: int | float = 1e-5,
        *,
        param_dtype: DTypeLike = jnp.float32,
    ):
        check_count("num_features", num_features, minimum=1)
        check_number("init_value", init_value)
        self.num_features = num_features
        self.gamma = nnx.Param(jnp.full((num_features,), init_value, param_dtype))

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return y, of x's shape and dtype.

        Args:
            x: [..., num_features], floating.
        """
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"x must be floating, got {x.dtype}{list(x.shape)}; convert it first."
            )
        if x.ndim == 0 or x.shape[-1] != self.num_features:
            raise ValueError(
                f"x must have num_features={self.num_features} features on its last axis,"
                f" got shape {list(x.shape)}."
            )
        wide = wide_dtype(x.dtype)
        gamma = jnp.broadcast_to(self.gamma[...].astype(wide), x.shape)
        return (gamma * x.astype(wide)).astype(x.dtype)

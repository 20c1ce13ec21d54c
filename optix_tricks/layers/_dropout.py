"""Dropout of single values."""

from collections.abc import Sequence

from flax import nnx

from optix_tricks._checks import check_decay


class Dropout(nnx.Dropout):
    """Set values to zero at random in training, and scale the others up.

        y = m x / (1 - rate),    m ~ Bernoulli(1 - rate),    one for each value

    so that the mean over masks is x, and evaluation is the identity. It is `nnx.Dropout`
    but for the check of `rate`: there 1 gives zeros, and what is outside [0, 1] passes.

    Helps large layers that overfit, such as a classifier's last ones. Hurts before batch
    normalisation, whose statistics in evaluation are then not those of training, and in
    short runs. Cost: a random number for each value.

    Beside others: of branches: `DropPath`; of weights: `DropConnect`.

    Args:
        rate: the probability of zero, in [0, 1); at 0 the identity, without a random
            number.
        broadcast_dims: axes along which all values share a mask.
        deterministic: True for evaluation; `.train()` and `.eval()` switch it.
        rng_collection: the stream of `rngs` to draw from.
        rngs: keys for calls that are given none.

    Raises:
        ValueError: if `rate` is not in [0, 1).

    Examples:
        >>> import jax.numpy as jnp
        >>> dropout = Dropout(0.5, rngs=nnx.Rngs(0))
        >>> print(jnp.unique(dropout(jnp.ones(100))))
        [0. 2.]
        >>> print(dropout(jnp.ones(3), deterministic=True))
        [1. 1. 1.]

    Source: "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    Srivastava et al., 2014, with 0.5 in hidden layers, and the scale in evaluation.
    """

    def __init__(
        self,
        rate: float,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ):
        check_decay("rate", rate)
        super().__init__(
            rate,
            broadcast_dims=broadcast_dims,
            deterministic=deterministic,
            rng_collection=rng_collection,
            rngs=rngs,
        )

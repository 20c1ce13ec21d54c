"""A kernel divided by its largest singular value."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_positive
from optix_tricks.layers._kernel import kernel_of, replaced, widened

_FIRST_STEPS = 15  # of power iteration at construction, as PyTorch does


class SpectralNorm(nnx.Module):
    """Wrap a layer: its kernel is divided by its largest singular value.

        w = W / σ,    σ = uᵀ W v

    W is the kernel as a matrix [out, rest]. Its singular vectors u and v are followed by
    power iteration, from step to step, and taken as constants in the gradient:

        u = W v / ||W v||,    v = Wᵀ u / ||Wᵀ u||,    ∂σ/∂W = u vᵀ

    Computed in float32, or in float64 for a float64 kernel. W is the layer's parameter
    `kernel` and stays what the optimiser made it. u and v are `nnx.BatchStat`; they
    change in training and not in evaluation. A kernel of zeros stays zeros.

    Differs from `nnx.SpectralNorm`, which writes w into the layer's parameter at each
    call, so that the optimiser steps from there, and iterates in evaluation too: after
    three steps the kernel's direction is 10 % off the float64 formula, which had moved by
    5 % (flax 0.12.8, 0.12.12).

    Helps a critic of a GAN, and wherever a bounded Lipschitz constant is wanted. Hurts a
    classifier that needs the scale of its weights; it bounds the matrix, and for a
    convolution not exactly the operator. Cost: two products of W with a vector a step,
    one in evaluation, and the vectors.

    Beside others: followed by the trained gain of a norm layer, the bound is gone. In a
    penalty instead: `spectral_penalty`.

    Args:
        layer: any with a parameter `kernel` whose last axis is the output, such as
            `nnx.Linear` and `nnx.Conv`.
        n_steps: of power iteration in each call in training.
        epsilon: a σ, or a vector in the iteration, no longer than this counts as zero
            and divides nothing.
        update_stats: whether calls are those of training; `.train()` and `.eval()`
            switch it.
        rngs: draws the first v from `params`; 15 steps of iteration follow at once.

    Raises:
        ValueError: if the layer has no kernel, `n_steps` is less than 1, or `epsilon` is
            not positive.

    Examples:
        >>> rngs = nnx.Rngs(0)
        >>> normed = SpectralNorm(nnx.Linear(3, 3, use_bias=False, rngs=rngs), rngs=rngs)
        >>> w = normed(jnp.eye(3))
        >>> print(f"{jnp.linalg.norm(w, 2):.3f}")
        1.000

    Source: "Spectral Normalization for Generative Adversarial Networks", Miyato et al.,
    2018, section 2 and algorithm 1, with one step of iteration a call; the 15 at first
    are PyTorch's.
    """

    def __init__(
        self,
        layer: nnx.Module,
        *,
        n_steps: int = 1,
        epsilon: float = 1e-12,
        update_stats: bool = True,
        rngs: nnx.Rngs,
    ):
        check_count("n_steps", n_steps, minimum=1)
        check_positive("epsilon", epsilon)
        self.layer: Any = layer
        self.n_steps = n_steps
        self.epsilon = epsilon
        self.use_running_average = not update_stats
        w = as_matrix(widened(kernel_of(layer)))
        u = jnp.zeros(w.shape[0], w.dtype)
        v = jax.random.normal(rngs.params(), w.shape[1:], w.dtype)
        u, v = power_iteration(w, u, v, n_steps=_FIRST_STEPS, epsilon=epsilon)
        self.u, self.v = nnx.BatchStat(u), nnx.BatchStat(v)

    def __call__(
        self, *args: Any, update_stats: bool | None = None, **kwargs: Any
    ) -> Any:
        """Return what the layer does with the kernel w.

        Args:
            *args: of the layer.
            update_stats: whether this is training: iterate, and keep u and v.
            **kwargs: of the layer.
        """
        if update_stats is None:
            update_stats = not self.use_running_average
        kernel = widened(self.layer.kernel)
        w, u, v = as_matrix(kernel), self.u[...], self.v[...]
        if update_stats:
            u, v = power_iteration(w, u, v, n_steps=self.n_steps, epsilon=self.epsilon)
            self.u[...], self.v[...] = u, v
        sigma = product(u, product(w, v))
        divisor = jnp.where(sigma > self.epsilon, sigma, 1)
        return replaced(self.layer, kernel=kernel / divisor)(*args, **kwargs)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Set the mode in a view of the module, for `nnx.view`.

        Args:
            use_running_average: if True, u and v stay as they are.
        """
        if use_running_average is not None:
            self.use_running_average = use_running_average


def as_matrix(kernel: Array) -> Float[Array, "out rest"]:
    """Return a kernel [..., out] as the matrix that multiplies a column."""
    return kernel.reshape(-1, kernel.shape[-1]).T


def power_iteration(
    w: Float[Array, "out rest"],
    u: Float[Array, " out"],
    v: Float[Array, " rest"],
    *,
    n_steps: int,
    epsilon: float,
) -> tuple[Float[Array, " out"], Float[Array, " rest"]]:
    """Return singular vectors nearer to the first ones, as constants.

    A vector no longer than `epsilon` after a product is not followed.
    """

    def unit(x: Array, otherwise: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(x**2))
        return jnp.where(norm > epsilon, x / jnp.maximum(norm, epsilon), otherwise)

    w = lax.stop_gradient(w)
    for _ in range(n_steps):
        u = unit(product(w, v), u)
        v = unit(product(u, w), v)
    return u, v


def product(a: Array, b: Array) -> Array:
    """Return a matrix product in full precision, on every device."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

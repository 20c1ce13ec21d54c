"""Initialisers and nonlinearities compared by what a deep plain net does to variances."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from optix_tricks._checks import check_count
from optix_tricks.initializers._depth import variance
from optix_tricks.initializers._fans import glorot_normal, he_normal
from optix_tricks.initializers._standard import normal, orthogonal

Nonlinearity = Callable[[Array], Array]

INITIALIZERS: Mapping[str, Any] = {
    "normal, std 0.01": normal(0.01),
    "Glorot normal": glorot_normal(),
    "He normal": he_normal(),
    "orthogonal": orthogonal(),
}
NONLINEARITIES: Mapping[str, Nonlinearity] = {
    "tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "leaky ReLU": functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
    "GELU": functools.partial(jax.nn.gelu, approximate=False),
    "SELU": jax.nn.selu,
}


class InitializerComparison(NamedTuple):
    """Variances by nonlinearity, initialiser and layer; the names in that order."""

    nonlinearities: tuple[str, ...]
    initializers: tuple[str, ...]
    activation: Float[Array, "nonlinearities initializers depth"]
    gradient: Float[Array, "nonlinearities initializers depth"]


def compare_initializers(
    key: PRNGKeyArray | Array,
    *,
    initializers: Mapping[str, Callable[..., Any]] = INITIALIZERS,
    nonlinearities: Mapping[str, Nonlinearity] = NONLINEARITIES,
    depth: int = 50,
    width: int = 256,
    batch_size: int = 256,
) -> InitializerComparison:
    """Send a batch and a gradient through deep plain nets, and return their variances.

        z_l = W_l φ(z_{l-1}),    z_0 normal;    δ_l = ∂(r · z_depth)/∂z_l,    r normal
        activation_l = Var z_l,    gradient_l = Var δ_l,    l = 1 ... depth

    A net of dense layers of one width without biases, for each initialiser of W and
    each nonlinearity φ, with the same random numbers for all. Both variances start at
    about 1, at z_0 and at δ_depth. A convolution of kernel size k and c channels acts
    as a dense layer of width k² c, but for its borders. Fans in and out are equal here:
    Glorot's, LeCun's and uniform unit scaling's are one.

    Helps to choose an initialiser for a nonlinearity before anything is trained. Does
    little to choose one for a net with norms or residual branches: measure the net
    itself by `variance_by_depth`. Cost: one compilation each nonlinearity, forward and
    backward passes of all nets; memory for initializers x depth x width² weights.

    Beside others: `optix_tricks.reports.plot_initializers` draws what it returns.

    Args:
        key: of weights, inputs and gradients.
        initializers: by name.
        nonlinearities: by name, elementwise.
        depth: layers.
        width: of each layer.
        batch_size: examples.

    Returns:
        Names and variances, float32: below 1e-38 they are 0.

    Raises:
        ValueError: if there is no initialiser or no nonlinearity, or a number is not
            a whole one of at least 1.

    Examples:
        >>> both = compare_initializers(
        ...     jax.random.key(0),
        ...     initializers={"He": he_normal(), "Glorot": glorot_normal()},
        ...     nonlinearities={"ReLU": jax.nn.relu},
        ...     depth=20,
        ... )
        >>> for name, variances in zip(both.initializers, both.activation[0]):
        ...     print(f"{name}: {variances[0]:.1f} ... {variances[-1]:.0e}")
        He: 1.0 ... 6e-01
        Glorot: 0.5 ... 5e-07

    Source: "Delving Deep into Rectifiers", He et al., 2015, section 2.2; "Understanding
    the Difficulty of Training Deep Feedforward Neural Networks", Glorot and Bengio,
    2010, section 4.2.
    """
    for name, count in (("depth", depth), ("width", width), ("batch_size", batch_size)):
        check_count(name, count, minimum=1)
    for name, given in (
        ("initializers", initializers),
        ("nonlinearities", nonlinearities),
    ):
        if not given:
            raise ValueError(f"{name} must name at least one, got {{}}.")
    of_weights, of_input, of_gradient = jax.random.split(key, 3)
    keys = jax.random.split(of_weights, depth)
    draws = [jax.vmap(lambda k, w=w: w(k, (width, width))) for w in initializers.values()]
    weights = jnp.stack([jax.jit(draw)(keys) for draw in draws])
    x = jax.random.normal(of_input, (batch_size, width))
    r = jax.random.normal(of_gradient, (batch_size, width))
    nets = [
        jax.vmap(functools.partial(_propagate, phi), in_axes=(0, None, None))
        for phi in nonlinearities.values()
    ]
    measured = [jax.jit(net)(weights, x, r) for net in nets]
    activation, gradient = (jnp.stack(rows) for rows in zip(*measured, strict=True))
    return InitializerComparison(
        tuple(nonlinearities), tuple(initializers), activation, gradient
    )


def _propagate(
    phi: Nonlinearity, weights: Array, x: Array, r: Array
) -> tuple[Float[Array, " depth"], Float[Array, " depth"]]:
    def objective(shifts: Array) -> tuple[Array, Array]:
        def layer(z: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            w, shift = inputs
            z = phi(z) @ w + shift
            return z, variance(z)

        z, activation = jax.lax.scan(layer, x, (weights, shifts))
        return jnp.sum(r * z), activation

    shifts = jnp.zeros((len(weights), *x.shape))
    gradients, activation = jax.grad(objective, has_aux=True)(shifts)
    return activation, jax.vmap(variance)(gradients)

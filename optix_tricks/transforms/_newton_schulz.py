"""Newton-Schulz: an update's singular values are brought near one, as in Muon."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array

from optix_tricks._checks import check_count, check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask, safe_sqrt

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class ScaleByNewtonSchulzState(NamedTuple):
    """State of `scale_by_newton_schulz`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # eps


def scale_by_newton_schulz(
    *,
    ns_steps: int = 5,
    ns_coeffs: tuple[float, float, float] = COEFFICIENTS,
    eps: ScalarOrSchedule = 1e-7,
    compute_dtype: DTypeLike | None = None,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each update by a matrix of its directions, all of about the same length.

    .. math::
        X_0 &= G / (|G| + \epsilon), \qquad A_k = X_k X_k^\top \\
        X_{k+1} &= a X_k + (b A_k + c A_k^2) X_k, \qquad u = X_K

    for the matrix :math:`G`, outputs by inputs, of every update of at least two axes: a
    kernel of a convolution is one matrix of its outputs by all the rest. With :math:`G =
    U S V^\top` the steps leave :math:`U` and :math:`V` as they are and bring each
    singular value to between 0.7 and 1.2 in five steps, unless it is below a hundredth of
    the norm. Biases, scales and scalars pass unchanged.

    Behind `trace` it makes Muon. Optax's `scale_by_muon` has the momentum in it, averaged
    and corrected for its start as Nadam's; here it is any link. Helps hidden matrices and
    kernels, whose gradients lie in a few directions; hurts where rows have a meaning of
    their own, as in embeddings and last layers. The gradient's length is lost, so that
    the rate must fall.

    Args:
      ns_steps: :math:`K` >= 0.
      ns_coeffs: :math:`(a, b, c)`.
      eps: :math:`\epsilon` > 0.
      compute_dtype: of the products, float32 by default; bfloat16 is enough, and faster
        on accelerators.
      mask: which leaves; the others pass unchanged.

    Returns:
      A transformation; no slots; :math:`4 K m^2 n + 2 K m^3` operations for a matrix of
      :math:`m \le n`.

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> import optix_tricks as ot
      >>> tx = optax.chain(ot.trace(0.9, nesterov=True), ot.scale_by_newton_schulz())
      >>> grads = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0]])
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> lengths = jnp.linalg.svd(updates, compute_uv=False)
      >>> print((lengths > 0.6) & (lengths < 1.3))
      [ True  True]

    References:
      Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """
    check_count("ns_steps", ns_steps)
    check_positive("eps", eps)
    a, b, c = ns_coeffs

    def orthogonalize(leaf: Any, g: Array, eps: Array) -> tuple[Array]:
        if g.ndim < 2 or g.size == 0:
            return (g,)
        matrix = g.reshape(-1, g.shape[-1])  # inputs by outputs
        wide = matrix.shape[0] < matrix.shape[1]
        x = matrix if wide else matrix.T
        x = (x / (safe_sqrt(jnp.sum(jnp.square(x))) + eps)).astype(
            compute_dtype or g.dtype
        )
        for _ in range(ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return ((x if wide else x.T).reshape(g.shape).astype(g.dtype),)

    def rule(g: Array, w: Array | None, *, eps: Array, layer: Any) -> tuple[Array]:
        return layer.map(lambda leaf, g: orthogonalize(leaf, g, eps), g)

    return leafwise(
        rule,
        ScaleByNewtonSchulzState,
        hyperparams={"eps": eps},
        mask=mask,
        layerwise=True,
    )

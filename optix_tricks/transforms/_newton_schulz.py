"""Newton-Schulz: an update's singular values are brought near one, as in Muon."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array

from optix_tricks._checks import check_count, check_positive
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import leafwise
from optix_tricks._tree import Mask, safe_sqrt
from optix_tricks.transforms._explicit import placed_by_compiler

Coefficients = tuple[float, float, float]
COEFFICIENTS: Coefficients = (3.4445, -4.7750, 2.0315)
Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]


class ScaleByNewtonSchulzState(NamedTuple):
    """State of `scale_by_newton_schulz`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # eps


def scale_by_newton_schulz(
    *,
    ns_steps: int = 5,
    ns_coeffs: Coefficients | tuple[Coefficients, ...] = COEFFICIENTS,
    eps: ScalarOrSchedule = 1e-7,
    preconditioning: Preconditioning = "frobenius",
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
      ns_coeffs: :math:`(a, b, c)`, or one triple for each step, of which the last
        `ns_steps` are taken.
      eps: :math:`\epsilon` > 0.
      preconditioning: what :math:`X_0` is. "frobenius": as above. "spectral":
        :math:`G` over its largest singular value, which costs a decomposition. "aol":
        each row over the root of the sum of :math:`|G G^\top|` along it, where rows are
        the fewer of inputs and outputs. "schatten":
        :math:`G / |G G^\top|^{1/2}`. The last two are mostly longer than the first, for
        one more product; their authors save a step by it.
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
      Boissin et al., Turbo-Muon: accelerating orthogonality-based optimization with
      pre-conditioning, 2025 ("aol").
      Grishina et al., Accelerating Newton-Schulz iteration for orthogonalization via
      Chebyshev-type polynomials, 2025 ("schatten").
    """
    check_count("ns_steps", ns_steps)
    check_positive("eps", eps)
    steps = _of_each_step(ns_coeffs, ns_steps)

    def orthogonalize(g: Array, eps: Array) -> Array:
        matrix = g.reshape(-1, g.shape[-1])  # inputs by outputs
        wide = matrix.shape[0] < matrix.shape[1]
        x = matrix if wide else matrix.T
        x = _begin(x, eps, preconditioning).astype(compute_dtype or g.dtype)
        for a, b, c in steps:
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return (x if wide else x.T).reshape(g.shape).astype(g.dtype)

    def rule(g: Array, w: Array | None, *, eps: Array, layer: Any) -> tuple[Array]:
        def of_layer(leaf: Any, g: Array) -> tuple[Array]:
            if g.ndim < 2 or g.size == 0:
                return (g,)
            return (placed_by_compiler(orthogonalize, g, eps),)

        return layer.map(of_layer, g)

    return leafwise(
        rule,
        ScaleByNewtonSchulzState,
        hyperparams={"eps": eps},
        mask=mask,
        layerwise=True,
    )


def _of_each_step(ns_coeffs: Any, ns_steps: int) -> list[Coefficients]:
    if not isinstance(ns_coeffs[0], (tuple, list)):
        return [ns_coeffs] * ns_steps
    if len(ns_coeffs) < ns_steps:
        raise ValueError(
            f"ns_coeffs must have a triple for each of {ns_steps} steps, got "
            f"{len(ns_coeffs)}: give more, or a smaller ns_steps."
        )
    return list(ns_coeffs)[len(ns_coeffs) - ns_steps :]


def _begin(x: Array, eps: Array, preconditioning: Preconditioning) -> Array:
    """Scale a matrix so that its largest singular value is about one or less."""
    if preconditioning == "frobenius":
        return x / (safe_sqrt(jnp.sum(jnp.square(x))) + eps)
    if preconditioning == "spectral":
        return x / (jnp.linalg.norm(x, ord=2) + eps)
    gram = x @ x.T
    if preconditioning == "aol":
        size = jnp.sum(jnp.abs(gram), axis=1, keepdims=True)
    else:
        size = safe_sqrt(jnp.sum(jnp.square(gram)))
    return x / safe_sqrt(jnp.maximum(size, eps))

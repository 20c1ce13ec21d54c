"""Learning from the outputs of another network."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from optix_tricks._checks import check_fraction, check_number, check_positive
from optix_tricks._paths import Number
from optix_tricks._tree import widen
from optix_tricks.losses._cross_entropy import cross_entropy
from optix_tricks.losses._labels import Labels, Logits


def distillation(
    logits: Logits,
    labels: Labels,
    teacher_logits: Logits,
    *,
    temperature: Number,
    alpha: Number,
    label_smoothing: Number = 0.0,
) -> Float[Array, "*batch"]:
    """Return the loss of a student against labels and a teacher, per example.

        loss = α cross_entropy + (1 - α) T² KL(q || p)
        p = softmax(logits / T),    q = softmax(teacher_logits / T)

    T² keeps the gradient of the second term in size as T changes. It is the divergence
    rather than the cross-entropy to q, so that it is zero where the student is the
    teacher; the gradient is the same. None flows into the teacher. With `alpha=1` it is
    `cross_entropy`; with less it is infinite where a logit of -inf masks a class out that
    the teacher does not.

    Helps a small net beside a large one or an ensemble, most where labels are few: 74
    test errors on MNIST in place of 146, with a teacher of 67 (Hinton et al.). Does
    little for a student that could be as large, and trained as long, itself. Hurts with a
    teacher trained with label smoothing, which has unlearnt how classes resemble each
    other. Cost: one more pass over the logits, and the teacher's forward pass.

    Beside others: give the teacher the images as they are augmented for the student.
    Outputs may be in bfloat16; both are widened.

    Args:
        logits: of the student.
        labels: integers in [0, K), or floats: a distribution over the classes.
        teacher_logits: of the same shape as `logits`.
        temperature: T > 0, a number or a scalar array; above 1 it shows the small
            probabilities.
        alpha: weight of the labels, in [0, 1].
        label_smoothing: s in [0, 1], of the cross-entropy; not of the teacher.

    Returns:
        One loss per example, in nats. Averaging is the caller's.

    Raises:
        ValueError: as `cross_entropy`, or if `teacher_logits` have another shape or are
            not floating, or a number is out of its range.

    Examples:
        >>> teacher, labels = jnp.array([[3.0, 1.0, 0.0]]), jnp.array([0])
        >>> print(distillation(teacher, labels, teacher, temperature=4.0, alpha=0.0))
        [0.]
        >>> student = jnp.zeros((1, 3))
        >>> loss = distillation(student, labels, teacher, temperature=4.0, alpha=0.1)
        >>> print(f"{loss[0]:.4f}")
        0.8368

    Source: "Distilling the Knowledge in a Neural Network", Hinton, Vinyals and Dean,
    2015, section 2, which advises much less weight on the labels.
    """
    check_number("temperature", temperature)
    check_positive("temperature", temperature)
    check_fraction("alpha", alpha)
    hard = cross_entropy(logits, labels, label_smoothing=label_smoothing)
    is_floating = jnp.issubdtype(teacher_logits.dtype, jnp.floating)
    if teacher_logits.shape != logits.shape or not is_floating:
        raise ValueError(
            f"teacher_logits must be floating of the shape {list(logits.shape)} of the"
            f" logits, got {teacher_logits.dtype}{list(teacher_logits.shape)}; both nets"
            " must have the same classes."
        )
    t = jnp.asarray(temperature, hard.dtype)
    log_p = jax.nn.log_softmax(widen(logits) / t)
    log_q = jax.nn.log_softmax(jax.lax.stop_gradient(teacher_logits).astype(t.dtype) / t)
    soft = t**2 * _divergence(log_q, log_p)
    a = jnp.asarray(alpha, hard.dtype)
    return jnp.where(a == 0, 0, a * hard) + jnp.where(a == 1, 0, (1 - a) * soft)


def _divergence(log_q: Logits, log_p: Logits) -> Float[Array, "*batch"]:
    """Return KL(q || p) as a sum of terms that are not negative.

        KL = Σ_k q_k (exp(d_k) - 1 - d_k),    d = log p - log q

    Σ q d alone has terms of either sign, which cancel where p is near q. Near 0 the term
    is taken from expm1, and elsewhere as p - q - q d, where exp(d) could overflow.
    """
    q, p = jnp.exp(log_q), jnp.exp(log_p)
    d = jnp.where(q == 0, 0, log_p - log_q)
    near = (q > 0) & (jnp.abs(d) < 1)
    small = jnp.where(near, d, 0)
    terms = jnp.where(near, q * (jnp.expm1(small) - small), p - q - q * d)
    return jnp.sum(terms, axis=-1)

"""Two images in one: the result of mixup and CutMix, and how its loss is taken."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Num, PRNGKeyArray

from optix_tricks._checks import check_count, check_nonnegative
from optix_tricks._tree import wide_dtype
from optix_tricks.augment._images import Images

Labels = Integer[Array, " batch"] | Float[Array, "batch classes"]


class Mixed(NamedTuple):
    """Images that show two classes, and the share of each.

        loss = lam · loss(y_a) + (1 - lam) · loss(y_b)

    It unpacks as `x, y_a, y_b, lam`. For a loss that is linear in the label, such as the
    cross-entropy, with or without label smoothing, `loss` and the loss of `dense` are
    equal; with others, such as a squared error, they differ.

    Helps wherever two labels meet in one image; does little where `lam` is 1.
    Cost: `loss` calls the loss twice, on the same logits; `dense` is
    [batch, classes] numbers.

    Beside others: `dense` goes to losses that take distributions, `loss` to those that
    take one label only.

    Attributes:
        images: [batch, height, width, channel].
        labels_a: [batch] integers or [batch, classes] floats: those of the images.
        labels_b: the same, of the images mixed in.
        lam: [batch], in [0, 1], the share of `labels_a`.

    Raises:
        ValueError: by `dense`, if `num_classes` does not fit the labels.

    Examples:
        >>> mixed = Mixed(
        ...     images=jnp.zeros((2, 8, 8, 3)),
        ...     labels_a=jnp.array([0, 1]),
        ...     labels_b=jnp.array([2, 1]),
        ...     lam=jnp.array([0.75, 0.5]),
        ... )
        >>> print(mixed.dense(3))
        [[0.75 0.   0.25]
         [0.   1.   0.  ]]

    Source: "mixup: Beyond Empirical Risk Minimization", Zhang et al., 2018, section 2.
    """

    images: Num[Array, "*keys batch height width channel"]
    labels_a: Num[Array, "*labels"]
    labels_b: Num[Array, "*labels"]
    lam: Float[Array, "*keys batch"]

    def dense(self, num_classes: int) -> Float[Array, "*batch {num_classes}"]:
        """Return the labels as a distribution over the classes, in the dtype of `lam`.

        An integer label outside [0, num_classes) raises where its value is known, and
        makes its row NaN where it is traced.
        """
        check_count("num_classes", num_classes, minimum=1)
        y_a = _distribution(self.labels_a, num_classes, self.lam.dtype)
        y_b = _distribution(self.labels_b, num_classes, self.lam.dtype)
        lam = self.lam[..., None]
        return lam * y_a + (1 - lam) * y_b

    def loss(
        self, loss_fn: Callable[[Any, Any], Array], logits: Any
    ) -> Float[Array, "*batch"]:
        """Return lam · loss_fn(logits, labels_a) + (1 - lam) · loss_fn(logits, labels_b).

        `loss_fn(logits, labels)` gives one loss per example, as those of
        `optix_tricks.losses` do.
        """
        loss_a, loss_b = (loss_fn(logits, y) for y in (self.labels_a, self.labels_b))
        return self.lam * loss_a + (1 - self.lam) * loss_b


def _distribution(labels: Array, num_classes: int, dtype: Any) -> Array:
    if jnp.issubdtype(labels.dtype, jnp.floating):
        if labels.shape[-1] != num_classes:
            raise ValueError(
                f"num_classes must be {labels.shape[-1]}, the last axis of the labels,"
                f" got {num_classes}."
            )
        return labels.astype(dtype)
    if not isinstance(labels, jax.core.Tracer):
        known = np.asarray(labels, int)
        wrong = known[(known < 0) | (known >= num_classes)]
        if wrong.size:
            raise ValueError(
                f"labels must be in [0, {num_classes}), got {wrong[0]};"
                " pass the data set's number of classes."
            )
    labels = labels.astype(int)  # 256 classes are not a number in uint8
    outside = (labels < 0) | (labels >= num_classes)
    one_hot = jax.nn.one_hot(labels, num_classes, dtype=dtype)
    return jnp.where(outside[..., None], jnp.nan, one_hot)


def check_labels(images: Images, labels: Any) -> None:
    """Raise unless `labels` are one integer, or one distribution, for each image.

    >>> check_labels(jnp.zeros((4, 8, 8, 3)), jnp.zeros(5, int))
    Traceback (most recent call last):
    ValueError: labels must be integers of shape [4] or floating of shape [4, classes],
    got int32[5].
    """
    batch = images.shape[0]
    by_index = jnp.issubdtype(labels.dtype, jnp.integer) and labels.ndim == 1
    dense = jnp.issubdtype(labels.dtype, jnp.floating) and labels.ndim == 2
    if not (by_index or dense) or labels.shape[0] != batch:
        raise ValueError(
            f"labels must be integers of shape [{batch}] or floating of shape"
            f" [{batch}, classes], got {labels.dtype}{list(labels.shape)}."
        )


def draw_lam(
    key: PRNGKeyArray, images: Images, alpha: ArrayLike
) -> Float[Array, " batch"]:
    """Draw lam ~ Beta(alpha, alpha) for each image; 1 at alpha = 0, where Beta is NaN."""
    check_nonnegative("alpha", alpha)
    dtype = wide_dtype(images.dtype)
    alpha = jnp.asarray(alpha, dtype)
    positive = jnp.where(alpha > 0, alpha, 1)
    lam = jax.random.beta(key, positive, positive, images.shape[:1], dtype)
    return jnp.where(alpha > 0, lam, 1)


def permuted(x: Array, order: Integer[Array, " batch"]) -> Array:
    """Return x[order] with the sharding of x, which explicit mesh axes want named."""
    x = jnp.asarray(x)
    return x.at[order].get(out_sharding=jax.typeof(x).sharding, mode="promise_in_bounds")

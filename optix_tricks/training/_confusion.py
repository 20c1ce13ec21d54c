"""Which class is taken for which."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from optix_tricks.training._dataset import Dataset

MOST_CLASSES = 100  # of which a matrix is still looked at


def confusion_matrix(
    outputs: Float[Array, "batch classes"],
    targets: Int[Array, " batch"],
    weights: Num[Array, " batch"] | None = None,
) -> Int[Array, "classes classes"]:
    """Count examples by their class and by the one of their largest output.

        C_jk = |{i : y_i = j, argmax_c z_ic = k}|

    Args:
      outputs: z.
      targets: y; a class outside of those that there are is not counted.
      weights: of the examples; those of weight 0 are not counted.

    Examples:
      >>> z = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 4.0]])
      >>> print(confusion_matrix(z, jnp.array([0, 1, 0])))
      [[1 1]
       [0 1]]
    """
    classes = outputs.shape[-1]
    counted = (targets >= 0) & (targets < classes)
    if weights is not None:
        counted = counted & (weights != 0)
    places = jnp.where(counted, targets, classes), jnp.argmax(outputs, axis=-1)
    matrix = jnp.zeros((classes, classes), jnp.int32)
    return matrix.at[places].add(1, mode="drop")


def has_matrix(dataset: Dataset) -> bool:
    """Whether the targets are one of a few classes each, and a matrix says something."""
    targets = dataset.test.targets
    is_one = getattr(targets, "ndim", None) == 1
    few = 2 <= dataset.num_classes <= MOST_CLASSES
    return is_one and few and np.issubdtype(targets.dtype, np.integer)

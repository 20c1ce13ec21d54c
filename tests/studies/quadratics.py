"""A network whose loss is a quadratic of known curvature."""

import jax.numpy as jnp
import numpy as np

H = np.linspace(0.5, 4.0, 12, dtype=np.float32)


def quadratic(params, batch_stats, images, *, train, key=None):
    """A loss whose gradient is H (w - x); its outputs are sqrt(H) (w - x)."""
    x = images.reshape(len(images), -1) / 255
    return jnp.sqrt(H)[None] * (params["kernel"].reshape(1, -1) - x), batch_stats


def half_square(logits, labels):
    return jnp.sum(logits**2, axis=-1) / 2

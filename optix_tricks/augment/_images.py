"""What all augmentations share: the check of the images, and how draws are laid out."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, UInt8

Images = (
    UInt8[Array, "batch height width channel"]
    | Float[Array, "batch height width channel"]
)


def check_images(images: Array) -> None:
    """Raise unless `images` are [batch, height, width, channel], uint8 or floating.

    >>> check_images(jnp.zeros((32, 32, 3)))
    Traceback (most recent call last):
    ValueError: images must be [batch, height, width, channel], got shape [32, 32, 3];
    add an axis to a single image.
    """
    if images.ndim != 4:
        raise ValueError(
            "images must be [batch, height, width, channel],"
            f" got shape {list(images.shape)}; add an axis to a single image."
        )
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images must be uint8 or floating, got {images.dtype};"
            " convert them with astype."
        )


def lay_out_like(
    images: Images, draws: Integer[Array, "batch numbers"]
) -> Integer[Array, "batch numbers"]:
    """Return `draws` sharded over the batch as `images` are, their values unchanged.

    `jax.vmap` wants that of all that it maps over, where a mesh's axes are explicit. A
    sum takes its sharding from both operands; the compiler drops the zeros.
    """
    return draws + jnp.zeros_like(images[:, :1, 0, 0], draws.dtype)

"""What is done to gradients or updates besides scaling and clipping; groups."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from cases.row import Case


def by_rank(tree: Any) -> Any:
    return jax.tree.map(lambda x: "kernels" if jnp.ndim(x) > 1 else "others", tree)


def rank(tree: Any) -> Any:
    return jax.tree.map(jnp.ndim, tree)


def scale_by_group(
    *, scale_kernels: Any, scale_others: Any, mask: Any = None
) -> optax.GradientTransformationExtraArgs:
    """The scales as arguments, by the names under which the state keeps them."""
    scales = {"kernels": scale_kernels, "others": scale_others}
    return ot.scale_by_group(scales, by_rank, mask=mask)


LINKS = [
    Case(
        "centralize",
        ot.centralize,
        {},
        {"output_axis": -1},
        twin=optax.centralize,
        twin_at={"output_axis": 0},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_newton_schulz",
        ot.scale_by_newton_schulz,
        {"eps": 1e-3},
        {"ns_steps": 2},
        neutral={"mask": False},
    ),
    Case(
        "normalize_weights",
        ot.normalize_weights,
        {},
        neutral={"mask": False},
    ),
    Case(
        "add_noise",
        ot.add_noise,
        {"eta": 0.5, "gamma": 0.55},
        {"key": jax.random.key(7)},
        neutral={"eta": 0.0},
    ),
    Case(
        "delayed_gradients",
        ot.delayed_gradients,
        {},
        {"steps": 2},
        neutral={"steps": 0},
    ),
    Case(
        "delayed_gradients_at_random",
        ot.delayed_gradients,
        {},
        {"steps": 2, "key": jax.random.key(5)},
        neutral={"steps": 0},
    ),
    Case(
        "scale_by_group",
        scale_by_group,
        {"scale_kernels": 0.5, "scale_others": 2.0},
        neutral={"scale_kernels": 1.0, "scale_others": 1.0},
    ),
    Case(
        "layerwise_learning_rate_decay",
        ot.layerwise_learning_rate_decay,
        {"decay": 0.7},
        {"depth": rank},
        neutral={"decay": 1.0},
    ),
]

OPTIMISERS: list[Case] = []

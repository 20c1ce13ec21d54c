"""The experiments on weight decay at toy size."""

import jax

from optix_tricks.studies._weight_norm import Config

TOY = Config(
    dataset="digits",
    width=2,
    batch_size=64,
    epochs=1,
    constant_steps=44,
    sweep_width=2,
    sweep_epochs=1,
    seeds=1,
)


def paths(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]

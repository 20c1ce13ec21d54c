"""In which order a network uses its layers; a tree of parameters has the alphabet's."""

import jax
from jaxtyping import Array, Num

from optix_tricks._tree import PyTree, path_name
from optix_tricks.training.loop import Job


def kernels_in_order(
    job: Job, images: Num[Array, "batch height width channel"]
) -> dict[str, int]:
    """Return the kernels' names, by first use in a call, and their places in the tree."""

    def forward(params: PyTree) -> Array:
        return job.apply(params, job.batch_stats, images, train=False)[0]

    paths, leaves = zip(*jax.tree_util.tree_flatten_with_path(job.params)[0], strict=True)
    program = jax.make_jaxpr(forward)(job.params).jaxpr
    used = [variable for line in program.eqns for variable in line.invars]
    first_use = {id(variable): place for place, variable in reversed([*enumerate(used)])}
    places = [place for place, leaf in enumerate(leaves) if leaf.ndim > 1]
    places.sort(key=lambda place: first_use.get(id(program.invars[place]), len(used)))
    return {path_name(paths[place]): place for place in places}

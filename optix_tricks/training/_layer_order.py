"""In which order a network uses its layers; a tree of parameters has the alphabet's."""

import jax

from optix_tricks._paths import Arrays, Examples, named_leaves
from optix_tricks._tree import PyTree
from optix_tricks.training._state import Apply


def kernels_in_order(
    apply: Apply, params: Arrays, batch_stats: Arrays, inputs: Examples
) -> dict[str, int]:
    """Return the kernels' names, by first use in a call, and their places in the tree."""

    def forward(params: Arrays) -> PyTree:
        return apply(params, batch_stats, inputs, train=False)[0]

    leaves = named_leaves(params)
    program = jax.make_jaxpr(forward)(params).jaxpr
    used = [variable for line in program.eqns for variable in line.invars]
    first_use = {id(variable): place for place, variable in reversed([*enumerate(used)])}
    places = [place for place, leaf in enumerate(leaves) if leaf.value.ndim > 1]
    places.sort(key=lambda place: first_use.get(id(program.invars[place]), len(used)))
    return {leaves[place].name: place for place in places}

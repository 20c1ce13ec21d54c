"""Curvature block by block: what each layer sees if the others stand still."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._checks import check_count
from optix_tricks._paths import Arrays, named_leaves
from optix_tricks.dynamics.curvature._condition import ConditionNumber, condition_number
from optix_tricks.dynamics.curvature._products import Operator, check_operator
from optix_tricks.dynamics.curvature._trace import CurvatureEstimate, curvature_trace


class BlockCurvature(NamedTuple):
    """Curvatures of the diagonal blocks, in the order of the tree; arrays [blocks]."""

    blocks: tuple[str, ...]  # names: a leaf's path, or the start of it
    sizes: tuple[int, ...]  # parameters
    condition: ConditionNumber  # with the largest and smallest eigenvalues
    trace: CurvatureEstimate


def block_curvature(
    matvec: Operator,
    like: Arrays,
    *,
    depth: int | None = None,
    num_matvecs: int = 20,
    num_probes: int = 10,
    key: Array,
) -> BlockCurvature:
    """Measure the diagonal blocks of a symmetric operator, one layer after the other.

        H_bb = E_b' H E_b,    E_b the columns of the identity that belong to block b

    Eigenvalues of H_bb lie within those of H (interlacing): a layer with a large λ_max
    alone forces a small learning rate on all, one whose trace is small learns slowly.

    Helps to choose learning rates by layer, to find the stiff one. Hurts where layers
    act together: the cross blocks are not seen, and H may be indefinite though all its
    blocks are positive definite.
    Cost: `num_matvecs` + 2 + `num_probes` products of the whole operator for each block,
    two to three gradients each, and one compilation for each size of block.

    Args:
        matvec: symmetric, from trees like `like` to such trees.
        like: a tree of the parameters' shapes; values are not read.
        depth: how many parts of a path name a block: 1 takes "conv1/kernel" and
            "conv1/bias" together. None makes each leaf a block.
        num_matvecs: for each block, as in `eigenpairs`.
        num_probes: for each block, as in `curvature_trace`.
        key: of all random vectors.

    Returns:
        Names, sizes, condition numbers with eigenvalues, and traces.

    Raises:
        ValueError: if `depth` is not positive.

    Examples:
        >>> from optix_tricks.dynamics import hessian_operator
        >>> def loss(w):
        ...     conv = jnp.sum(w["conv"]["kernel"] ** 2) + w["conv"]["bias"] ** 2
        ...     return 3 * conv + conv * jnp.sum(w["head"]) + w["head"][0] ** 2
        >>> w = {"conv": {"bias": jnp.zeros(()), "kernel": jnp.zeros(3)}}
        >>> w = {**w, "head": jnp.zeros(2)}
        >>> matvec = hessian_operator(loss, w)
        >>> found = block_curvature(matvec, w, depth=1, key=jax.random.key(0))
        >>> print(found.blocks, found.condition.largest.round(4), found.trace.value)
        ('conv', 'head') [6. 2.] [24.  2.]

    Source: "Why Transformers Need Adam: A Hessian Perspective", Zhang et al., 2024,
    section 2.
    """
    check_operator(matvec, like)
    if depth is not None:
        check_count("depth", depth, minimum=1)
    names = ["/".join(leaf.name.split("/")[:depth]) for leaf in named_leaves(like)]
    leaves, structure = jax.tree.flatten(like)

    conditions, traces, sizes = [], [], []
    for i, block in enumerate(dict.fromkeys(names)):
        inside = [name == block for name in names]

        def restricted(v: list[Array], inside: list[bool] = inside) -> list[Array]:
            rest = iter(v)
            whole = [
                next(rest) if here else jnp.zeros_like(x, dtype=v[0].dtype)
                for x, here in zip(leaves, inside, strict=True)
            ]
            product = jax.tree.leaves(matvec(jax.tree.unflatten(structure, whole)))
            return [p for p, here in zip(product, inside, strict=True) if here]

        part = [x for x, here in zip(leaves, inside, strict=True) if here]
        keys = jax.random.split(jax.random.fold_in(key, i))
        conditions.append(
            condition_number(restricted, part, num_matvecs=num_matvecs, key=keys[0])
        )
        traces.append(
            curvature_trace(restricted, part, num_probes=num_probes, key=keys[1])
        )
        sizes.append(sum(jnp.size(x) for x in part))
    stacked = [jax.tree.map(lambda *x: jnp.stack(x), *xs) for xs in (conditions, traces)]
    return BlockCurvature(tuple(dict.fromkeys(names)), tuple(sizes), *stacked)

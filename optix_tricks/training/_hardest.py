"""Training on the hardest examples of each batch, as a small network sees them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Int, Key

from optix_tricks._checks import check_count
from optix_tricks._tree import PyTree
from optix_tricks.training._state import Apply

PLACE = "proxy"  # among the batch statistics


class Labelled(NamedTuple):
    """What a network is trained on where the choice of examples needs the targets."""

    inputs: PyTree
    targets: PyTree


class Chosen(NamedTuple):
    """Outputs of some examples of a batch, and which."""

    outputs: PyTree
    indices: Int[Array, " chosen"]


class Proxy(NamedTuple):
    """The small network, as `training.functional` returns it, and its optimiser."""

    apply: Apply
    params: PyTree
    batch_stats: PyTree
    tx: optax.GradientTransformation


def hardest_by_proxy(
    apply: Apply,
    batch_stats: dict[str, Any],
    proxy: Proxy,
    loss: Callable[[Any, Any], Array],
    *,
    kept: int,
    every_steps: int = 1,
) -> tuple[Apply, dict[str, Any]]:
    r"""Let a network train on the examples of a batch that a small one finds hardest.

    .. math::
        I = \operatorname{arg\,top}_k \; \ell(p(x_i), y_i), \qquad
        \text{outputs } f(x_I), \qquad
        \theta_p \leftarrow \theta_p - \mathrm{tx}\big(\nabla_{\theta_p}
        \tfrac{1}{k} \textstyle\sum_{i \in I} \ell(p(x_i), y_i)\big)

    where the small network p is itself trained in every `every_steps`-th step, the first
    among them, and sees the whole batch. Its weights and optimiser lie among the batch
    statistics, so that they are saved and go through a step with them. For one device or
    a mesh, not for a step with `axis_name`, which would average the counts among them.

    Args:
      apply: the network; see `training.functional`.
      batch_stats: its statistics, a dict.
      proxy: the small network.
      loss: `loss(outputs, targets)`, one number for each example.
      kept: k, the examples of a batch that are trained on.
      every_steps: from one of the small network's steps to the next.

    Returns:
      `apply` and statistics. In training it takes `Labelled` inputs and returns `Chosen`
      outputs; everything else it hands on.

    Raises:
      ValueError: if a count is not positive.
    """
    check_count("kept", kept, minimum=1)
    check_count("every_steps", every_steps, minimum=1)

    def choosing(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Key[Array, ""] | None = None,
    ) -> tuple[PyTree, PyTree]:
        own = {name: x for name, x in batch_stats.items() if name != PLACE}
        state = batch_stats[PLACE]
        if not isinstance(inputs, Labelled):
            outputs, own = apply(params, own, inputs, train=train, key=key)
            return outputs, own | {PLACE: state}

        def losses(weights: PyTree) -> Array:
            given = weights, proxy.batch_stats, inputs.inputs
            return loss(proxy.apply(*given, train=True)[0], inputs.targets)

        _, chosen = lax.top_k(losses(state["params"]), kept)

        def improved(state: dict[str, Any]) -> dict[str, Any]:
            weights = state["params"]
            grads = jax.grad(lambda weights: losses(weights)[chosen].mean())(weights)
            updates, slots = proxy.tx.update(grads, state["opt_state"], weights)
            return state | {
                "params": optax.apply_updates(weights, updates),
                "opt_state": slots,
            }

        state = lax.cond(
            state["count"] % every_steps == 0, improved, lambda state: state, state
        )
        some = jax.tree.map(lambda x: x[chosen], inputs.inputs)
        outputs, own = apply(params, own, some, train=train, key=key)
        state = state | {"count": state["count"] + 1}
        return Chosen(outputs, chosen), own | {PLACE: state}

    return choosing, batch_stats | {
        PLACE: {
            "count": jnp.zeros((), jnp.int32),
            "params": proxy.params,
            "opt_state": proxy.tx.init(proxy.params),
        }
    }

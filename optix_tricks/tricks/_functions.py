"""What is done to the network as a function of its parameters."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks._checks import check_count
from optix_tricks._masks import mask_by_path
from optix_tricks._paths import map_named
from optix_tricks._tree import PyTree
from optix_tricks.training import Apply, Job, Phase
from optix_tricks.tricks._context import Context, Network
from optix_tricks.tricks._trick import trick

Change = Callable[[Network], Network]


def recomputed(apply: Apply) -> Apply:
    """Compute the activations of a training call anew for the gradient.

        h = f(x)    in the forward pass, and again in the backward pass

    Helps where activations do not fit. Hurts the time of a step. Cost: a second forward
    pass; of the activations only the inputs are kept.

    Beside others: it changes no number of the run, whatever it stands beside. A smaller
    batch with `accumulation` saves memory too, and changes what batch norms see.

    Source: "Training Deep Nets with Sublinear Memory Cost", Chen et al., 2016.
    """

    def call(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Any = None,
    ) -> tuple[PyTree, PyTree]:
        if not train:
            return apply(params, batch_stats, inputs, train=False, key=key)

        @jax.checkpoint
        def in_training(params: PyTree, stats: PyTree, inputs: PyTree) -> Any:
            return apply(params, stats, inputs, train=True, key=key)

        return in_training(params, batch_stats, inputs)

    return call


@trick("applied", calls=recomputed, place="memory")
def remat(context: Context, call: Any) -> Change:
    """Activations are computed again for the gradient, and not kept."""
    return lambda network: network._replace(apply=call(network.apply))


def frozen(apply: Apply, *, pattern: str = "^(?!head)") -> Apply:
    """Stop the gradient at parameters whose paths match; spare what only they need.

        f(θ),    θ_p constant for the gradient where the pattern is found in p

    Helps fine-tuning on few examples, where the lower layers are right already. Hurts
    where the new data are unlike the old: what is fixed cannot follow. Cost: less than
    none, as gradients of the first layers are not computed; batch statistics still move.

    Beside others: after `pretrained`. `layerwise_rates` lets the lower layers learn
    slowly instead, and `settle` lets them learn at first.

    Args:
      apply: the network.
      pattern: of the paths; by default all but the head.

    Source: "How Transferable Are Features in Deep Neural Networks?", Yosinski, Clune,
    Bengio and Lipson, 2014.
    """
    matches = re.compile(pattern)

    def call(
        params: PyTree,
        batch_stats: PyTree,
        inputs: PyTree,
        *,
        train: bool,
        key: Any = None,
    ) -> tuple[PyTree, PyTree]:
        def stopped(leaf: Any) -> Any:
            fixed = matches.search(leaf.name)
            return jax.lax.stop_gradient(leaf.value) if fixed else leaf.value

        fixed = map_named(stopped, params)
        return apply(fixed, batch_stats, inputs, train=train, key=key)

    return call


@trick("applied", "after", calls=frozen, main="pattern", place="frozen")
def freeze(context: Context, call: Any) -> tuple[Change, optax.GradientTransformation]:
    """Parameters whose paths match stay as they are."""
    fixed = mask_by_path(call.keywords["pattern"])

    def change(network: Network) -> Network:
        return network._replace(apply=call(network.apply))

    return change, optax.masked(optax.set_to_zero(), fixed)


def settled(context: Context, *, pattern: str, epochs: int = 1) -> tuple[Phase, Any]:
    """Let parameters whose paths match stay as they are after some epochs.

        rate_p = η    in the first epochs,    0 after,    where the pattern is found in p

    Helps where a part has learnt what it can: what only its gradient needs is then not
    computed. Hurts where it has not. Cost: a second compilation of the step, and less of
    a step afterwards.

    Beside others: `freeze` does it from the start.

    Args:
      context: of the run.
      pattern: of their paths.
      epochs: in which they are trained.

    Source: Brock et al., FreezeOut, 2017; Jordan, 94% on CIFAR-10 in 3.29 seconds on a
    single GPU, 2024, of the bias of the first convolution.
    """
    check_count("epochs", epochs)
    last = epochs * context.steps_per_epoch // context.accumulated
    scales: dict[str, Any] = {
        "settled": lambda count: jnp.where(count < last, 1.0, 0.0),
        "rest": 1.0,
    }
    labels = ot.label_by_path({pattern: "settled", "": "rest"})

    def change(job: Job) -> Job:
        return job._replace(apply=frozen(job.apply, pattern=pattern))

    return Phase(epochs, change), ot.scale_by_group(scales, labels)


@trick(
    "phases",
    "after",
    calls=settled,
    fields=["epochs"],
    main="pattern",
    pattern="^(?!head)",
    place="groups",
)
def settle(context: Context, call: Any) -> tuple[tuple[Phase, ...], Any]:
    """Parameters whose paths match are trained in the first epochs alone."""
    phase, scale = call(context)
    return (phase,), scale

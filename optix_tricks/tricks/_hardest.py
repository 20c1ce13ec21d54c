"""Which examples of a batch are trained on."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx

from optix_tricks._checks import check_fraction
from optix_tricks._masks import mask_by_path
from optix_tricks._tree import PyTree
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Airbench,
    Labelled,
    Proxy,
    functional,
    hardest_by_proxy,
)
from optix_tricks.tricks._airbench import LEAST, _sgd
from optix_tricks.tricks._context import Context, Network, named_key
from optix_tricks.tricks._trick import trick

OF_WHITENING = mask_by_path("^whitening")


def _hardest(
    context: Context,
    *,
    share: float = 0.5,
    every_steps: int = 4,
    widths: tuple[int, int, int] = (32, 64, 64),
    momentum: float = 0.85,
    weight_decay: float = 0.012,
    bias_scale: float = 64.0,
    label_smoothing: float = 0.2,
) -> Callable[[Network], Network]:
    r"""Train on the examples of each batch whose loss a small network has largest.

        I = the share of the batch with the largest ℓ(p(x), y);    train on x_I

    The small network p, an airbench of two convolutions a group, is trained beside the
    other, in some of the steps, on the same examples at the same rate as
    `airbench_sgd` would train it; its whitening is the network's own and stays.

    Helps where most examples are soon right and say little: half the work of a step.
    Hurts where the hardest labels are wrong ones. Cost: the small network's forward pass
    in every step, its backward pass in some.

    Beside others: instead of `mixup` and the like, whose targets it would rank; batch
    statistics are those of the examples that are left, and a mean over them has twice the
    weight of one over the batch at half of it.

    Args:
      context: of the run.
      share: of a batch that is trained on.
      every_steps: from one step of the small network to the next.
      widths: of its groups.
      momentum: of its optimiser.
      weight_decay: see `airbench_sgd`.
      bias_scale: see `airbench_sgd`.
      label_smoothing: in the losses that are ranked.

    Source: Jordan, CIFAR-10 Airbench, 2024 (27.3 s on an A100 to 96 %).
    """
    check_fraction("share", share)
    sides = context.dataset.image_shape[:2]
    if min(sides) < LEAST:
        raise ValueError(
            f"hardest needs images of at least {LEAST}x{LEAST} pixels for its small"
            f" network, got {sides[0]}x{sides[1]}."
        )
    kept = max(round(share * context.batch_size), 1)
    rate = context.rate

    def rate_of_proxy(count: Any) -> Any:
        return rate(count * every_steps)  # type: ignore[misc]

    of_sgd: Any = {
        "momentum": momentum,
        "weight_decay": weight_decay,
        "bias_scale": bias_scale,
    }
    tx = optax.chain(
        _sgd(rate_of_proxy, context, **of_sgd),
        optax.masked(optax.set_to_zero(), OF_WHITENING),
    )

    def loss(logits: Any, labels: Any) -> jax.Array:
        return cross_entropy(logits, labels, label_smoothing=label_smoothing)

    def proxy_of(key: Any, whitening: Any) -> Proxy:
        model = Airbench(
            context.classes,
            widths=widths,
            in_channels=context.dataset.image_shape[-1],
            rngs=nnx.Rngs(key),
        )
        apply, params, batch_stats = functional(model, preprocess=context.prepare)
        if whitening is not None:
            params = params | {"whitening": params["whitening"] | {"kernel": whitening}}
        return Proxy(apply, params, batch_stats, tx)

    def change(network: Network) -> Network:
        def made(key: Any, stats: Any, whitening: Any = None) -> Any:
            proxy, given = proxy_of(key, whitening), (network.apply, stats)
            return hardest_by_proxy(
                *given, proxy, loss, kept=kept, every_steps=every_steps
            )

        def init(seed: int) -> tuple[PyTree, PyTree]:
            params, stats = network.init(seed)
            key = named_key(jax.random.key(seed), "hardest")
            return params, made(key, stats, params.get("whitening", {}).get("kernel"))[1]

        apply, _ = made(jax.random.key(0), {})
        return network._replace(apply=apply, init=init)

    return change


def _label(key: Any, inputs: PyTree, targets: PyTree) -> tuple[Labelled, PyTree]:
    del key
    return Labelled(inputs, targets), targets


@trick(
    "mix",
    "applied",
    "chosen",
    calls=_hardest,
    main="share",
    place="filter",
    needs=["images", "classes"],
)
def hardest(
    context: Context, call: Any
) -> tuple[Any, Callable[[Network], Network], bool]:
    """Each step trains on the examples that a small network finds hardest."""
    return _label, call(context), True

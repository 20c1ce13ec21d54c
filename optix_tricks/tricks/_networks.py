"""The network itself, in the slot of which a setup has one."""

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from flax import nnx

from optix_tricks import training
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._network import classifier, from_parts
from optix_tricks.tricks._targets import num_outputs
from optix_tricks.tricks._trick import trick

Make = Callable[..., nnx.Module]
of_images = partial(trick, "network", main="width", needs=["images", "distribution"])


@of_images(calls=training.ResNet9, fields=["width"])
def resnet9(context: Context, call: Any) -> Make:
    """Page's residual network of eight convolutions, for small images."""
    return classifier(call)


def _from_full_branches(network: Make) -> Make:
    """Let residual branches start at zero only where `zero_gamma` asks for it."""

    @wraps(network)
    def make(
        context: Context, *, zero_init_last_gamma: bool = False, **parts: Any
    ) -> nnx.Module:
        return network(context, zero_init_last_gamma=zero_init_last_gamma, **parts)

    return make


@of_images(calls=training.ResNet18, fields=["width"], stem="cifar")
def resnet18(context: Context, call: Any) -> Make:
    """A residual network of eight basic blocks."""
    return _from_full_branches(classifier(call))


@of_images(calls=training.ResNet50, fields=["width", "stem"])
def resnet50(context: Context, call: Any) -> Make:
    """A residual network of sixteen bottleneck blocks."""
    return _from_full_branches(classifier(call))


@trick(
    "network",
    calls=training.MLP,
    fields=["width", "depth"],
    main="width",
    needs=["vectors"],
)
def mlp(context: Context, call: Any) -> Make:
    """Fully connected layers, of vectors or of images taken as such."""
    values = math.prod(context.example.inputs.shape)
    return from_parts(partial(call, num_outputs(context), in_features=values))


@trick(
    "network",
    calls=training.Transformer,
    fields=["width", "depth", "heads"],
    main="width",
    needs=["tokens"],
)
def transformer(context: Context, call: Any) -> Make:
    """A causal transformer, of tokens with the next one as the target at each."""
    splits = (context.dataset.train.inputs, context.dataset.test.inputs)
    highest = max(int(tokens.max()) for tokens in splits)
    if highest >= context.classes:
        raise ValueError(
            f"transformer needs tokens below the {context.classes} classes of the data"
            f" set, got {highest}: name as many classes as there are tokens."
        )
    length = context.example.inputs.shape[0]
    return from_parts(partial(call, context.classes, length=length))

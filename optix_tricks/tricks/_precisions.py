"""The dtypes of the network, and what the optimiser needs for them."""

import functools
from typing import Any

from optix_tricks.training import Policy, policy
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Level, Make, Trick, trick


def precision(make: Make) -> Trick:
    """Return the trick of the precision of this name: the network must take `dtype`."""
    calls = functools.partial(policy, make.__name__)
    return trick("precision", calls=calls, about=policy, level=Level.FACTORY)(make)


@precision
def float32(context: Context, call: Any) -> Policy:
    """Everything in float32."""
    return call()


@precision
def bfloat16(context: Context, call: Any) -> Policy:
    """Activations in bfloat16, parameters and logits in float32."""
    return call()


@precision
def float16(context: Context, call: Any) -> Policy:
    """Activations in float16, parameters and logits in float32, the loss scaled."""
    return call()

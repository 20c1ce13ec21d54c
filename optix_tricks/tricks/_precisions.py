"""The dtypes of the network, and what the optimiser needs for them."""

from typing import Any

from optix_tricks.training import Policy, policy
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import Level, Trick, trick


def _policy(context: Context, call: Any) -> Policy:
    del context
    return call()


def precision(name: str) -> Trick:
    """Return the trick of a precision: the network must take `dtype`."""

    def calls() -> Policy:
        return policy(name)

    return trick("precision", calls=calls, name=name, level=Level.FACTORY)(_policy)


float32 = precision("float32")
bfloat16 = precision("bfloat16")
float16 = precision("float16")

"""What is done to gradients before the optimiser, and around it."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import optax
from jaxtyping import Array

import optix_tricks as ot
from optix_tricks.training import TrainState
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._trick import trick

Link: TypeAlias = optax.GradientTransformation
Wrap = Callable[[Link], Link]
Observe = Callable[[TrainState, Array], TrainState]


@trick("before", calls=ot.clip, main="max_delta", place="clip", max_delta=1.0)
def clip_value(context: Context, call: Any) -> Link:
    """Each element of the gradient within bounds."""
    return call()


@trick("before", calls=ot.clip_by_norm, main="max_norm", place="clip", max_norm=1.0)
def clip_norm(context: Context, call: Any) -> Link:
    """Each parameter's gradient within a norm."""
    return call()


@trick(
    "before", calls=ot.clip_by_global_norm, main="max_norm", place="clip", max_norm=1.0
)
def clip_global_norm(context: Context, call: Any) -> Link:
    """The whole gradient within a norm."""
    return call()


@trick(
    "before", calls=ot.adaptive_grad_clip, main="clipping", place="clip", clipping=0.01
)
def adaptive_clip(context: Context, call: Any) -> Link:
    """Each unit's gradient within a share of its weights' norm."""
    return call()


@trick("before", calls=ot.delayed_gradients, main="steps", place="delay", steps=1)
def delayed_gradients(context: Context, call: Any) -> Link:
    """The gradient of some steps ago."""
    return call()


@trick("before", calls=ot.delayed_gradients, main="steps", place="delay", steps=1, key=0)
def random_delays(context: Context, call: Any) -> Link:
    """The gradients of workers that finish in a random order."""
    return call()


@trick(
    "before", calls=ot.add_noise, main="eta", place="noise", key=0, eta=0.01, gamma=0.55
)
def gradient_noise(context: Context, call: Any) -> Link:
    """Gaussian noise that fades."""
    return call()


@trick("before", calls=ot.centralize, place="center")
def centralisation(context: Context, call: Any) -> Link:
    """The gradient of each unit less its mean."""
    return call()


@trick(
    "around", calls=ot.accumulate, main="every_steps", place="accumulate", every_steps=2
)
def accumulation(context: Context, call: Any) -> Wrap:
    """An update of several steps' gradients."""
    return call


@trick("around", calls=ot.skip_nonfinite, place="skip")
def skip_nonfinite(context: Context, call: Any) -> Wrap:
    """Steps whose gradients are not finite are left out."""
    return call


@trick("around", calls=ot.sam, main="rho", place="twice")
def sam(context: Context, call: Any) -> Wrap:
    """The gradient at the worst point nearby."""
    return call


@trick("after", "observe", calls=ot.reduce_on_plateau, place="groups")
def plateau(context: Context, call: Any) -> tuple[Link, Observe | None]:
    """A rate that falls once the validation loss, or else each step's, does not."""
    if context.dataset.validation is None:
        return call(), None
    judge = functools.partial(ot.observe_plateau, mode=call.keywords["mode"])

    def observe(state: TrainState, loss: Array) -> TrainState:
        return state._replace(opt_state=judge(state.opt_state, loss))

    return call(per_step=False), observe

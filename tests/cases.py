"""The table: every public transformation, one row each.

`given` are numbers for every hyperparameter, none of them a default that hides an error;
`twin` is Optax's transformation in the matching setting, reached by the changes
`twin_at`, or None where Optax has none; `neutral` are arguments that make the
transformation the identity.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot


class Case(NamedTuple):
    name: str
    make: Callable[..., optax.GradientTransformationExtraArgs]
    given: dict[str, float]
    options: Mapping[str, Any] = MappingProxyType({})
    twin: Callable[[], optax.GradientTransformation] | None = None
    twin_at: Mapping[str, Any] = MappingProxyType({})
    neutral: dict[str, Any] | None = None

    def build(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        return self.make(**{**self.options, **self.given, **changes})

    def takes(self, argument: str) -> bool:
        return argument in inspect.signature(self.make).parameters

    def stored(self, name: str) -> str:
        """The name under which the state keeps a hyperparameter."""
        return "momentum" if (self.make, name) == (ot.trace, "decay") else name

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of state fields shaped like the parameters."""
        params = {"w": jnp.ones((5, 7))}
        state = self.build().init(params)
        paths = jax.tree_util.tree_flatten_with_path(state)[0]
        return tuple(p[-2].name for p, x in paths if x.shape == (5, 7))


LINKS = [
    Case(
        "scale_by_learning_rate",
        ot.scale_by_learning_rate,
        {"learning_rate": 0.3},
        twin=lambda: optax.scale_by_learning_rate(0.3),
        neutral={"learning_rate": 1.0, "flip_sign": False},
    ),
    Case(
        "trace",
        ot.trace,
        {"decay": 0.8, "dampening": 0.0},
        twin=lambda: optax.trace(0.8),
        neutral={"decay": 0.0},
    ),
    Case(
        "trace_nesterov",
        ot.trace,
        {"decay": 0.8},
        {"nesterov": True},
        twin=lambda: optax.trace(0.8, nesterov=True),
        neutral={"decay": 0.0},
    ),
    Case(
        "trace_dampened",
        ot.trace,
        {"decay": 0.8, "dampening": 0.4},
        twin=lambda: optax.trace(0.8),
        twin_at={"dampening": 0.0},
    ),
    Case(
        "ema",
        ot.ema,
        {"decay": 0.8},
        twin=lambda: optax.ema(0.8),
        neutral={"decay": 0.0},
    ),
    Case(
        "ema_biased",
        ot.ema,
        {"decay": 0.8},
        {"debias": False},
        twin=lambda: optax.ema(0.8, debias=False),
        neutral={"decay": 0.0},
    ),
    Case(
        "scale_by_rms",
        ot.scale_by_rms,
        {"decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.scale_by_rms(0.8, 1e-3),
    ),
    Case(
        "scale_by_rms_torch",
        ot.scale_by_rms,
        {"decay": 0.8, "eps": 1e-3},
        {"eps_in_sqrt": False, "bias_correction": True, "initial_scale": 0.5},
        twin=lambda: optax.scale_by_rms(0.8, 1e-3, 0.5, False, True),
    ),
    Case(
        "scale_by_stddev",
        ot.scale_by_stddev,
        {"decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.scale_by_stddev(0.8, 1e-3),
    ),
    Case(
        "scale_by_adam",
        ot.scale_by_adam,
        {"b1": 0.8, "b2": 0.9, "eps": 1e-4, "eps_root": 1e-6},
        twin=lambda: optax.scale_by_adam(0.8, 0.9, 1e-4, 1e-6),
    ),
    Case(
        "scale_by_adam_nesterov",
        ot.scale_by_adam,
        {"b1": 0.8, "b2": 0.9, "eps": 1e-4},
        {"nesterov": True},
        twin=lambda: optax.scale_by_adam(0.8, 0.9, 1e-4, nesterov=True),
    ),
    Case(
        "scale_by_lars",
        ot.scale_by_lars,
        {"trust_coefficient": 0.02, "weight_decay": 0.1, "eps": 1e-3},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_lars_undecayed",
        ot.scale_by_lars,
        {"trust_coefficient": 0.02, "weight_decay": 0.0, "eps": 1e-3},
        {"mask": None},
        twin=lambda: optax.scale_by_trust_ratio(trust_coefficient=0.02, eps=1e-3),
    ),
    Case(
        "add_decayed_weights",
        ot.add_decayed_weights,
        {"weight_decay": 0.1},
        twin=lambda: optax.add_decayed_weights(0.1),
        neutral={"weight_decay": 0.0},
    ),
    Case("add_l1_decay", ot.add_l1_decay, {"l1_decay": 0.1}, neutral={"l1_decay": 0.0}),
    Case(
        "clip",
        ot.clip,
        {"max_delta": 0.7},
        twin=lambda: optax.clip(0.7),
        neutral={"max_delta": float("inf")},
    ),
    Case(
        "clip_by_norm",
        ot.clip_by_norm,
        {"max_norm": 0.7},
        neutral={"max_norm": float("inf")},
    ),
    Case(
        "clip_by_global_norm",
        ot.clip_by_global_norm,
        {"max_norm": 0.7},
        twin=lambda: optax.clip_by_global_norm(0.7),
        neutral={"max_norm": float("inf")},
    ),
]

OPTIMISERS = [
    Case("sgd", ot.sgd, {"learning_rate": 0.1}, twin=lambda: optax.sgd(0.1)),
    Case(
        "sgd_momentum",
        ot.sgd,
        {"learning_rate": 0.1, "momentum": 0.8},
        {"nesterov": True},
        twin=lambda: optax.sgd(0.1, 0.8, nesterov=True),
    ),
    Case(
        "rmsprop",
        ot.rmsprop,
        {"learning_rate": 0.1, "decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.rmsprop(0.1, 0.8, 1e-3),
    ),
    Case(
        "rmsprop_centered_momentum",
        ot.rmsprop,
        {"learning_rate": 0.02, "decay": 0.8, "eps": 1e-3, "momentum": 0.7},
        {"centered": True, "nesterov": True},
        twin=lambda: optax.rmsprop(
            0.02, 0.8, 1e-3, centered=True, momentum=0.7, nesterov=True
        ),
    ),
    Case(
        "adam",
        ot.adam,
        {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-4},
        twin=lambda: optax.adam(0.1, 0.8, 0.9, 1e-4),
    ),
    Case(
        "adamw",
        ot.adamw,
        {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-4, "weight_decay": 0.2},
        {"mask": ot.no_bias_or_norm},
        twin=lambda: optax.adamw(
            0.1, 0.8, 0.9, 1e-4, weight_decay=0.2, mask=ot.no_bias_or_norm
        ),
    ),
    Case(
        "lars",
        ot.lars,
        {
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "trust_coefficient": 0.02,
            "momentum": 0.8,
            "eps": 1e-3,
        },
        twin=lambda: optax.lars(
            0.5,
            0.0,
            trust_coefficient=0.02,
            momentum=0.8,
            eps=1e-3,
            trust_ratio_mask=ot.no_bias_or_norm,
        ),
    ),
    Case(
        "lars_decayed",
        ot.lars,
        {"learning_rate": 0.5, "weight_decay": 0.1},
        twin=lambda: optax.lars(0.5, trust_ratio_mask=ot.no_bias_or_norm),
        twin_at={"weight_decay": 0.0},
    ),
    Case(
        "lars_plain",
        ot.lars,
        {"learning_rate": 0.5},
        {"momentum": None},
        twin=lambda: optax.chain(
            optax.masked(
                optax.scale_by_trust_ratio(trust_coefficient=0.001), ot.no_bias_or_norm
            ),
            optax.scale_by_learning_rate(0.5),
        ),
    ),
]

CASES = LINKS + OPTIMISERS


def random_tree(seed: int, dtype: Any = jnp.float32, scale: float = 1.0) -> Any:
    """A small network's parameters: kernels, biases, a norm, a scalar, nesting."""
    keys = iter(jax.random.split(jax.random.key(seed), 8))

    def draw(*shape: int) -> jax.Array:
        return (scale * jax.random.normal(next(keys), shape, jnp.float32)).astype(dtype)

    return {
        "conv": {"kernel": draw(3, 3, 2, 8), "bias": draw(8)},
        "norm": {"scale": draw(8), "bias": draw(8)},
        "head": [draw(8, 16), draw(16)],
        "gain": draw(),
    }

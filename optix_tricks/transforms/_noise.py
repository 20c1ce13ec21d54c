"""Gradient noise: normal numbers whose variance falls with the steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule, as_key
from optix_tricks._leafwise import leafwise
from optix_tricks._paths import path_numbers
from optix_tricks._tree import Mask

SPLIT = 1 << 12


class AddNoiseState(NamedTuple):
    """State of `add_noise`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # eta, gamma


def add_noise(
    eta: ScalarOrSchedule,
    gamma: ScalarOrSchedule,
    key: Array | int | None = None,
    *,
    seed: int | None = None,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Add normal noise to the gradients.

    .. math:: u_t = g_t + \sqrt{\eta / t^\gamma} \, \xi_t, \qquad
        \xi_t \sim \mathcal{N}(0, 1), \quad t = 1, 2, \dots

    Helps very deep networks with poor initialisation to leave plateaus, with
    :math:`\gamma = 0.55` and :math:`\eta` of 0.01 to 1. Does little where minibatches are
    noisy already.

    The noise depends on the key, the step and the parameter's path alone: no key is in
    the state, a run that is resumed goes on with the same noise, and so does a packed
    one, another device or dtype, or a network to which a layer was added.

    Args:
      eta: :math:`\eta` >= 0, the variance at the first step.
      gamma: :math:`\gamma` >= 0.
      key: a JAX key or a seed, to be given; two links of one chain need two keys, or
        their noise is the same.
      seed: Optax's old name for `key`.
      mask: which leaves become noisy; the others pass unchanged.

    Returns:
      A transformation; no slots; one normal number per element. The identity at
      `eta=0`. Its variance is that of `optax.add_noise`, its numbers are others.

    Raises:
      ValueError: if `eta` or `gamma` is negative, or not one of `key` and `seed` given.

    Examples:
      >>> tx = add_noise(0.01, 0.55, key=0)
      >>> grads = jnp.ones(10_000)
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> print(f"{jnp.mean(updates):.2f} {jnp.std(updates):.2f}")
      1.00 0.10

    References:
      Neelakantan et al., Adding gradient noise improves learning for very deep
      networks, 2015.
    """
    check_nonnegative("eta", eta)
    check_nonnegative("gamma", gamma)
    if (key is None) == (seed is None):
        raise ValueError(f"one of key and seed must be given, got {key!r} and {seed!r}.")
    key = as_key(seed if key is None else key)

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        # The step in two parts: a rule's scalars are floats, which count to 2^24 only.
        return {
            "deviation": jnp.sqrt(h["eta"] / count.astype(h["eta"].dtype) ** h["gamma"]),
            "high": count // SPLIT,
            "low": count % SPLIT,
        }

    def rule(
        g: Array,
        w: Array | None,
        *,
        eta: Array,
        gamma: Array,
        deviation: Array,
        high: Array,
        low: Array,
        layer: Any,
    ) -> tuple[Array]:
        step = high.astype(jnp.int32) * SPLIT + low.astype(jnp.int32)

        def disturb(leaf: Any, g: Array) -> tuple[Array]:
            own = jax.random.fold_in(jax.random.fold_in(key, step), leaf.label)
            noise = jax.random.normal(own, g.shape, jnp.float32)
            return (g + deviation * noise.astype(g.dtype),)

        return layer.map(disturb, g)

    return leafwise(
        rule,
        AddNoiseState,
        hyperparams={"eta": eta, "gamma": gamma},
        prepare=prepare,
        mask=mask,
        labels=path_numbers,
        layerwise=True,
    )

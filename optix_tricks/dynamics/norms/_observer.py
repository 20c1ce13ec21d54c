"""Weight norms as part of the optimiser's state, measured every few steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from optix_tricks._checks import (
    check_count,
    check_decay,
    check_nonnegative,
)
from optix_tricks._hyperparams import ScalarOrSchedule, current_values, first_values
from optix_tricks._masks import no_bias_or_norm
from optix_tricks._paths import Arrays, unbox
from optix_tricks._tree import (
    Mask,
    PyTree,
    check_floating,
    is_none,
    resolve_mask,
    wide_dtype,
)
from optix_tricks.dynamics.norms._norm_dynamics import WeightNorms, weight_norms


class ObserveWeightNormsState(NamedTuple):
    """State of `observe_weight_norms`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # learning_rate, weight_decay, momentum, decay
    trace: PyTree  # like the parameters, float32: sum of past gradients; or None
    norms: WeightNorms  # of the last step that was measured
    inner_state: Any  # of the optimiser

    def report(self) -> dict[str, PyTree]:
        """What the last step that was measured did."""
        return self.norms._asdict()


def observe_weight_norms(
    inner: optax.GradientTransformation,
    *,
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    momentum: ScalarOrSchedule = 0.0,
    decay: ScalarOrSchedule | None = 0.9,
    every: int = 16,
    mask: Mask | None = no_bias_or_norm,
) -> optax.GradientTransformationExtraArgs:
    """Run an optimiser, and measure every few steps what it does to each layer's norm.

        v_t = β v_{t-1} + g_t,    norms_t = weight_norms(w_t, g_t, Δ_t, v_{t-1})

    The first step is measured, and each `every`-th after it; between them the state
    keeps the last sample. g_t are the gradients as they come, so that decay inside of
    `inner` is not in them. The updates are those of `inner`, bit by bit.

    Helps to hold a run against `equilibrium` while it goes: `optix_tricks.report` shows
    the sample, a scan collects it (`weight_norm_record`). Hurts nothing. Does little
    for `optax.MultiSteps` around it, which calls it with sums; put it inside. Cost: a
    multiply-add and a copy of the parameters in memory for v, at each step; a sampled
    step five reductions per layer. `decay=None` keeps no v.

    Args:
        inner: the whole optimiser, decay and rate included: its updates are added.
        learning_rate: η, as `inner` has it: it is not read from there.
        weight_decay: λ, as `inner` has it; see `weight_norms` for decoupled decay.
        momentum: ρ, as `inner` has it.
        decay: β in [0, 1) of the running sum of gradients; equal to ρ for
            `compare_equilibrium`. None: no sum, `trace_cosine` and `trace_product` NaN.
        every: steps from sample to sample.
        mask: which leaves are measured; biases and norm parameters are left out by
            default.

    Returns:
        A transformation whose update needs the parameters. Reports the fields of
        `WeightNorms` per layer, zero before the first step. A packed tree is measured by
        buffers: give it a tree.

    Raises:
        ValueError: if an argument is out of range, or the parameters are not given.

    Examples:
        >>> import optix_tricks as ot
        >>> rate, decay = 0.1, 5e-4
        >>> tx = optax.chain(ot.add_decayed_weights(decay), ot.sgd(rate, momentum=0.9))
        >>> tx = observe_weight_norms(
        ...     tx, learning_rate=rate, weight_decay=decay, momentum=0.9
        ... )
        >>> w = {"conv": jnp.array([[3.0, 4.0]])}
        >>> _, state = tx.update({"conv": jnp.array([[-4.0, 3.0]])}, tx.init(w), w)
        >>> print(f"{ot.report(state)['relative_update/conv']:.3f}")
        0.100

    Source: "How to Train Your ResNet 6: Weight Decay", Page, 2019.
    """
    check_nonnegative("learning_rate", learning_rate)
    check_nonnegative("weight_decay", weight_decay)
    check_decay("momentum", momentum)
    check_count("every", every, minimum=1)
    given = {
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "momentum": momentum,
    }
    if decay is not None:
        check_decay("decay", decay)
        given["decay"] = decay
    inner = optax.with_extra_args_support(inner)

    def measured_only(params: Arrays) -> PyTree:
        leaves, structure = jax.tree.flatten(params, is_leaf=is_none)
        flags = resolve_mask(mask, params)
        kept = [x if flag else None for x, flag in zip(leaves, flags, strict=True)]
        return jax.tree.unflatten(structure, kept)

    def init_fn(params: Arrays) -> ObserveWeightNormsState:
        check_floating(measured_only(params))
        zeros = jax.tree.map(
            lambda w: jnp.zeros(w.shape, wide_dtype(w.dtype)),
            measured_only(params),
        )

        def scalars() -> PyTree:  # anew for each field: a state is donated
            return jax.tree.map(lambda x: jnp.zeros((), x.dtype), unbox(zeros))

        return ObserveWeightNormsState(
            count=jnp.zeros((), jnp.int32),
            hyperparams=first_values(given),
            trace=None if decay is None else zeros,
            norms=WeightNorms(*(scalars() for _ in WeightNorms._fields)),
            inner_state=inner.init(params),
        )

    def update_fn(
        updates: PyTree,
        state: ObserveWeightNormsState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, ObserveWeightNormsState]:
        if params is None:
            raise ValueError(
                "params must be given to the update of observe_weight_norms, got None."
            )
        steps, inner_state = inner.update(
            updates, state.inner_state, params, **extra_args
        )
        values = current_values(given, state.hyperparams, state.count)

        def measure() -> WeightNorms:
            return weight_norms(
                measured_only(params),
                updates,
                updates=steps,
                learning_rate=values["learning_rate"],
                weight_decay=values["weight_decay"],
                momentum=values["momentum"],
                trace=state.trace,
            )

        norms = _if(state.count % every == 0, measure, state.norms)
        trace = state.trace
        if decay is not None:
            trace = jax.tree.map(
                lambda v, g: None if v is None else _add(values["decay"], v, g),
                state.trace,
                updates,
                is_leaf=is_none,
            )
        return steps, ObserveWeightNormsState(
            count=optax.safe_increment(state.count),
            hyperparams=values,
            trace=trace,
            norms=norms,
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _add(decay: Array, v: Array, g: Any) -> Array:
    decayed = decay.astype(v.dtype) * v
    return decayed if g is None else decayed + g.astype(v.dtype)


def _if(condition: Array, measure: Any, last: WeightNorms) -> WeightNorms:
    # Outside of `jit` Python decides: an eager `lax.cond` compiles at every call.
    if isinstance(condition, jax.core.Tracer):
        return jax.lax.cond(condition, measure, lambda: last)
    return measure() if condition else last

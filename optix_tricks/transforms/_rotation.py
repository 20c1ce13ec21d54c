"""Rotational updates: weights keep their norm and turn by a given angle each step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array

from optix_tricks._checks import check_decay, check_nonnegative
from optix_tricks._hyperparams import ScalarOrSchedule
from optix_tricks._leafwise import PER_LAYER, PerUnit, leafwise
from optix_tricks._masks import no_bias_or_norm
from optix_tricks._tree import Mask, PyTree, safe_divide, safe_sqrt
from optix_tricks.transforms._bias_correction import bias_correction
from optix_tricks.transforms._units import unit_axes

KINDS = ("sgd", "heavy_ball", "nesterov", "sgdw", "adamw")


def equilibrium_rotation(
    kind: str,
    learning_rate: ArrayLike | Callable[[Any], Any],
    weight_decay: ArrayLike | Callable[[Any], Any],
    *,
    momentum: ArrayLike | Callable[[Any], Any] = 0.0,
) -> Any:
    r"""Angle per step at which weight decay holds weights that are followed by a norm.

    Such weights are scale-invariant: gradients are orthogonal to them and only lengthen
    them, decay only shortens them. Where both are equal the weights turn by

    .. math:: \eta_r = \sqrt{2 \eta \lambda \, f(\rho)}

    a step in root mean square, whatever the network, with f of

    - "sgd": 1, without momentum.
    - "heavy_ball": :math:`1 / (1 + \rho)`, the decay coupled: before the momentum.
    - "nesterov": :math:`((1 + \rho)^2 (1 - \rho^2) + \rho^4) / (1 + \rho)`, coupled, to
      leading order in :math:`\eta\lambda`.
    - "sgdw": :math:`(1 - \rho) / (1 + \rho)`, heavy ball with decoupled decay.
    - "adamw": the same, with :math:`\rho = \beta_1`.

    Helps to carry a tuned rate and decay over to `scale_by_rotation`. Says nothing of
    weights without a normalisation behind them. Cost: free.

    Args:
      kind: one of the five.
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      weight_decay: :math:`\lambda`.
      momentum: :math:`\rho`, or Adam's :math:`\beta_1`.

    Returns:
      Radians per step: a schedule if an argument is one. For gradients that are noise,
      independent from step to step; "heavy_ball" and "sgdw" turn by it whatever the
      correlation (`optix_tricks.dynamics.corrected_equilibrium`).

    Raises:
      ValueError: if an argument is out of range.

    Examples:
      >>> print(f"{equilibrium_rotation('heavy_ball', 0.4, 5e-4, momentum=0.9):.5f}")
      0.01451

    References:
      Kosson, Messmer and Jaggi, Rotational equilibrium: how weight decay balances
      learning across neural networks, 2024; "nesterov" is derived here in the same way.
      Wan et al., Spherical motion dynamics, 2021.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    check_nonnegative("learning_rate", learning_rate)
    check_nonnegative("weight_decay", weight_decay)
    check_decay("momentum", momentum)

    def angle(rate: Any, decay: Any, r: Any) -> Any:
        factor = {
            "sgd": 1.0,
            "heavy_ball": 1 / (1 + r),
            "nesterov": ((1 + r) ** 2 * (1 - r**2) + r**4) / (1 + r),
            "sgdw": (1 - r) / (1 + r),
            "adamw": (1 - r) / (1 + r),
        }[kind]
        return (2 * rate * decay * factor) ** 0.5

    given = (learning_rate, weight_decay, momentum)
    if any(callable(x) for x in given):
        return lambda count: angle(*(x(count) if callable(x) else x for x in given))
    return angle(*given)


class ScaleByRotationState(NamedTuple):
    """State of `scale_by_rotation`."""

    count: Any  # int32 [], steps done
    hyperparams: dict[str, Any]  # rotation, decay
    nu: PyTree  # one number per unit: average of the squared norms of its updates
    norm: PyTree  # one number per unit: the norm that it keeps
    angle: PyTree  # one float32 per layer: radians turned, root mean square of units

    def report(self) -> dict[str, PyTree]:
        """What the last step did."""
        return {"angle": self.angle}


def scale_by_rotation(
    rotation: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    *,
    per_neuron: bool = True,
    zero_mean: bool = False,
    mask: Mask | None = no_bias_or_norm,
) -> optax.GradientTransformationExtraArgs:
    r"""Turn each unit's weights by a given angle a step, and keep their norm.

    .. math::
        d_t &= u_t - \frac{u_t \cdot w_t}{|w_t|^2} w_t, \qquad
        \nu_t = \beta \nu_{t-1} + (1 - \beta) |d_t|^2 \\
        v_t &= w_t + \eta_r |w_t| \frac{d_t}{\sqrt{\nu_t / (1 - \beta^t)}}, \qquad
        w_{t+1} = |w_0| \frac{v_t}{|v_t|}

    It stands *last* in a chain, behind the learning rate, and takes the place of weight
    decay: with the angle of `equilibrium_rotation` the weights do from the first step
    what decay would bring about after thousands, in all layers alike.

    Helps where decay is slow to balance layers, at the start of training and under short
    schedules; also where initial norms are arbitrary. Fits only weights followed by a
    normalisation: elsewhere the norm means something. The gradient's length is lost, so
    that the angle must fall with a schedule, as the learning rate would.

    A unit of zeros has no direction: it takes its update as it is, and its norm from
    then on. An update along the weights turns nothing. Units whose norms are NaN or
    infinite become NaN.

    Args:
      rotation: :math:`\eta_r` >= 0, radians per step in root mean square.
      decay: :math:`\beta` in [0, 1); at 0 each step turns by arctan(rotation).
      per_neuron: a unit is one output's weights, a slice along the last axis; False
        takes a whole layer.
      zero_mean: leave the unit's mean weight out of the turn, too.
      mask: which leaves turn; the others (biases and normalisation parameters by
        default) pass unchanged: they take the step of the optimiser before this link.

    Returns:
      A transformation; two numbers per unit (in packed buffers per element); needs the
      parameters; four reductions. Reports the `angle` of each layer.

    Raises:
      ValueError: if an argument is out of range or the parameters are not given.

    Examples:
      >>> rate, decay = 0.1, 0.05
      >>> tx = optax.chain(
      ...     optax.adam(rate),
      ...     scale_by_rotation(equilibrium_rotation("adamw", rate, decay, momentum=0.9)),
      ... )
      >>> w = jnp.array([[3.0], [4.0]])
      >>> updates, state = tx.update(jnp.array([[1.0], [2.0]]), tx.init(w), w)
      >>> print(f"{jnp.linalg.norm(w + updates):.3f} {state[1].angle:.4f}")
      5.000 0.0229

    References:
      Kosson, Messmer and Jaggi, Rotational equilibrium: how weight decay balances
      learning across neural networks, 2024, algorithm 1.
    """
    check_nonnegative("rotation", rotation)
    check_decay("decay", decay)

    def axes_of(w: Any) -> tuple[int, ...]:
        return unit_axes(w) if per_neuron else tuple(range(w.ndim))

    def prepare(h: dict, count: Array, gs: list, ws: list) -> dict[str, Array]:
        return {"correct": bias_correction(h["decay"], count)}

    def rule(
        u: Array,
        w: Array,
        nu: Array,
        norm: Array,
        _: Array,
        *,
        rotation: Array,
        decay: Array,
        correct: Array,
        layer: Any,
    ) -> tuple[Array, Array, Array, Array]:
        def turn(leaf: Any, u: Array, w: Array, nu: Array, norm: Array) -> tuple:
            axes = axes_of(w)

            def dot(x: Array, y: Array) -> Array:
                return jnp.sum(x * y, axis=axes, keepdims=True)

            length = safe_sqrt(dot(w, w))
            norm = jnp.where(norm > 0, norm, length)
            along, d = w, u
            if zero_mean:
                along = w - jnp.mean(w, axis=axes, keepdims=True)
                d = u - jnp.mean(u, axis=axes, keepdims=True)
            d = d - along * safe_divide(dot(d, along), dot(along, along))
            # What rounding leaves of an update along the weights has no direction.
            noise = 16 * jnp.finfo(u.dtype).eps
            d = jnp.where(dot(d, d) > noise**2 * dot(u, u), d, jnp.zeros_like(d))
            nu = decay * nu + (1 - decay) * dot(d, d)
            tangent = rotation * safe_divide(d, safe_sqrt(nu / correct))
            square = dot(tangent, tangent)
            # |w_0| v / |v| - w, term by term: the difference itself would cancel.
            drift = safe_divide(norm - length, length)
            shrink = jnp.expm1(-0.5 * jnp.log1p(square))  # |w| / |v| - 1
            turned = w * (drift + (1 + drift) * shrink) + norm * (1 + shrink) * tangent
            turns = jnp.square(jnp.arctan(safe_sqrt(square)))
            angle = safe_sqrt(jnp.sum(turns) / max(turns.size, 1))
            finite = jnp.isfinite(length + dot(u, u))
            update = jnp.where(length > 0, turned, u)
            return jnp.where(finite, update, jnp.nan), nu, norm, angle

        return layer.map(turn, u, w, nu, norm)

    return leafwise(
        rule,
        ScaleByRotationState,
        hyperparams={"rotation": rotation, "decay": decay},
        slots={"nu": PerUnit(axes_of), "norm": PerUnit(axes_of), "angle": PER_LAYER},
        prepare=prepare,
        mask=mask,
        needs_params=True,
        layerwise=True,
    )

"""The loss along a line against its Taylor polynomials."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from optix_tricks._checks import check_count, check_positive
from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree, check_floating
from optix_tricks.dynamics.curvature._full_data import mean_over_batches
from optix_tricks.dynamics.curvature._products import check_batches
from optix_tricks.transforms._full_batch import cast, common_dtype
from optix_tricks.transforms._lanczos import for_each


class TaylorModel(NamedTuple):
    """A loss along w + t v and its polynomials of degree 1 ... order around t = 0."""

    ts: Float[Array, " ts"]  # in lengths of v
    loss: Float[Array, " ts"]  # itself
    models: Float[Array, "order ts"]  # first the linear one, then the quadratic, ...
    derivatives: Float[Array, " order+1"]  # L, v'g, v'Hv, ... at t = 0
    ratio: Float[Array, "order ts"]  # change of the loss / change of the model; 1 at 0
    radius: Float[Array, " order"]  # |t| up to which a model holds, among `ts`


def taylor_model(
    loss: Callable[..., Array],
    params: Arrays,
    direction: Arrays,
    *,
    ts: ArrayLike | Sequence[int | float] | None = None,
    order: int = 2,
    tolerance: float = 0.1,
    batches: Iterable[Examples] | None = None,
) -> TaylorModel:
    """Compare a loss with its linear, quadratic, ... model along a direction.

        L(w + t v) = L + t v'g + t²/2 v'Hv + ... + t^k/k! D^k L[v, ..., v] + O(t^(k+1))
        radius_k = max |t| with |L(w + s v) - model_k(s)| <= tolerance Σ_j |term_j(s)|
        for all |s| <= |t|,    ratio_k = (L(w + t v) - L) / (model_k(t) - L)

    The derivatives are exact, by forward differentiation of the line. The error is held
    against the sum of the polynomial's terms without their signs, j = 1 ... k, so that a
    point where slope and curvature cancel is no exception; eight roundings of L are
    free. Of a step d, `taylor_model(loss, w, d, ts=[1.0]).ratio[1]` is the reduction
    ratio of trust regions: 1 where the quadratic model predicts the decrease, negative
    where the loss rises against it.

    Helps to see how far a gradient or a curvature can be believed: the linear radius
    along -g bounds the rate, the quadratic one along an eigenvector the reach of a
    Newton step or of an escape. Does little for a direction drawn at random, along which
    a large network is nearly linear. Cost: an evaluation of the loss for each t and, for
    the derivatives, 2^order more; no gradient.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` where batches are given: a scalar.
        params: where, any tree of floating-point arrays.
        direction: a tree like it; for t in units of weights, of norm one.
        ts: where along it, numbers in any order; by default 41 from -1 to 1.
        order: of the highest derivative, 1 or more.
        tolerance: error allowed within `radius`.
        batches: as of `hessian_operator`.

    Returns:
        Values in float32 or wider. `radius` is 0 if the model is wrong at the smallest
        t, as where it has no terms.

    Raises:
        ValueError: if `direction` or `ts` do not fit, or a number is out of range.

    Examples:
        >>> model = taylor_model(jnp.sin, jnp.array(0.0), jnp.array(1.0), order=3)
        >>> print(model.derivatives, model.radius.round(2))
        [ 0.  1. -0. -1.] [0.75 0.75 1.  ]

    Source: "Numerical Optimization", Nocedal and Wright, 2006, theorem 2.1 and
    equation 4.4.
    """
    check_floating(params)
    check_count("order", order, minimum=1)
    check_positive("tolerance", tolerance)
    if batches is not None:
        check_batches(batches)
    dtype = common_dtype(params)
    ts = jnp.asarray(jnp.arange(-20, 21) / 20 if ts is None else ts, dtype)
    if ts.ndim != 1 or not ts.size:
        raise ValueError(f"ts must be numbers along one axis, got shape {ts.shape}.")
    w, v = cast(params, dtype), cast(direction, dtype)
    if jax.tree.map(jnp.shape, w) != jax.tree.map(jnp.shape, v):
        raise ValueError("direction must be a tree shaped like the parameters.")

    expand, evaluate = partial(_derivatives, loss, order), partial(_along, loss)
    derivatives = mean_over_batches(partial(expand, w, v), batches)
    values = for_each(
        lambda t: mean_over_batches(partial(evaluate, w, v, t), batches), ts
    )

    return _compared(ts, values, derivatives, float(tolerance))


@jax.jit
def _compared(
    ts: Array, values: Array, derivatives: Array, tolerance: ArrayLike
) -> TaylorModel:
    order, dtype = len(derivatives) - 1, ts.dtype
    ks = range(1, order + 1)
    terms = jnp.stack([derivatives[k] * ts**k / math.factorial(k) for k in ks])
    start = derivatives[0]
    models = start + jnp.cumsum(terms, axis=0)
    error = jnp.abs(values[None] - models)
    allowed = tolerance * jnp.cumsum(jnp.abs(terms), axis=0)
    allowed = allowed + 8 * jnp.finfo(dtype).eps * jnp.abs(start)
    distance = jnp.abs(ts)[None]
    wrong = jnp.where(error <= allowed, jnp.inf, distance)
    nearest = jnp.min(wrong, axis=1, keepdims=True)
    within = distance < nearest * (1 - 8 * jnp.finfo(dtype).eps)  # t and -t are one
    change, predicted = jnp.broadcast_to(values - start, models.shape), models - start
    same = change == predicted
    return TaylorModel(
        ts=ts,
        loss=values,
        models=models,
        derivatives=derivatives,
        ratio=jnp.where(same, 1.0, change / jnp.where(same, 1.0, predicted)),
        radius=jnp.max(jnp.where(within, distance, 0.0), axis=1),
    )


@partial(jax.jit, static_argnums=0)
def _along(
    loss: Callable[..., Array], w: PyTree, v: PyTree, t: Array, *batch: Any
) -> Array:
    with jax.default_matmul_precision("highest"):
        value = loss(jax.tree.map(lambda w, v: w + t * v, w, v), *batch)
    return jnp.asarray(value, t.dtype)


@partial(jax.jit, static_argnums=(0, 1))
def _derivatives(
    loss: Callable[..., Array], order: int, w: PyTree, v: PyTree, *batch: Any
) -> Array:
    """The loss and its first `order` derivatives along the line."""

    def differentiated(function: Callable[[Array], list[Array]]) -> Any:
        def with_next(t: Array) -> list[Array]:
            values, rates = jax.jvp(function, (t,), (jnp.ones_like(t),))
            return [*values, rates[-1]]

        return with_next

    function = lambda t: [_along(loss, w, v, t, *batch)]  # noqa: E731
    for _ in range(order):
        function = differentiated(function)
    return jnp.stack(function(jnp.zeros((), common_dtype(w))))

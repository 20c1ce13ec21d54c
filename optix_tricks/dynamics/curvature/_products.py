"""Products of a loss's Hessian, or of its Gauss-Newton part, with vectors."""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from optix_tricks._checks import check_loss
from optix_tricks._paths import Arrays, Examples
from optix_tricks._tree import PyTree, check_floating
from optix_tricks.dynamics.curvature._full_data import mean_over_batches
from optix_tricks.transforms._full_batch import cast, common_dtype

Operator = Callable[[PyTree], PyTree]


def hessian_operator(
    loss: Callable[..., Array],
    params: Arrays,
    *,
    batches: Iterable[Examples] | None = None,
) -> Operator:
    """Make the Hessian of a loss a function of a vector.

        H v = d/dt ∇L(w + t v) at t = 0,    L(w) = Σ_b n_b loss(w, batch_b) / Σ_b n_b

    v and H v are trees shaped like w. The derivative is forward over reverse, exact and
    without a step size. Parameters and products are in float32 or wider whatever dtype
    comes in, and matrix products are not rounded to fewer bits on any accelerator.

    What the loss does to a batch is what is differentiated. With batch norm, freeze the
    statistics: `loss` calls the network with `train=False`, as in

        loss = lambda w, b: cross_entropy(apply(w, b.inputs, train=False), ...).mean()

    so that L is a sum over examples and chunks add up to the whole. With statistics of
    the batch, H is that of another function in each chunk. Dropout is off for the same
    reason: the same call twice must give the same loss.

    Helps wherever a Hessian of n² entries does not fit. Hurts where second derivatives
    mean nothing: in a network of ReLUs H is that of the linear piece w lies in, without
    the kinks. A mini-batch's Hessian is noisy: compare spectra on the same examples.
    Cost: two to three gradients a product (each batch its share), one compilation for
    each loss function and shape. Hand in the same function object at every point to
    share it, and data as batches: inside the loss they are constants of the program.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` where batches are given: a scalar,
            the mean over the batch.
        params: where, any tree of floating-point arrays.
        batches: trees of arrays with the examples along the first axis, in a list or
            whatever can be iterated anew for each product; a shorter last one weighs
            less. Each is one call of a compiled function, outside any loop.

    Returns:
        `matvec(v)`, for `eigenpairs`, `curvature_trace`, `spectral_density` and so on. It
        is traceable; under an outer jit all batches become one program.

    Raises:
        ValueError: if the parameters or `v` do not fit, or batches can be read only once.

    Examples:
        >>> import jax.numpy as jnp
        >>> matvec = hessian_operator(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 3.0]))
        >>> print(matvec(jnp.array([1.0, 0.0])))
        [6. 2.]

    Source: "Fast Exact Multiplication by the Hessian", Pearlmutter, 1994.
    """
    return _operator(partial(_hessian_product, loss), params, batches)


def ggn_operator(
    model: Callable[[PyTree, Any], PyTree],
    loss: Callable[[PyTree, Any], Array],
    params: Arrays,
    *,
    batches: Iterable[Any],
) -> Operator:
    """Make the generalised Gauss-Newton matrix of a network a function of a vector.

        G v = Σ_b n_b J_b' (∇²loss_b (J_b v)) / Σ_b n_b,    J_b = ∂model(w, inputs_b)/∂w

    The Hessian with the curvature of the network itself left out, H = G + Σ ∂loss/∂f ∇²f:
    positive semidefinite if the loss is convex in the outputs f, equal to H where the
    network is linear in w or fits its data, and for softmax cross-entropy the Fisher
    information. Its rank is at most examples x outputs. Dtypes, batch statistics and
    batches are as in `hessian_operator`.

    Helps to tell what of the curvature comes from the loss: H - G carries the negative
    eigenvalues. Does little for losses that are not convex in the outputs.
    Cost: like a Hessian-vector product, a forward-mode and a reverse-mode pass.

    Args:
        model: `model(params, inputs)`, its outputs, with statistics frozen.
        loss: `loss(outputs, targets)`, a scalar, the mean over the batch.
        params: where, any tree of floating-point arrays.
        batches: pairs (inputs, targets), iterable anew for each product.

    Returns:
        `matvec(v)` as of `hessian_operator`.

    Raises:
        ValueError: if the parameters, `v` or a batch do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> model = lambda w, x: x @ w
        >>> loss = lambda y, targets: jnp.mean((y - targets) ** 2) / 2
        >>> batch = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.ones(2)
        >>> matvec = ggn_operator(model, loss, jnp.zeros(2), batches=[batch])
        >>> print(matvec(jnp.ones(2)))
        [4.5 0.5]

    Source: "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent",
    Schraudolph, 2002.
    """
    return _operator(partial(_ggn_product, model, loss), params, batches)


@partial(jax.jit, static_argnums=0)
def _hessian_product(
    loss: Callable[..., Array], w: PyTree, v: PyTree, *batch: Any
) -> Any:
    with jax.default_matmul_precision("highest"):
        gradient = jax.grad(lambda w: check_loss(loss(w, *batch)))
        return jax.jvp(gradient, (w,), (v,))[1]


@partial(jax.jit, static_argnums=(0, 1))
def _ggn_product(
    model: Callable[..., Any],
    loss: Callable[..., Array],
    w: PyTree,
    v: PyTree,
    batch: Any,
) -> Any:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ValueError("batches must hold pairs (inputs, targets), got another tree.")
    inputs, targets = batch
    with jax.default_matmul_precision("highest"):
        outputs, jvp = jax.linearize(lambda w: model(w, inputs), w)
        gradient = jax.grad(lambda f: loss(f, targets))
        curved = jax.jvp(gradient, (outputs,), (jvp(v),))[1]
        return jax.linear_transpose(jvp, w)(curved)[0]


def _operator(
    product: Callable[..., PyTree], params: Arrays, batches: Iterable[Any] | None
) -> Operator:
    check_floating(params)
    if batches is not None:
        check_batches(batches)
    dtype = common_dtype(params)
    wide = cast(params, dtype)

    def matvec(v: PyTree) -> PyTree:
        v = cast(v, dtype)
        if _shapes(v) != _shapes(wide):
            raise ValueError(
                "v must be a tree shaped like the parameters, "
                f"{_shapes(wide)}, got {_shapes(v)}."
            )
        return mean_over_batches(partial(product, wide, v), batches)

    return matvec


def _shapes(tree: PyTree) -> tuple:
    return jax.tree.structure(tree), [jnp.shape(x) for x in jax.tree.leaves(tree)]


def check_operator(matvec: Operator, like: Arrays) -> None:
    """Raise unless an operator makes of trees like `like` others of their shape."""
    check_floating(like)
    found = _shapes(jax.eval_shape(matvec, like))
    if found != _shapes(like):
        raise ValueError(
            f"matvec must return a tree shaped like `like`, {_shapes(like)}, got {found}."
        )


def check_batches(batches: Iterable[Any]) -> None:
    if isinstance(batches, dict) or hasattr(batches, "dtype"):
        raise ValueError(
            f"batches must be a sequence of batches, got a {type(batches).__name__}: "
            "write [batch] for a single one."
        )
    if iter(batches) is batches:
        raise ValueError(
            "batches must be iterable anew for each product, got an iterator: put them "
            "into a list."
        )
    if not list(itertools.islice(batches, 1)):
        raise ValueError("batches must hold at least one batch, got none.")

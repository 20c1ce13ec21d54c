"""Columns of layers: types, modes, gradients, 16 bits, the training step."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.testing._check import Column
from optix_tricks.testing._compare import (
    assert_close,
    assert_equal,
    assert_finite,
    assert_same_signature,
    signature,
)
from optix_tricks.testing._layer_subject import LayerSubject

# A few roundings of sums of order ten, taken in another order.
ROUNDING = 2e-5, 1e-5


def variables_are_parameters_statistics_and_random_state(subject: LayerSubject) -> None:
    """Each variable is of a kind that a training step carries; float32 in any dtype."""
    from flax import nnx

    for path, variable in nnx.to_flat_state(nnx.state(subject.build(dtype=jnp.bfloat16))):
        if isinstance(variable, nnx.RngState):
            continue
        if not isinstance(variable, nnx.Param | nnx.BatchStat):
            raise AssertionError(f"{path} is a {type(variable).__name__}")
        if variable.get_value().dtype != jnp.float32:
            raise AssertionError(f"{path} is {variable.get_value().dtype}, not float32")


def dtype_in_is_dtype_out(subject: LayerSubject) -> None:
    """Output leaves in the layer's dtype, and the variables keep structure and types."""
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        apply, params, rest = subject.split(dtype=dtype)
        for mode in subject.modes:
            y, after = jax.eval_shape(
                functools.partial(apply, **mode), params, rest, subject.example(dtype)
            )
            if y.dtype != dtype:
                raise AssertionError(f"{y.dtype} is not {jnp.dtype(dtype)}")
            assert_same_signature(after, rest)


def jit_equals_eager(subject: LayerSubject) -> None:
    """Compiled it gives finite numbers, those of the call as it is."""
    apply, params, rest = subject.float32
    for mode, eager in zip(subject.modes, subject.eager, strict=True):
        compiled = jax.jit(functools.partial(apply, **mode))(
            params, rest, subject.example()
        )
        assert_close(eager, compiled, *ROUNDING)
        assert_finite(eager[0])


def a_step_carries_it_as_plain_dicts(subject: LayerSubject) -> None:
    """Three steps of `training.functional` are three calls; it is compiled once."""
    from flax import nnx

    from optix_tricks.testing._layer_net import Net
    from optix_tricks.training import functional

    net, layer = Net(subject), subject.build()
    apply, params, stats = functional(net)
    is_random = bool(nnx.to_flat_state(nnx.state(net, nnx.RngState)))
    key = jax.random.key(1) if is_random else None
    traces = []

    @jax.jit
    def step(stats: Any, x: Any) -> tuple[Any, Any]:
        traces.append(x.shape)
        return apply(params, stats, x, train=True, key=key)

    for seed in range(3):
        x = subject.example(seed=seed)
        y, stats = step(stats, x)
        want = layer(x, **subject.training)
        if not is_random:
            assert_close(y, want, *ROUNDING)
    statistics = nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))
    assert_close(stats.get("layer", {}), statistics, *ROUNDING)
    if len(traces) != 1:
        raise AssertionError(f"the step was compiled {len(traces)} times")
    y, same = apply(params, stats, x, train=False)
    assert_close(y, layer(x, **subject.evaluation), *ROUNDING)
    assert_equal(same, stats)


def gradient_is_that_of_differences(subject: LayerSubject) -> None:
    """In float64 the gradients by input and parameters are central differences."""
    with jax.enable_x64(True):
        apply, params, rest = subject.split(dtype=jnp.float64, param_dtype=jnp.float64)
        leaves, tree = jax.tree.flatten((params, subject.example(jnp.float64)))
        if {x.dtype for x in leaves} != {jnp.dtype("float64")}:
            raise AssertionError(f"not all are float64: {signature(leaves)}")
        rng = np.random.default_rng(1)
        call = functools.partial(apply, **subject.gradient)
        shape = jax.eval_shape(lambda: call(params, rest, leaves[-1])[0]).shape
        weight = jnp.asarray(rng.normal(size=shape))

        @jax.jit
        def value(leaves: Any) -> Any:
            params, x = jax.tree.unflatten(tree, leaves)
            return jnp.sum(weight * call(params, rest, x)[0])

        gradient = jax.jit(jax.grad(value))(leaves)
        for i, leaf in enumerate(leaves):
            step = 1e-5 * rng.choice([-1.0, 1.0], size=leaf.shape)
            up, down = list(leaves), list(leaves)
            up[i], down[i] = leaf + step, leaf - step
            want = (value(up) - value(down)) / 2
            assert_close(jnp.vdot(gradient[i], step), want, 1e-6, 1e-12)
            if not np.abs(gradient[i]).max() > 0:
                raise AssertionError("a gradient is zero, which shows nothing")


def bfloat16_is_close_to_float32(subject: LayerSubject) -> None:
    """Output, statistics and gradients to a few roundings of bfloat16."""
    _close_to_float32(subject, jnp.bfloat16)


def float16_is_close_to_float32(subject: LayerSubject) -> None:
    """Output, statistics and gradients to a few roundings of float16."""
    _close_to_float32(subject, jnp.float16)


def _close_to_float32(subject: LayerSubject, dtype: Any) -> None:
    full, params, rest = subject.float32
    half, _, _ = subject.split(dtype=dtype)
    x = subject.example()
    close = 4 * float(jnp.finfo(dtype).eps)
    for mode, (y, after) in zip(subject.modes, subject.eager, strict=True):
        y_low, after_low = half(params, rest, x.astype(dtype), **mode)
        size = float(jnp.abs(y).max())
        assert_close(y_low.astype(jnp.float32), y, 1e-7, close * size)
        assert_close(after_low, after, close, close)

    def gradient(apply: Any, x: Any) -> Any:
        def value(params: Any) -> Any:
            y = apply(params, rest, x, **subject.training)[0]
            return jnp.sum(jnp.sin(y.astype(jnp.float32)))

        return jax.grad(value)(params)

    def norm(tree: Any) -> float:
        return float(np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(tree))))

    want, got = gradient(full, x), gradient(half, x.astype(dtype))
    assert_same_signature(got, params)
    error = norm(jax.tree.map(lambda a, b: a - b, want, got))
    if error > 4 * close * norm(want):
        raise AssertionError(f"the gradient is off by {error / norm(want):.1e} of itself")


def evaluation_changes_nothing(subject: LayerSubject) -> None:
    """In evaluation it is the same twice, and no variable changes."""
    apply, params, rest = subject.float32
    y, after = subject.eager[1]
    again, _ = apply(params, after, subject.example(), **subject.evaluation)
    assert_equal(again, y)
    assert_equal(after, rest)


def vmap_gives_each_input_its_own(subject: LayerSubject) -> None:
    """Mapped over two inputs it gives what each alone gives."""
    apply, params, rest = subject.float32
    call = functools.partial(apply, **subject.training)
    x = jnp.stack([subject.example(seed=seed) for seed in range(2)])
    mapped = jax.jit(jax.vmap(lambda x: call(params, rest, x)))(x)
    for i in range(2):
        one = subject.eager[0] if i == 0 else call(params, rest, x[i])
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), one, *ROUNDING)


COLUMNS: tuple[Column, ...] = (
    variables_are_parameters_statistics_and_random_state,
    dtype_in_is_dtype_out,
    jit_equals_eager,
    a_step_carries_it_as_plain_dicts,
    gradient_is_that_of_differences,
    bfloat16_is_close_to_float32,
    float16_is_close_to_float32,
    evaluation_changes_nothing,
    vmap_gives_each_input_its_own,
)

"""The contract of flax.nnx layers: types, modes, gradients, 16 bits, the training step."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from optix_tricks.testing._check import Column, Columns, check, select
from optix_tricks.testing._compare import (
    assert_close,
    assert_equal,
    assert_finite,
    assert_same_signature,
    signature,
)
from optix_tricks.testing._pytest import test_of
from optix_tricks.testing._table import Table
from optix_tricks.testing._written import function

# A few roundings of sums of order ten, taken in another order.
ROUNDING = 2e-5, 1e-5


class LayerSubject:
    """A layer as the columns see it.

    Args:
      build: makes the layer; it takes `dtype` and `param_dtype` by name, and what has a
        key draws it from the same seed each time.
      shape: of an input.
      training: arguments of the call in training, by name.
      evaluation: those in evaluation.
      gradient: those of the mode in which the derivative is that of the output, if that
        is not training (where something that depends on the input is held constant).
      name: how `build` is written in Python, by default as it is found.
    """

    def __init__(
        self,
        build: Callable[..., nnx.Module],
        shape: tuple[int, ...],
        *,
        training: Mapping[str, Any] | None = None,
        evaluation: Mapping[str, Any] | None = None,
        gradient: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(build):
            raise TypeError(f"build must be a function that makes a layer, got {build!r}.")
        self.build, self.shape = build, tuple(shape)
        self.training, self.evaluation = dict(training or {}), dict(evaluation or {})
        self.gradient = self.training if gradient is None else dict(gradient)
        self.name = function(build, name)

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure."""
        del code
        modes = "".join(
            f", {name}={given!r}"
            for name, given in (("training", self.training), ("evaluation", self.evaluation))
            if given
        )
        return (
            f"testing.check_layer({self.name}, {self.shape}{modes}, "
            f"columns={column!r}).assert_passed()"
        )

    @property
    def modes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of the call in training and in evaluation."""
        return self.training, self.evaluation

    def example(self, dtype: Any = jnp.float32, seed: int = 0) -> Any:
        """An input whose numbers bfloat16 holds."""
        x = np.random.default_rng(seed).normal(0.3, 1.5, self.shape)
        return jnp.asarray(jnp.asarray(x, jnp.bfloat16), dtype)

    def split(self, **dtypes: Any) -> tuple[Callable[..., Any], Any, Any]:
        """The layer as a function of parameters, other variables and input, and both."""
        graph, params, rest = nnx.split(self.build(**dtypes), nnx.Param, ...)

        def apply(params: Any, rest: Any, x: Any, **mode: Any) -> tuple[Any, Any]:
            module = nnx.merge(graph, params, rest, copy=True)
            y = module(x, **mode)
            return y, nnx.state(module, nnx.Not(nnx.Param))

        # Neither is where it starts, so that every parameter and statistic matters.
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(5)
        leaves = [x + jnp.asarray(rng.uniform(0.1, 0.3, x.shape), x.dtype) for x in leaves]
        return apply, jax.tree.unflatten(tree, leaves), rest

    @functools.cached_property
    def float32(self) -> tuple[Callable[..., Any], Any, Any]:
        """The same in float32."""
        return self.split()

    @functools.cached_property
    def eager(self) -> list[tuple[Any, Any]]:
        """Output and variables after a call in each mode."""
        apply, params, rest = self.float32
        return [apply(params, rest, self.example(), **mode) for mode in self.modes]


def variables_are_parameters_statistics_and_random_state(subject: LayerSubject) -> None:
    """Each variable is of a kind that a training step carries; float32 in any dtype."""
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


class _Net(nnx.Module):
    """One layer with the call that a training step makes."""

    def __init__(self, subject: LayerSubject) -> None:
        self.layer = subject.build()
        self.training, self.evaluation = subject.training, subject.evaluation

    def __call__(self, x: Any, *, train: bool) -> Any:
        return self.layer(x, **(self.training if train else self.evaluation))


def a_step_carries_it_as_plain_dicts(subject: LayerSubject) -> None:
    """Three steps of `training.functional` are three calls of the layer, compiled once."""
    from optix_tricks.training import functional

    net, layer = _Net(subject), subject.build()
    apply, params, stats = functional(net)
    is_random = bool(nnx.to_flat_state(nnx.state(net, nnx.RngState)))
    key = jax.random.key(1) if is_random else None
    step = jax.jit(lambda stats, x: apply(params, stats, x, train=True, key=key))
    for seed in range(3):
        x = subject.example(seed=seed)
        y, stats = step(stats, x)
        want = layer(x, **subject.training)
        if not is_random:
            assert_close(y, want, *ROUNDING)
    statistics = nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))
    assert_close(stats.get("layer", {}), statistics, *ROUNDING)
    if step._cache_size() != 1:
        raise AssertionError(f"the step was compiled {step._cache_size()} times")
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


LAYER_COLUMNS: dict[str, Column] = {
    column.__name__: column
    for column in (
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
}


def check_layer(
    build: Callable[..., nnx.Module],
    shape: tuple[int, ...],
    *,
    columns: Columns = None,
    **about: Any,
) -> Table:
    """Ask a flax.nnx layer, anybody's, what a layer is asked here.

    Args:
      build: makes the layer; it takes `dtype` and `param_dtype` by name.
      shape: of an input.
      columns: names out of `LAYER_COLUMNS`, or functions of a `LayerSubject` of your own;
        by default all that there are.
      **about: `training`, `evaluation`, `gradient` and `name`, as `LayerSubject` takes
        them.

    Returns:
      A row for each column: pass, fail with the error and one line of Python that asks it
      again, or not applicable with the reason.

    Helps with layers that keep statistics or compute in 16 bits. Hurts nothing. Cost: some
    seconds, nearly all of compiling.

    Raises:
      ValueError: if a column is unknown; the nearest is named.
      TypeError: if `build` is no function.

    >>> build = functools.partial(nnx.LayerNorm, 6, rngs=nnx.Rngs(0))
    >>> table = check_layer(build, (4, 6), columns="dtype_in_is_dtype_out")
    >>> table.passed
    True
    """
    return check(LayerSubject(build, shape, **about), select(columns, LAYER_COLUMNS))


def layer_test(
    build: Callable[..., nnx.Module],
    shape: tuple[int, ...],
    *,
    columns: Columns = None,
    **about: Any,
) -> Callable[..., None]:
    """Return a test for pytest, parametrised by column, of a layer.

    Args:
      build: as in `check_layer`, as are the rest.
      shape: of an input.
      columns: names or functions.
      **about: what else there is to say.

    >>> build = functools.partial(nnx.LayerNorm, 6, rngs=nnx.Rngs(0))
    >>> test_norm = layer_test(build, (4, 6))
    """
    return test_of(LayerSubject(build, shape, **about), select(columns, LAYER_COLUMNS))

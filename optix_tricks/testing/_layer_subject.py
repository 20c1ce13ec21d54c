"""What the columns of layers are asked of: how it is built and called, in which modes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.testing._written import function


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
        build: Callable[..., Any],
        shape: tuple[int, ...],
        *,
        training: Mapping[str, Any] | None = None,
        evaluation: Mapping[str, Any] | None = None,
        gradient: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(build):
            raise TypeError(
                f"build must be a function that makes a layer, got {build!r}."
            )
        self.build, self.shape = build, tuple(shape)
        self.training, self.evaluation = dict(training or {}), dict(evaluation or {})
        self.gradient = self.training if gradient is None else dict(gradient)
        self.name = function(build, name)

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure."""
        del code
        modes = "".join(
            f", {name}={given!r}"
            for name, given in (
                ("training", self.training),
                ("evaluation", self.evaluation),
            )
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
        from flax import nnx

        graph, params, *others = nnx.split(self.build(**dtypes), nnx.Param, ...)
        (rest,) = others

        def apply(params: Any, rest: Any, x: Any, **mode: Any) -> tuple[Any, Any]:
            module = nnx.merge(graph, params, rest, copy=True)
            y = module(x, **mode)
            return y, nnx.state(module, nnx.Not(nnx.Param))

        # Neither is where it starts, so that every parameter and statistic matters.
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(5)
        leaves = [
            x + jnp.asarray(rng.uniform(0.1, 0.3, x.shape), x.dtype) for x in leaves
        ]
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

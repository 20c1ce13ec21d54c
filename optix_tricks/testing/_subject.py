"""What the columns of transformations are asked of: a factory, its numbers, an example.

What several columns need, such as the eager steps or the compiled update, is made once.
"""

import difflib
import functools
import inspect
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optix_tricks._kinds import check_made
from optix_tricks.testing._check import NotApplicable
from optix_tricks.testing._compare import ATOL, RTOL, cast
from optix_tricks.testing._loss import OFFERS, with_a_loss
from optix_tricks.testing._run import compiled, drawn_like, example, run
from optix_tricks.testing._written import call, function, keywords

IMPORTS = (
    "import functools, chex, jax, jax.numpy as jnp, numpy as np, optax; "
    "from optix_tricks import testing"
)
INVARIANCES = ("scale", "permutation", "leafwise")
ALL_OFFERS: tuple[tuple[str, ...], ...] = ((), ("value",), OFFERS[:3], OFFERS)


class TransformationSubject:
    """A gradient transformation as the columns see it.

    Args:
      factory: makes the transformation from `hyperparams`, by name.
      hyperparams: a number for each hyperparameter that is to be tried.
      params: a tree of float32 parameters, by default those of `testing.example()`.
      grads: gradients of at least two steps, trees like the parameters; drawn by default.
      extra: which of `value`, `grad`, `value_fn`, `grad_fn` an update is given; by
        default the least with which it can be traced.
      invariances: what is declared, out of "scale", "permutation" and "leafwise".
      updates_dtype: the dtype in which updates always leave, if it is not that of the
        parameters and gradients.
      looks_ahead: whether updates depend on the loss at other parameters; by default,
        whether `value_fn` or `grad_fn` is given.
      roundings: by column, how many times the usual few roundings it is allowed, for
        transformations that amplify them.
      name: how the factory is written in Python, by default as it is found.

    Raises:
      ValueError: if a hyperparameter is no argument of the factory, an invariance is
        unknown, or the gradients are no trees like the parameters.
      TypeError: if the factory is not callable or a hyperparameter not a number.
    """

    def __init__(
        self,
        factory: Any,
        hyperparams: Mapping[str, Any] | None = None,
        *,
        params: Any = None,
        grads: Sequence[Any] | None = None,
        extra: Sequence[str] | None = None,
        invariances: Iterable[str] = (),
        updates_dtype: str | None = None,
        looks_ahead: bool | None = None,
        roundings: Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> None:
        self.factory = factory
        self.hyperparams = dict(hyperparams or {})
        self.invariances = frozenset(invariances)
        self.updates_dtype = updates_dtype
        self.roundings = roundings or {}
        self._looks_ahead = looks_ahead
        self._params, self._grads, self._extra, self._name = params, grads, extra, name
        _check_factory(factory, self.hyperparams)
        named = ("invariances", invariances, INVARIANCES), ("extra", extra or (), OFFERS)
        for what, given, known in named:
            for x in given:
                if x not in known:
                    raise ValueError(
                        f"{what} must be of {', '.join(known)}, got {x!r}, which is"
                        " unknown."
                    )
        _check_trees(params, grads)

    @functools.cached_property
    def maker(self) -> str:
        """The factory in Python: `optax.adam`."""
        return function(self.factory, self._name)

    @functools.cached_property
    def name(self) -> str:
        """The transformation in Python: `optax.adam(learning_rate=0.1)`."""
        return call(self.factory, self._name, self.hyperparams)

    def reproduction(self, column: str, code: str | None) -> str:
        """One line of Python that shows a failure."""
        if code is None:
            asked = [self.maker, f"columns={column!r}"]
            if self.hyperparams:
                asked.append(f"hyperparams={dict(self.hyperparams)!r}")
            return f"testing.check_transformation({', '.join(asked)}).assert_passed()"
        parts = []
        if re.search(r"\btx\b", code):
            parts.append(f"tx = {self._offered(self.name)}")
        if re.search(r"\b(params|grads)\b", code) and "testing.example(" not in code:
            parts += ["params, grads = testing.example()"] * (self._params is None)
        return "; ".join([*parts, code])

    def in_dtype(self, dtype: str, code: str) -> str:
        """The code on the example in another dtype."""
        if self._params is None:
            return f"params, grads = testing.example({dtype!r}); {code}"
        return f"params, grads = testing.cast((params, grads), {dtype!r}); {code}"

    def _offered(self, code: str) -> str:
        try:
            extra = self.extra
        except Exception:  # the factory itself raises
            return code
        return f"testing.with_a_loss({code}, {extra})" if extra else code

    def written(self, changes: Mapping[str, Any]) -> str:
        """The transformation in Python with changed hyperparameters, numbers or code."""
        given = {**self.hyperparams, **changes}
        return self._offered(call(self.factory, self._name, given))

    def written_injected(self, changes: Mapping[str, Any] | None = None) -> str:
        """The same with its hyperparameters in the state."""
        given = keywords({**self.hyperparams, **(changes or {})})
        return self._offered(f"testing.inject({', '.join([self.maker, *given])})")

    @functools.cached_property
    def params(self) -> Any:
        """The parameters of the example."""
        return example()[0] if self._params is None else self._params

    @functools.cached_property
    def grads(self) -> list[Any]:
        """Gradients of a few steps."""
        if self._grads is not None:
            return list(self._grads)
        return example()[1] if self._params is None else drawn_like(self._params)

    @functools.cached_property
    def extra(self) -> tuple[str, ...]:
        """What is offered at each update: the least with which it can be traced."""
        if self._extra is not None:
            return tuple(self._extra)
        bare = self.factory(**self.hyperparams)
        if not isinstance(bare, optax.GradientTransformationExtraArgs):
            return ()
        params, g = self.params, self.grads[0]
        for names in ALL_OFFERS:
            tx = with_a_loss(bare, names)
            try:
                jax.eval_shape(lambda tx=tx: tx.update(g, tx.init(params), params))
            except Exception:
                continue
            return names
        return ()

    @property
    def looks_ahead(self) -> bool:
        """Whether updates depend on the loss at other parameters."""
        if self._looks_ahead is not None:
            return self._looks_ahead
        return bool({"value_fn", "grad_fn"}.intersection(self.extra))

    def build(self, **changes: Any) -> Any:
        """The transformation, some of its hyperparameters changed."""
        tx = self.factory(**{**self.hyperparams, **changes})
        return with_a_loss(tx, self.extra) if self.extra else tx

    def make_injected(self, **changes: Any) -> Any:
        """The transformation with its hyperparameters in the state, by Optax."""
        tx = inject(self.factory, **{**self.hyperparams, **changes})
        return with_a_loss(tx, self.extra) if self.extra else tx

    @functools.cached_property
    def injected(self) -> Any:
        """The same with its numbers."""
        return self.make_injected()

    @functools.cached_property
    def tx(self) -> Any:
        """The transformation with its numbers."""
        return self.build()

    @functools.cached_property
    def compiled(self) -> optax.GradientTransformationExtraArgs:
        """The same with a compiled update."""
        return compiled(self.tx)

    @functools.cached_property
    def compiled_injected(self) -> optax.GradientTransformationExtraArgs:
        """With the hyperparameters in the state and a compiled update."""
        return compiled(self.injected)

    def cast(self, params_dtype: Any, grads_dtype: Any) -> tuple[Any, list[Any]]:
        """The example in other dtypes."""
        grads = [cast(g, grads_dtype) for g in self.grads]
        return cast(self.params, params_dtype), grads

    @functools.cached_property
    def steps(self) -> tuple[list[Any], Any]:
        """Eager updates of all steps, and the last state."""
        return run(self.tx, self.params, self.grads)

    @functools.cached_property
    def compiled_steps(self) -> tuple[list[Any], Any]:
        """The same of the compiled update."""
        return run(self.compiled, self.params, self.grads)

    def steps_in(self, dtype: str) -> tuple[list[Any], Any]:
        """The same with parameters and gradients in another dtype."""
        if dtype not in self._steps_in:
            self._steps_in[dtype] = run(self.tx, *self.cast(dtype, dtype))
        return self._steps_in[dtype]

    @functools.cached_property
    def _steps_in(self) -> dict[str, Any]:
        return {}

    def tolerance(self, column: str) -> dict[str, float]:
        """A few roundings of numbers of order one, or as many times as the column may."""
        times = self.roundings.get(column, 1.0)
        return {"rtol": times * RTOL, "atol": times * ATOL}

    def need_hyperparams(self) -> Mapping[str, Any]:
        """The hyperparameters, for a column that is about them."""
        if not self.hyperparams:
            raise NotApplicable("no hyperparameters were given")
        return self.hyperparams


def _check_factory(factory: Any, hyperparams: Mapping[str, Any]) -> None:
    if not callable(factory):
        raise TypeError(
            f"factory must be a function that makes a transformation, got {factory!r}; "
            "wrap one that is made in a lambda."
        )
    names = inspect.signature(factory).parameters
    if any(x.kind is inspect.Parameter.VAR_KEYWORD for x in names.values()):
        return
    for name, x in hyperparams.items():
        is_number = isinstance(x, numbers.Real) or hasattr(x, "dtype")
        if not is_number or isinstance(x, bool) or jnp.ndim(x):
            raise TypeError(f"hyperparams must be numbers, got {name}={x!r}.")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            hint = f"; do you mean {near[0]!r}?" if near else ": it takes none."
            raise ValueError(f"hyperparams: the factory takes no {name!r}{hint}")


def _check_trees(params: Any, grads: Sequence[Any] | None) -> None:
    for x in jax.tree.leaves(params):
        if not hasattr(x, "dtype"):
            raise TypeError(f"params must be a tree of arrays, got a leaf {x!r}.")
    if grads is None:
        return
    if params is None or len(grads) < 2:
        raise ValueError("grads must be at least two trees, beside params like them.")
    want = jax.tree.map(jnp.shape, params)
    for g in grads:
        if jax.tree.map(jnp.shape, g) != want:
            raise ValueError("grads must be trees of the structure and shapes of params.")


def inject(factory: Callable[..., Any], **hyperparams: Any) -> Any:
    """`optax.inject_hyperparams` of the named hyperparameters alone, the rest is static.

    >>> tx = inject(optax.adam, learning_rate=0.1)
    >>> list(tx.init(0.0).hyperparams)
    ['learning_rate']
    """
    signature = inspect.signature(factory)
    try:
        signature.bind(**hyperparams)
    except TypeError as error:
        given = ", ".join(hyperparams) or "no hyperparameters"
        raise TypeError(f"factory must be called with {given} alone: {error}.") from error
    static = [n for n in signature.parameters if n not in hyperparams]

    @functools.wraps(factory)
    def made(*args: Any, **kwargs: Any) -> Any:
        tx = factory(*args, **kwargs)
        check_made("factory", tx)
        return tx

    return optax.inject_hyperparams(made, static_args=static)(**hyperparams)

"""Columns about whose tree it is: named tuples, dataclasses, Flax, Equinox."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import CLOSE, assert_close, assert_same_signature
from optix_tricks.testing._run import run
from optix_tricks.testing._subject import TransformationSubject


class Pair(NamedTuple):
    """A layer as a named tuple."""

    weight: Any
    bias: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    """A layer as a dataclass."""

    weight: Any
    bias: Any


def three_layers() -> list[dict[str, jax.Array]]:
    """Parameters of a layer and two gradients, always the same.

    >>> for layer in three_layers():
    ...     print(layer["weight"].shape)
    (3, 4)
    (3, 4)
    (3, 4)
    """
    drawn = np.random.default_rng(0).normal(size=(3, 15)).astype(np.float32)
    split = [(x[3:].reshape(3, 4), x[:3]) for x in drawn]
    return [{"weight": jnp.asarray(w), "bias": jnp.asarray(b)} for w, b in split]


def nnx_module(tree: dict) -> Any:
    """Return an `nnx.Module` whose parameters are those of a dict of arrays.

    >>> model = nnx_module({"head": [jnp.zeros(2)], "gain": jnp.ones(())})
    >>> model.head[0].shape
    (2,)
    """
    from optix_tricks.testing._nnx_module import Node

    return Node(tree)


def named_tuples_are_updated_alike(subject: TransformationSubject) -> None:
    """A named tuple of arrays is updated like the dict of the same names."""
    _alike(subject, lambda x: Pair(**x), "lambda x: testing.Pair(**x)")


def dataclasses_are_updated_alike(subject: TransformationSubject) -> None:
    """So is a registered dataclass."""
    _alike(subject, lambda x: Layer(**x), "lambda x: testing.Layer(**x)")


def frozen_dicts_are_updated_alike(subject: TransformationSubject) -> None:
    """So is Flax's `FrozenDict`."""
    try:
        from flax.core import freeze
    except ImportError:
        raise NotApplicable("flax is not installed") from None
    _alike(subject, freeze, "__import__('flax').core.freeze")


def equinox_modules_are_updated_alike(subject: TransformationSubject) -> None:
    """So is an Equinox module, whose static fields are no leaves."""
    try:
        import equinox as eqx
    except ImportError:
        raise NotApplicable("equinox is not installed") from None
    linear = eqx.filter_eval_shape(lambda: eqx.nn.Linear(4, 3, key=jax.random.key(0)))

    def make(x: dict[str, jax.Array]) -> Any:
        return eqx.tree_at(lambda m: (m.weight, m.bias), linear, (x["weight"], x["bias"]))

    code = """lambda x: (lambda eqx: eqx.tree_at(lambda m: (m.weight, m.bias),
        eqx.nn.Linear(4, 3, key=jax.random.key(0)), (x['weight'], x['bias'])))(
        __import__('equinox'))"""
    _alike(subject, make, code)


def _alike(subject: TransformationSubject, make: Any, code: str) -> None:
    """Raise unless the updates of a tree that `make` makes are those of the dict."""
    with showing(f"""
        make, layers = {code}, testing.three_layers();
        find = lambda w, *g: [jax.tree.leaves(u) for u in testing.run(tx, w, g)[0]];
        found, want = find(*map(make, layers)), find(*layers);
        [chex.assert_trees_all_close(sorted(x, key=jnp.size), sorted(y, key=jnp.size),
        {CLOSE}) for x, y in zip(found, want)]; w, g, _ = map(make, layers);
        updates, _ = tx.update(g, tx.init(w), w);
        assert jax.tree.structure(updates) == jax.tree.structure(w)"""):
        params, *grads = three_layers()
        want, _ = run(subject.tx, params, grads)
        params, *grads = map(make, three_layers())
        found, _ = run(subject.tx, params, grads)
        kind: Any = jax.tree.structure(params)
        for ours, theirs in zip(found, want, strict=True):
            if jax.tree.structure(ours) != kind:
                raise AssertionError(f"the updates are a {type(ours).__name__}")
            weight, bias = sorted(jax.tree.leaves(ours), key=jnp.ndim, reverse=True)
            assert_close({"weight": weight, "bias": bias}, theirs)


def nnx_optimizer_makes_the_same_steps(subject: TransformationSubject) -> None:
    """`flax.nnx.Optimizer` comes to the same parameters, and the state keeps its form."""
    try:
        from flax import nnx
    except ImportError:
        raise NotApplicable("flax is not installed") from None
    if not isinstance(subject.params, dict):
        raise NotApplicable("the parameters are no dict of layers")
    with showing("""
        from flax import nnx; model = testing.nnx_module(params);
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param);
        form = jax.tree.map(lambda x: x, optimizer.opt_state);
        optimizer.update(model, nnx.state(testing.nnx_module(grads[0]), nnx.Param));
        testing.assert_same_signature(optimizer.opt_state, form)"""):
        steps = nnx_steps(subject)
        assert_same_signature(steps.optimizer.opt_state, steps.form)
        ours = nnx.to_pure_dict(nnx.state(steps.model, nnx.Param))
        assert_close(jax.tree.leaves(ours), jax.tree.leaves(steps.params), 1e-5, 1e-6)


class NnxSteps(NamedTuple):
    """Twice the example's steps, by an `nnx.Optimizer` and on the plain tree."""

    model: Any
    optimizer: Any
    form: Any  # the optimiser's state when it was made
    params: Any  # of the plain tree, after the steps
    state: Any


@functools.lru_cache(maxsize=1)
def nnx_steps(subject: TransformationSubject) -> NnxSteps:
    """Make them; the parameters move."""
    from flax import nnx

    tx, w = subject.tx, jax.tree.map(jnp.asarray, subject.params)
    state, model = tx.init(w), nnx_module(subject.params)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    form = jax.tree.map(lambda x: x, optimizer.opt_state)
    for g in [*subject.grads, *subject.grads]:
        optimizer.update(model, nnx.state(nnx_module(g), nnx.Param))
        updates, state = tx.update(g, state, w)
        w = optax.apply_updates(w, updates)
    return NnxSteps(model, optimizer, form, w, state)


COLUMNS = (
    named_tuples_are_updated_alike,
    dataclasses_are_updated_alike,
    frozen_dicts_are_updated_alike,
    equinox_modules_are_updated_alike,
    nnx_optimizer_makes_the_same_steps,
)

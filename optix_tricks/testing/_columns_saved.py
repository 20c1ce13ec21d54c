"""Columns about states on disk: flax.serialization, pickle, Orbax."""

import copy
import pickle
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import assert_equal
from optix_tricks.testing._subject import TransformationSubject


def filled(tx: optax.GradientTransformation, params: Any) -> Any:
    """A state with other numbers than `init` gives; nothing is compiled.

    >>> print(filled(optax.trace(0.9), jnp.zeros(3)).trace)
    [1. 1. 1.]
    """
    rng = np.random.default_rng(0)

    def fill(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(1), x.shape)
        return rng.integers(0, 2, x.shape).astype(x.dtype)

    return jax.tree.map(fill, jax.eval_shape(tx.init, params))


def flax_serialization_brings_it_back(subject: TransformationSubject) -> None:
    """`flax.serialization` restores the state from bytes and from a state dict."""
    try:
        import flax.serialization as saved
    except ImportError:
        raise NotApplicable("flax is not installed") from None
    with showing("""
        from flax import serialization; state = tx.init(params);
        found = serialization.from_bytes(state, serialization.to_bytes(state));
        testing.assert_equal(found, state)"""):
        state = filled(subject.tx, subject.params)
        zeros = jax.tree.map(jnp.zeros_like, state)
        assert_equal(saved.from_bytes(zeros, saved.to_bytes(state)), state)
        assert_equal(saved.from_state_dict(zeros, saved.to_state_dict(state)), state)


def pickle_and_deepcopy_bring_it_back(subject: TransformationSubject) -> None:
    """The state is copied deeply, and through `pickle`, to the same."""
    with showing("""
        import copy, pickle; state = tx.init(params);
        testing.assert_equal(pickle.loads(pickle.dumps(state)), state);
        testing.assert_equal(copy.deepcopy(state), state)"""):
        state = filled(subject.tx, subject.params)
        assert_equal(copy.deepcopy(state), state)
        assert_equal(pickle.loads(pickle.dumps(state)), state)


def orbax_brings_it_back(subject: TransformationSubject) -> None:
    """Orbax restores the state, its types too, and the next step is the same bits."""
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        raise NotApplicable("orbax-checkpoint is not installed") from None
    code = """
        import tempfile, orbax.checkpoint as ocp;
        _, state = testing.run(tx, params, grads);
        chex.assert_trees_all_equal_shapes(tx.init(params), state);
        saver, path = ocp.StandardCheckpointer(), tempfile.mkdtemp() + '/state';
        saver.save(path, {'state': state}); saver.wait_until_finished();
        found = saver.restore(path, {'state': tx.init(params)});
        testing.assert_equal(found['state'], state)"""
    with showing(code), tempfile.TemporaryDirectory() as folder:
        (_, state), params = subject.steps, subject.params
        if not jax.tree.leaves(state):
            raise NotApplicable("the state holds no arrays")
        start = {"state": subject.tx.init(params)}
        # Orbax would leave coroutines behind that complain when they are collected.
        shapes, grown = (jax.tree.map(jnp.shape, x) for x in (start["state"], state))
        if shapes != grown:
            raise AssertionError(f"shapes {shapes} of init are {grown} after a step")
        with ocp.StandardCheckpointer() as saver:
            saver.save(f"{folder}/state", {"state": state})
            saver.wait_until_finished()
            found = saver.restore(f"{folder}/state", start)["state"]
        assert_equal(found, state)
        if type(found) is not type(state):
            raise AssertionError(f"{type(found).__name__} is no {type(state).__name__}")
        step, g = subject.compiled.update, subject.grads[0]
        assert_equal(step(g, found, params), step(g, state, params))


COLUMNS = (
    flax_serialization_brings_it_back,
    pickle_and_deepcopy_bring_it_back,
    orbax_brings_it_back,
)

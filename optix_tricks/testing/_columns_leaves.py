"""Columns about leaves that are no ordinary arrays: None, empty, scalar, masked."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.testing._check import showing
from optix_tricks.testing._compare import (
    CLOSE,
    assert_close,
    assert_equal,
    assert_finite,
    signature,
)
from optix_tricks.testing._run import run
from optix_tricks.testing._subject import TransformationSubject

TWO = "{{'w': jnp.arange(1., 7.).reshape(2, 3), 'other': {}}}"


def _two(other: object) -> dict:
    return {"w": jnp.arange(1.0, 7.0).reshape(2, 3), "other": other}


def empty_trees_pass(subject: TransformationSubject) -> None:
    """A tree without leaves is a tree: what is frozen altogether has none."""
    with showing("assert tx.update({}, tx.init({}), {})[0] == {}"):
        if run(subject.tx, {}, [{}])[0] != [{}]:
            raise AssertionError("the update of {} is not {}")


def none_leaves_pass(subject: TransformationSubject) -> None:
    """None, which stands for no parameter, stays None, compiled too."""
    tree = _two(None)
    for maybe_jit, update in (
        ("", subject.tx.update),
        ("jax.jit", subject.compiled.update),
    ):
        with showing(f"""
            tree = {TWO.format(None)}; state = tx.init(tree);
            assert {maybe_jit}(tx.update)(tree, state, tree)[0]['other'] is None"""):
            updates, _ = update(tree, subject.tx.init(tree), tree)
            if updates["other"] is not None:
                raise AssertionError("the update of None is not None")


def missing_gradients_pass(subject: TransformationSubject) -> None:
    """A gradient of None, where there is a parameter, gives an update of None."""
    with showing(f"""
        w, g = {TWO.format("jnp.float32(2)")}, {TWO.format(None)};
        assert tx.update(g, tx.init(w), w)[0]['other'] is None"""):
        w, g = _two(jnp.float32(2.0)), _two(None)
        updates, _ = subject.tx.update(g, subject.tx.init(w), w)
        if updates["other"] is not None:
            raise AssertionError("the update of a missing gradient is not None")


def zero_size_leaves_pass(subject: TransformationSubject) -> None:
    """Leaves without elements keep their shape, and make no NaN of the others."""
    _passes(subject, jnp.zeros((0, 3)), "jnp.zeros((0, 3))")


def scalar_leaves_pass(subject: TransformationSubject) -> None:
    """A parameter of no dimensions is updated like any other."""
    _passes(subject, jnp.float32(2.0), "jnp.float32(2)")


def _passes(subject: TransformationSubject, leaf: jax.Array, said: str) -> None:
    with showing(f"""
        tree = {TWO.format(said)}; updates, _ = testing.run(tx, tree, [tree, tree]);
        chex.assert_tree_all_finite(updates);
        assert updates[1]['other'].shape == {leaf.shape}"""):
        tree = _two(leaf)
        updates, _ = run(subject.tx, tree, [tree, tree])
        assert_finite(updates)
        if updates[1]["other"].shape != leaf.shape:
            kind = signature(updates[1]["other"])
            raise AssertionError(f"the update of {signature(leaf)} is a {kind}")


def masked_leaves_pass_unchanged(subject: TransformationSubject) -> None:
    """What `optax.masked` leaves out comes back as it is, and is as if it were not there.

    Integers are among what is left out.
    """
    code = """
        w, g = ({'w': x, 'kept': x[::-1], 'n': jnp.arange(2)} for x in
        (jnp.array([1., -2.]), jnp.array([3., .5])));
        masked = optax.masked(tx, {'w': True, 'kept': False, 'n': False});
        updates, _ = masked.update(g, masked.init(w), w);"""
    w, g = jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5])
    params, grads = ({"w": x, "kept": x[::-1], "n": jnp.arange(2)} for x in (w, g))
    with showing(f"""{code}
        chex.assert_trees_all_equal(*[(u['kept'], u['n']) for u in (updates, g)])"""):
        masked = optax.masked(subject.tx, {"w": True, "kept": False, "n": False})
        updates, _ = masked.update(grads, masked.init(params), params)
        for name in ("kept", "n"):
            assert_equal(updates[name], grads[name])
    with showing(f"""{code}
        w, g, found = ({{'w': x['w']}} for x in (w, g, updates));
        want, _ = tx.update(g, tx.init(w), w);
        chex.assert_trees_all_close(found, want, {CLOSE})"""):
        want, _ = subject.tx.update({"w": g}, subject.tx.init({"w": w}), {"w": w})
        assert_close({"w": updates["w"]}, want)


def numpy_arrays_are_taken(subject: TransformationSubject) -> None:
    """NumPy arrays for parameters and gradients give what JAX's give."""
    with showing(f"""
        found, _ = testing.run(tx, *jax.tree.map(np.asarray, (params, grads)));
        want, _ = testing.run(tx, params, grads);
        chex.assert_trees_all_close(found, want, {CLOSE})"""):
        params, grads = jax.tree.map(np.asarray, (subject.params, subject.grads))
        assert_close(run(subject.tx, params, grads)[0], subject.steps[0])


COLUMNS = (
    empty_trees_pass,
    none_leaves_pass,
    missing_gradients_pass,
    zero_size_leaves_pass,
    scalar_leaves_pass,
    masked_leaves_pass_unchanged,
    numpy_arrays_are_taken,
)

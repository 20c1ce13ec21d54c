"""Columns about what a transformation is declared not to depend on."""

from typing import Any

import jax
import jax.numpy as jnp

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import assert_close
from optix_tricks.testing._run import run
from optix_tricks.testing._subject import TransformationSubject


def _need(subject: TransformationSubject, name: str) -> None:
    if name not in subject.invariances:
        raise NotApplicable(f"{name!r} is not declared")


def scale_of_gradients_cancels(subject: TransformationSubject) -> None:
    """Gradients 1024 times as large give the same updates: "scale"."""
    _need(subject, "scale")
    with showing("""
        larger = jax.tree.map(lambda g: 1024 * g, grads);
        found, want = (testing.run(tx, params, g)[0] for g in (larger, grads));
        testing.assert_close(found, want, 1e-4, 1e-5)"""):
        larger = jax.tree.map(lambda g: 1024 * g, subject.grads)
        updates, _ = run(subject.tx, subject.params, larger)
        assert_close(updates, subject.steps[0], 1e-4, 1e-5)


def permutations_pass_through(subject: TransformationSubject) -> None:
    """Elements of a leaf in another order give updates in that order: "permutation"."""
    _need(subject, "permutation")
    with showing("""
        turn = lambda t: jax.tree.map(lambda x: x.ravel()[::-1].reshape(x.shape), t);
        found, want = testing.run(tx, *turn((params, grads)))[0],
        turn(testing.run(tx, params, grads)[0]);
        testing.assert_close(found, want, 1e-5, 1e-6)"""):
        updates, _ = run(subject.tx, *_turned((subject.params, subject.grads)))
        assert_close(updates, _turned(subject.steps[0]), 1e-5, 1e-6)


def _turned(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.ravel()[::-1].reshape(x.shape), tree)


def leaves_are_on_their_own(subject: TransformationSubject) -> None:
    """What is NaN in one leaf changes nothing in the others, ever after: "leafwise"."""
    _need(subject, "leafwise")
    with showing("""
        leaves, kind = jax.tree.flatten(grads[0]);
        bad = kind.unflatten([jnp.full_like(leaves[0], jnp.nan), *leaves[1:]]);
        runs = [testing.run(tx, params, [g, grads[1]])[0] for g in (bad, grads[0])];
        found, want = [[jax.tree.leaves(u)[1:] for u in updates] for updates in runs];
        testing.assert_close(found, want)"""):
        leaves, kind = jax.tree.flatten(subject.grads[0])
        spoiled = [jnp.full_like(leaves[0], jnp.nan), *leaves[1:]]
        bad = jax.tree.unflatten(kind, spoiled)
        updates, _ = run(subject.tx, subject.params, [bad, subject.grads[1]])
        for found, want in zip(updates, subject.steps[0], strict=False):
            assert_close(jax.tree.leaves(found)[1:], jax.tree.leaves(want)[1:])


COLUMNS = (
    scale_of_gradients_cancels,
    permutations_pass_through,
    leaves_are_on_their_own,
)

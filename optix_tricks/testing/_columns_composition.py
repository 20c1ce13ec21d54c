"""Columns about what Optax's own functions build around a transformation."""

import jax
import jax.numpy as jnp
import optax

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import CLOSE, assert_close
from optix_tricks.testing._run import compiled, run
from optix_tricks.testing._slots import slots
from optix_tricks.testing._subject import TransformationSubject


def optax_wrappers_change_nothing(subject: TransformationSubject) -> None:
    """In `chain`, `partition`, `apply_if_finite` and `MultiSteps` updates are the same.

    Each is around the one before; `MultiSteps` shows each gradient twice.
    """
    with showing(f"""
        labels = jax.tree.map(lambda _: 'all', params);
        inner = optax.partition({{'all': optax.chain(optax.identity(), tx)}}, labels);
        outer = optax.MultiSteps(optax.apply_if_finite(inner, 3), 2);
        outer = testing.compiled(outer.gradient_transformation());
        found, _ = testing.run(outer, params, [g for g in grads for _ in (0, 1)]);
        want, _ = testing.run(tx, params, grads);
        chex.assert_trees_all_close(found[1::2], want, {CLOSE})"""):
        labels = jax.tree.map(lambda _: "all", subject.params)
        chain = optax.chain(optax.identity(), subject.tx)
        inner = optax.apply_if_finite(optax.partition({"all": chain}, labels), 3)
        outer = compiled(optax.MultiSteps(inner, 2).gradient_transformation())
        updates, _ = run(
            outer, subject.params, [g for g in subject.grads for _ in (0, 1)]
        )
        assert_close(updates[1::2], subject.steps[0])


def tree_map_params_finds_the_slots(subject: TransformationSubject) -> None:
    """`optax.tree.map_params` reaches what the state keeps for each parameter."""
    tx, params = subject.tx, subject.params
    with showing("""
        marked = optax.tree.map_params(tx, lambda x: jnp.full_like(x, 7),
        tx.init(params), is_leaf=lambda x: x is None);
        assert all((x == 7).all() for _, x, _ in testing.slots(marked, params))"""):
        state = tx.init(params)
        if not slots(state, params):
            raise NotApplicable("the state keeps nothing for each parameter")
        marked = optax.tree.map_params(
            tx, lambda x: jnp.full_like(x, 7), state, is_leaf=lambda x: x is None
        )
        for name, x, _ in slots(marked, params):
            if not (x == 7).all():
                raise AssertionError(f"at {name}: what is kept is not found")


COLUMNS = (
    optax_wrappers_change_nothing,
    tree_map_params_finds_the_slots,
)

"""Columns about gradients that are zero, NaN or infinite."""

import jax
import jax.numpy as jnp

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import assert_finite, assert_same_signature
from optix_tricks.testing._run import run
from optix_tricks.testing._subject import TransformationSubject


def zero_gradients_give_finite_updates(subject: TransformationSubject) -> None:
    """Gradients of zero give no NaN and no infinity, in the first step and the second."""
    code = """
        zeros = jax.tree.map(jnp.zeros_like, grads[0]);
        chex.assert_tree_all_finite(testing.run(tx, params, [zeros, zeros])[0])"""
    for dtype in ("float32", "bfloat16", "float16"):
        with showing(subject.in_dtype(dtype, code)):
            params, grads = subject.cast(dtype, dtype)
            zeros = jax.tree.map(jnp.zeros_like, grads[0])
            assert_finite(run(subject.tx, params, [zeros, zeros])[0])


def zero_parameters_give_finite_updates(subject: TransformationSubject) -> None:
    """Parameters of zero give none either, with gradients of zero and with others."""
    zeros = jax.tree.map(jnp.zeros_like, subject.params)
    for first, said in ((subject.grads[0], "grads[0]"), (zeros, "zeros")):
        with showing(f"""
            zeros = jax.tree.map(jnp.zeros_like, params);
            updates, _ = testing.run(tx, zeros, [{said}, grads[0]]);
            chex.assert_tree_all_finite(updates)"""):
            updates, _ = run(subject.compiled, zeros, [first, subject.grads[0]])
            assert_finite(updates)


def nonfinite_gradients_leave_the_state_whole(subject: TransformationSubject) -> None:
    """A NaN or an infinity in one leaf raises nothing and keeps kinds as they are.

    What the numbers become is each transformation's own: a norm spreads them, a rule for
    one array does not, a guard skips the step.
    """
    leaves, kind = jax.tree.flatten(subject.grads[0])
    if not leaves:
        raise NotApplicable("the gradients have no leaves")
    for bad in ("nan", "inf", "-inf"):
        with showing(f"""
            leaves, kind = jax.tree.flatten(grads[0]);
            bad = kind.unflatten([jnp.full_like(leaves[0], float({bad!r})), *leaves[1:]]);
            state = tx.init(params); found = tx.update(bad, state, params);
            want = tx.update(grads[0], state, params);
            testing.assert_same_signature(found, want)"""):
            spoiled = [jnp.full_like(leaves[0], float(bad)), *leaves[1:]]
            tx, params = subject.tx, subject.params
            state = tx.init(params)
            want = jax.eval_shape(tx.update, subject.grads[0], state, params)
            found = tx.update(jax.tree.unflatten(kind, spoiled), state, params)
            assert_same_signature(found, want)


COLUMNS = (
    zero_gradients_give_finite_updates,
    zero_parameters_give_finite_updates,
    nonfinite_gradients_leave_the_state_whole,
)

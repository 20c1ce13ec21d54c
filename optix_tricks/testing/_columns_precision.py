"""Columns about dtypes: what 16 bits cost, and that 64 are kept."""

import jax
import jax.numpy as jnp

from optix_tricks.testing._check import showing
from optix_tricks.testing._compare import (
    assert_close,
    assert_one_rounding,
    cast,
    written,
)
from optix_tricks.testing._run import compiled, run
from optix_tricks.testing._subject import TransformationSubject


def updates_keep_their_dtype(subject: TransformationSubject) -> None:
    """Updates leave in the dtype of parameters and gradients, or in the declared one."""
    tx = subject.tx
    for dtype in ("float32", "bfloat16", "float16"):
        want = jnp.dtype(subject.updates_dtype or dtype)
        with showing(
            subject.in_dtype(
                dtype,
                f"""updates, _ = tx.update(grads[0], tx.init(params), params);
                chex.assert_type(jax.tree.leaves(updates), jnp.{want})""",
            )
        ):
            params, grads = subject.cast(dtype, dtype)
            updates, _ = jax.eval_shape(tx.update, grads[0], tx.init(params), params)
            for path, u in jax.tree_util.tree_leaves_with_path(updates):
                if u.dtype != want:
                    where = jax.tree_util.keystr(path)
                    raise AssertionError(f"at {where}: {u.dtype} is not {want}")


def bfloat16_costs_one_rounding(subject: TransformationSubject) -> None:
    """Updates of bfloat16 gradients are those of the same numbers in float32, rounded."""
    _costs_one_rounding(subject, "bfloat16")


def float16_costs_one_rounding(subject: TransformationSubject) -> None:
    """Updates of float16 gradients are those of the same numbers in float32, rounded."""
    _costs_one_rounding(subject, "float16")


def _costs_one_rounding(subject: TransformationSubject, dtype: str) -> None:
    """With parameters in float32 and in `dtype`: within a unit in the last place.

    Whose updates leave in a declared dtype looks after the parameters' rounding itself;
    who evaluates the loss elsewhere does so at rounded parameters.
    """
    code = f"""
        low = testing.cast((params, grads), {dtype!r});
        wide = testing.cast(low, 'float32');
        found, _ = testing.run(tx, {{}}[0], low[1]); want, _ = testing.run(tx, *wide);
        testing.assert_one_rounding(found, want, {dtype!r})"""
    low = subject.cast(dtype, dtype)
    wide = cast(low, "float32")
    with showing(code.format("wide")):
        exact, _ = run(subject.tx, *wide)
        found, _ = run(subject.tx, wide[0], low[1])
        assert_one_rounding(found, exact, dtype)
    if subject.updates_dtype is None and not subject.looks_ahead:
        with showing(code.format("low")):
            found, _ = subject.steps_in(dtype)
            assert_one_rounding(found, exact, dtype)


def float64_is_kept(subject: TransformationSubject) -> None:
    """With 64 bits enabled, float64 comes out, and float32's numbers are its rounding."""
    near = subject.tolerance("float64_is_kept")
    with showing(f"""
        narrow, _ = testing.run(tx, params, grads);
        jax.config.update('jax_enable_x64', True);
        params, grads = testing.cast((params, grads), 'float64');
        wide, _ = testing.run(testing.compiled(tx), params, grads);
        chex.assert_type(jax.tree.leaves(wide), jnp.float64);
        testing.assert_close(testing.cast(wide, 'float32'), narrow, {written(near)})"""):
        narrow, _ = subject.steps
        with jax.enable_x64(True):
            params, grads = subject.cast("float64", "float64")
            wide, _ = run(compiled(subject.build()), params, grads)
            kinds = {str(u.dtype) for u in jax.tree.leaves(wide)}
            if kinds - {"float64"}:
                raise AssertionError(f"updates leave in {', '.join(sorted(kinds))}")
            wide = cast(wide, "float32")
        assert_close(wide, narrow, **near)


COLUMNS = (
    updates_keep_their_dtype,
    bfloat16_costs_one_rounding,
    float16_costs_one_rounding,
    float64_is_kept,
)

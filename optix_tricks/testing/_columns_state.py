"""Columns about the state: what it is made of, however it is made and passed on."""

from typing import Any

import jax

from optix_tricks.testing._check import showing
from optix_tricks.testing._compare import (
    CLOSE,
    assert_close,
    assert_equal,
    assert_same_signature,
    signature,
)
from optix_tricks.testing._subject import TransformationSubject

DTYPES = ("float32", "bfloat16", "float16", "float64")
STEP = "tx.update(grads[0], state, params)"


def _in(subject: TransformationSubject, dtype: str, code: str) -> str:
    wide = "jax.config.update('jax_enable_x64', True); " if dtype == "float64" else ""
    return wide + subject.in_dtype(dtype, code)


def init_from_shapes(subject: TransformationSubject) -> None:
    """`init` takes shapes in place of arrays, and under `eval_shape` makes the same."""
    code = "testing.assert_same_signature({}, tx.init(params))"
    traced = code.format("jax.eval_shape(tx.init, params)")
    shaped = code.format("tx.init(jax.eval_shape(lambda: params))")
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            tx, (params, _) = subject.tx, subject.cast(dtype, dtype)
            want = tx.init(params)
            with showing(_in(subject, dtype, traced)):
                assert_same_signature(jax.eval_shape(tx.init, params), want)
            with showing(_in(subject, dtype, shaped)):
                shapes = jax.eval_shape(lambda params=params: params)
                assert_same_signature(tx.init(shapes), want)


def state_is_stable(subject: TransformationSubject) -> None:
    """The state keeps structure, shapes, dtypes and weak types from step to step."""
    code = f"state = tx.init(params); testing.assert_same_signature({STEP}[1], state)"
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"), showing(_in(subject, dtype, code)):
            params, grads = subject.cast(dtype, dtype)
            state = subject.tx.init(params)
            _, after = jax.eval_shape(subject.tx.update, grads[0], state, params)
            assert_same_signature(after, state)
            if dtype != "float64":
                assert_same_signature(subject.steps_in(dtype)[1], state)


def scan_and_cond_carry_the_state(subject: TransformationSubject) -> None:
    """The state is a carry of `scan`, and the same on both ways of a `cond`."""
    scanned = f"""
        step = lambda state, _: ({STEP}[1], None);
        scanned = lambda state: jax.lax.scan(step, state, None, 2);
        jax.eval_shape(scanned, tx.init(params))"""
    kept = f"""
        kept = lambda state: jax.lax.cond(True, lambda: {STEP}[1], lambda: state);
        jax.eval_shape(kept, tx.init(params))"""
    for dtype in ("float32", "bfloat16"):
        _carry(subject, dtype, scanned, kept)


def _carry(subject: TransformationSubject, dtype: str, scanned: str, kept: str) -> None:
    """Traced, not run: a scan or cond whose carry changes its type raises then."""
    params, grads = subject.cast(dtype, dtype)

    def step(state: Any, _: None = None) -> tuple[Any, None]:
        return subject.tx.update(grads[0], state, params)[1], None

    with showing(subject.in_dtype(dtype, scanned)):
        start = subject.tx.init(params)
        after = jax.eval_shape(lambda s: jax.lax.scan(step, s, None, 2)[0], start)
        assert_same_signature(after, start)
    with showing(subject.in_dtype(dtype, kept)):
        either = (lambda s: step(s)[0]), (lambda s: s)
        after = jax.eval_shape(lambda s: jax.lax.cond(True, *either, s), start)
        assert_same_signature(after, start)


def jit_equals_eager(subject: TransformationSubject) -> None:
    """A compiled update gives the eager one's numbers, up to a few roundings."""
    with showing(f"""
        compiled, _ = testing.run(testing.compiled(tx), params, grads);
        eager, _ = testing.run(tx, params, grads);
        chex.assert_trees_all_close(compiled, eager, {CLOSE})"""):
        assert_close(subject.compiled_steps[0], subject.steps[0])


def is_pure(subject: TransformationSubject) -> None:
    """The same call gives the same bits again, and leaves the state that it was given."""
    with showing(f"""
        state = tx.init(params); before = jax.tree.map(lambda x: x, state);
        first = {STEP}; again = {STEP}; testing.assert_equal(again, first);
        testing.assert_equal(state, before)"""):
        tx, params, g = subject.tx, subject.params, subject.grads[0]
        state = tx.init(params)
        before, kind = jax.tree.map(lambda x: x, state), signature(state)
        first = tx.update(g, state, params)
        assert_equal(tx.update(g, state, params), first)
        assert_equal(state, before)
        if signature(state) != kind:
            raise AssertionError("the update changes the state that it is given")


def steps_compile_once(subject: TransformationSubject) -> None:
    """Three steps are one compiled program: nothing in the state forces another."""
    traced = []

    def update(grads: Any, state: Any, params: Any) -> Any:
        traced.append(1)
        return subject.tx.update(grads, state, params)

    with showing("""
        update = jax.jit(tx.update);
        testing.run(optax.GradientTransformation(tx.init, update), params, grads);
        assert update._cache_size() == 1"""):
        state, jitted = subject.tx.init(subject.params), jax.jit(update)
        for g in subject.grads:
            jitted.trace(g, state, subject.params)  # traced, not compiled
            _, state = subject.compiled.update(g, state, subject.params)
        if len(traced) > 1:
            raise AssertionError(f"{len(traced)} programs for {len(subject.grads)} steps")


COLUMNS = (
    init_from_shapes,
    state_is_stable,
    scan_and_cond_carry_the_state,
    jit_equals_eager,
    is_pure,
    steps_compile_once,
)

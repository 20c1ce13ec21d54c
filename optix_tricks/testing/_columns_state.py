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

STEP = "tx.update(grads[0], state, params)"


def init_from_shapes(subject: TransformationSubject) -> None:
    """`init` takes shapes in place of arrays, and under `eval_shape` makes the same."""
    tx, params = subject.tx, subject.params
    want = tx.init(params)
    code = "testing.assert_same_signature({}, tx.init(params))"
    with showing(code.format("jax.eval_shape(tx.init, params)")):
        assert_same_signature(jax.eval_shape(tx.init, params), want)
    with showing(code.format("tx.init(jax.eval_shape(lambda: params))")):
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
        assert_same_signature(tx.init(shapes), want)


def state_is_stable(subject: TransformationSubject) -> None:
    """The state keeps structure, shapes, dtypes and weak types from step to step."""
    code = f"state = tx.init(params); testing.assert_same_signature({STEP}[1], state)"
    with showing(code):
        state = subject.tx.init(subject.params)
        assert_same_signature(subject.steps[1], state)
    for dtype in ("float32", "bfloat16", "float16"):
        with showing(subject.in_dtype(dtype, code)):
            _is_stable_when_traced(subject, dtype)
    wide = subject.in_dtype("float64", code)
    with (
        jax.enable_x64(True),
        showing(f"jax.config.update('jax_enable_x64', True); {wide}"),
    ):
        _is_stable_when_traced(subject, "float64")


def _is_stable_when_traced(subject: TransformationSubject, dtype: str) -> None:
    params, grads = subject.cast(dtype, dtype)
    state = subject.tx.init(params)
    _, after = jax.eval_shape(subject.tx.update, grads[0], state, params)
    assert_same_signature(after, state)


def scan_and_cond_carry_the_state(subject: TransformationSubject) -> None:
    """The state is a carry of `scan`, and the same on both ways of a `cond`."""
    scanned = f"""
        step = lambda state, _: ({STEP}[1], None);
        scanned = lambda state: jax.lax.scan(step, state, None, 2);
        jax.eval_shape(scanned, tx.init(params))"""
    kept = f"""
        kept = lambda state: jax.lax.cond(True, lambda: {STEP}[1], lambda: state);
        jax.eval_shape(kept, tx.init(params))"""
    for dtype in ("float32", "bfloat16", "float16"):
        params, grads = subject.cast(dtype, dtype)

        def step(state: Any, g: Any = grads[0], params: Any = params) -> Any:
            return subject.tx.update(g, state, params)[1]

        # Traced, not run: a scan or cond whose carry changes its type raises then.
        with showing(subject.in_dtype(dtype, scanned)):
            start = subject.tx.init(params)

            def scan(state: Any, step: Any = step) -> Any:
                return jax.lax.scan(lambda s, _: (step(s), None), state, None, length=2)[
                    0
                ]

            assert_same_signature(jax.eval_shape(scan, start), start)
        with showing(subject.in_dtype(dtype, kept)):

            def cond(state: Any, step: Any = step) -> Any:
                return jax.lax.cond(True, step, lambda s: s, state)

            assert_same_signature(jax.eval_shape(cond, start), start)


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
        state = tx.init(params); first = {STEP}; again = {STEP};
        chex.assert_trees_all_equal(again, first)"""):
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

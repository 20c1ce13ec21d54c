"""Columns about hyperparameters as data: injected, scheduled, vmapped."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.testing._check import showing
from optix_tricks.testing._compare import CLOSE, assert_close, written
from optix_tricks.testing._run import run
from optix_tricks.testing._subject import TransformationSubject


def arrays_serve_as_hyperparameters(subject: TransformationSubject) -> None:
    """A JAX array or a NumPy number gives what the Python number gives."""
    given = subject.need_hyperparams()
    for wrap, said in ((jnp.float32, "jnp.float32"), (np.float64, "np.float64")):
        inside = {name: f"{said}({x!r})" for name, x in given.items()}
        with showing(f"""
            other = {subject.written(inside)};
            found, _ = testing.run(other, params, grads);
            want, _ = testing.run(tx, params, grads);
            chex.assert_trees_all_close(found, want, {CLOSE})"""):
            other = subject.build(**{name: wrap(x) for name, x in given.items()})
            found, _ = run(other, subject.params, subject.grads)
            assert_close(found, subject.steps[0])


def injected_numbers_are_obeyed(subject: TransformationSubject) -> None:
    """A number set in the state of `inject_hyperparams` counts from the next step on."""
    given = subject.need_hyperparams()
    halved = {name: x / 2 for name, x in given.items()}
    with showing(f"""
        inner = {subject.written_injected()}; state = inner.init(params);
        state.hyperparams.update({{n: jnp.float32(x) for n, x in {halved!r}.items()}});
        found, _ = jax.jit(inner.update)(grads[0], state, params);
        other = {subject.written(halved)};
        want, _ = other.update(grads[0], other.init(params), params);
        chex.assert_trees_all_close(found, want, {CLOSE})"""):
        g, params = subject.grads[0], subject.params
        tx = subject.build(**halved)
        want, _ = tx.update(g, tx.init(params), params)
        for inner in (subject.injected, subject.compiled_injected):
            state = inner.init(params)
            state.hyperparams.update({n: jnp.float32(x) for n, x in halved.items()})
            assert_close(inner.update(g, state, params)[0], want)


def schedules_are_followed(subject: TransformationSubject) -> None:
    """A schedule in `inject_hyperparams` gives what its number gives at each step."""
    given = subject.need_hyperparams()
    said = {name: f"lambda count: {x!r} / (1 + count)" for name, x in given.items()}
    with showing(f"""
        found, _ = testing.run({subject.written_injected(said)}, params, grads);
        inner = testing.compiled({subject.written_injected()});
        _, state = inner.update(grads[0], inner.init(params), params);
        state.hyperparams.update({{n: x / 2 for n, x in state.hyperparams.items()}});
        want, _ = inner.update(grads[1], state, params);
        chex.assert_trees_all_close(found[1], want, {CLOSE})"""):
        schedules = {
            name: lambda count, x=x: x / (1 + count) for name, x in given.items()
        }
        found, _ = run(subject.make_injected(**schedules), subject.params, subject.grads)
        inner = subject.compiled_injected
        state = inner.init(subject.params)
        for t, g in enumerate(subject.grads):
            now = {name: jnp.float32(x / (1 + t)) for name, x in given.items()}
            state.hyperparams.update(now)
            want, state = inner.update(g, state, subject.params)
            assert_close(found[t], want)


def vmapped_numbers_equal_a_loop(subject: TransformationSubject) -> None:
    """`vmap` over the hyperparameters gives what a loop over them gives."""
    given = subject.need_hyperparams()
    near = subject.tolerance("vmapped_numbers_equal_a_loop")
    names = list(given)
    # Each in turn is halved and quartered, the others stay.
    shrink = np.concatenate([1 - s * np.eye(len(names)) for s in (0.5, 0.75)])
    settings = (shrink * np.array([float(x) for x in given.values()])).astype(np.float32)
    each = {name: f"x[{place}]" for place, name in enumerate(names)}
    with showing(f"""
        make = lambda x: {subject.written(each)}; x = jnp.array({settings.tolist()!r});
        train = lambda tx: testing.run(tx, params, grads[:2]);
        alone = [train(testing.compiled(make(y))) for y in x];
        found = jax.jit(jax.vmap(lambda y: train(make(y))))(x);
        want = jax.tree.map(lambda *y: jnp.stack(y), *alone);
        testing.assert_close(found, want, {written(near)})"""):
        params, grads = subject.params, subject.grads[:2]

        def train(values: jax.Array) -> tuple[list[Any], Any]:
            tx = subject.build(**dict(zip(names, values, strict=True)))
            return run(tx, params, grads)

        together = jax.jit(jax.vmap(train))(settings)
        inner, alone = subject.compiled_injected, []
        for values in settings:
            state = inner.init(params)
            state.hyperparams.update(zip(names, map(jnp.asarray, values), strict=True))
            updates, state = run(inner, params, grads, state)
            alone.append((updates, state.inner_state))
        assert_close(together, jax.tree.map(lambda *x: jnp.stack(x), *alone), **near)


def changed_numbers_compile_nothing(subject: TransformationSubject) -> None:
    """A changed hyperparameter runs in the program that is there."""
    given = subject.need_hyperparams()
    inner, traced = subject.injected, []

    def update(grads: Any, state: Any, params: Any) -> Any:
        traced.append(1)
        return inner.update(grads, state, params)

    with showing(f"""
        inner = {subject.written_injected()}; update = jax.jit(inner.update);
        _, state = update(grads[0], inner.init(params), params);
        state.hyperparams.update({{n: x // 2 if jnp.issubdtype(x.dtype, jnp.integer)
        else x / 2 for n, x in state.hyperparams.items()}});
        update(grads[1], state, params);
        assert update._cache_size() == 1"""):
        jitted, params = jax.jit(update), subject.params
        state = inner.init(params)
        jitted.trace(subject.grads[0], state, params)  # traced, not compiled
        _, state = subject.compiled_injected.update(subject.grads[0], state, params)
        for name in given:
            x = state.hyperparams[name]
            is_whole = jnp.issubdtype(x.dtype, jnp.integer)
            state.hyperparams[name] = x // 2 if is_whole else x / 2
        jitted.trace(subject.grads[1], state, params)
        if len(traced) > 1:
            raise AssertionError("a changed hyperparameter compiles the update again")


COLUMNS = (
    arrays_serve_as_hyperparameters,
    injected_numbers_are_obeyed,
    schedules_are_followed,
    vmapped_numbers_equal_a_loop,
    changed_numbers_compile_nothing,
)

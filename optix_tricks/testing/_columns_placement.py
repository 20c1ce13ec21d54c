"""Columns about buffers and devices: donated, sharded over eight, mapped over two."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from optix_tricks.testing._check import NotApplicable, showing
from optix_tricks.testing._compare import CLOSE, assert_close
from optix_tricks.testing._slots import slots
from optix_tricks.testing._subject import TransformationSubject

DEVICES = 8


def _need_devices(count: int) -> None:
    if jax.device_count() < count:
        raise NotApplicable(f"{count} devices are needed, there is {jax.device_count()}")


def state_can_be_donated(subject: TransformationSubject) -> None:
    """A step may overwrite its state; parameters and what the factory was given stay."""
    code = """
        update = jax.jit(tx.update, donate_argnums=1);
        _, state = update(grads[0], tx.init(params), params);
        update(grads[1], state, params);
        assert not any(x.is_deleted() for x in jax.tree.leaves(params))"""
    with showing(code):
        _step_twice(subject, subject.tx)
    given = {name: jnp.float32(x) for name, x in subject.hyperparams.items()}
    said = {name: f"jnp.float32({x!r})" for name, x in subject.hyperparams.items()}
    with showing(f"""
        given = dict({", ".join(f"{name}={x}" for name, x in said.items())});
        tx = {subject.written({name: f"given[{name!r}]" for name in said})};
        {code}; print(given)"""):
        _step_twice(subject, subject.build(**given))
        assert_close(given, dict(subject.hyperparams))


def _step_twice(subject: TransformationSubject, tx: Any) -> None:
    update = jax.jit(tx.update, donate_argnums=1)
    params = jax.tree.map(jnp.copy, subject.params)  # a state may hold them itself
    with warnings.catch_warnings():  # a buffer that cannot be used again is no fault
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        _, state = update(subject.grads[0], tx.init(params), params)
        update(subject.grads[1], state, params)
    if any(x.is_deleted() for x in jax.tree.leaves(params)):
        raise AssertionError("the parameters' buffers go with the state's")


def shardings_are_kept(subject: TransformationSubject) -> None:
    """What is kept for a parameter lies where the parameter does, on eight devices.

    A parameter whose last axis eight divides lies in eighths; updates are those of one
    device.
    """
    _need_devices(DEVICES)
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def place(x: Any) -> Any:
        is_split = x.ndim and x.size and x.shape[-1] % DEVICES == 0
        axes = [None] * (x.ndim - 1) + ["data"] if is_split else []
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))

    code = """
        auto = jax.sharding.AxisType.Auto;
        mesh = jax.make_mesh((8,), ('d',), axis_types=(auto,));
        place = lambda x: jax.device_put(x, jax.NamedSharding(mesh, jax.P(*
        [None] * (x.ndim - 1), 'd') if x.ndim and x.shape[-1] % 8 == 0 else jax.P()));
        params, grads = jax.tree.map(place, (params, grads));"""
    with showing(
        f"{code} kept = testing.slots(tx.init(params), params); assert all("
        "x.sharding.is_equivalent_to(w.sharding, x.ndim) for _, x, w in kept)"
    ):
        params, grads = jax.tree.map(place, (subject.params, subject.grads))
        state = subject.tx.init(params)
        for name, x, param in slots(state, params):
            if not x.sharding.is_equivalent_to(param.sharding, x.ndim):
                raise AssertionError(f"at {name}: the sharding is not the parameter's")
    with showing(f"""
        want, _ = testing.run(tx, params, grads); {code}
        found, _ = jax.device_get(testing.run(testing.compiled(tx), params, grads));
        chex.assert_trees_all_close(found, want, {CLOSE})"""):
        for g, want in zip(grads, subject.steps[0], strict=True):
            updates, state = subject.compiled.update(g, state, params)
            # Devices that are threads wait for each other: one step at a time.
            assert_close(jax.block_until_ready(updates), want)


def pmap_equals_one_device(subject: TransformationSubject) -> None:
    """Under `pmap` each device makes the step that one device makes alone."""
    _need_devices(2)
    with showing(f"""
        step = grads[0], tx.init(params), params;
        twice = jax.tree.map(lambda x: jnp.stack([x, x]), step);
        updates, _ = jax.pmap(tx.update, devices=jax.devices()[:2])(*twice);
        found = jax.tree.map(lambda x: x[1], updates);
        chex.assert_trees_all_close(found, tx.update(*step)[0], {CLOSE})"""):
        step = subject.grads[0], subject.tx.init(subject.params), subject.params
        twice = jax.tree.map(lambda x: jnp.stack([x, x]), step)
        mapped = jax.pmap(subject.tx.update, devices=jax.devices()[:2])
        updates = jax.device_get(mapped(*twice)[0])
        for device in (0, 1):
            ours = jax.tree.map(lambda x, d=device: x[d], updates)
            assert_close(ours, subject.steps[0][0])


COLUMNS = (
    state_can_be_donated,
    shardings_are_kept,
    pmap_equals_one_device,
)

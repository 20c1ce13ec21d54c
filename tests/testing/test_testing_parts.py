"""Faulty losses, schedules and layers: each is found by the columns that are about it."""

import inspect

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from optix_tricks import testing


def squares(x):
    return jnp.mean(jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32)) ** 2, axis=1)


def mean_of_the_batch(x):
    return jnp.mean(squares(x))


def in_the_dtype_of_scores(x):
    return jnp.mean(x**2, axis=1)


def overflowing(x):
    return jnp.log(jnp.exp(squares(x)))


def without_gradient(x):
    return squares(x) + squares(jax.lax.stop_gradient(x))


LOSSES = {
    squares: set(),
    mean_of_the_batch: {"one_finite_float32_for_each_example"},
    in_the_dtype_of_scores: {"bfloat16_is_computed_in_float32"},
    overflowing: {"any_scale_and_equal_scores_are_finite"},
    without_gradient: {"gradient_is_that_of_differences"},
}


def fall(start):
    return lambda count: start / (1.0 + jnp.maximum(count, 0))


def counted_in_float32(start):
    def schedule(count):
        capped = jnp.clip(jnp.asarray(count, jnp.float32) - 2.0**24, 0, 1)
        return jnp.float32(start) * (1 - capped)

    return schedule


def step_at_2_24(count):
    return 0.3 * (1 - min(max(count - 2**24, 0), 1))


def in_python(start):
    return lambda count: jnp.asarray(start if count < 3 else 0.0, jnp.float32)


def without_derivative(start):
    return lambda count: start + 0.0 * jnp.sqrt(0.0 * start * (1.0 + jnp.asarray(count)))


SCHEDULES = {
    counted_in_float32: {"float64_is_kept", "the_ends_of_32_bits_are_the_reference"},
    in_python: {
        "scan_carries_the_value",
        "float64_is_kept",
        "the_ends_of_32_bits_are_the_reference",
    },
}


class Scale(nnx.Module):
    """Multiplies, and remembers what it has seen."""

    def __init__(self, dtype=None, param_dtype=None):
        self.scale = nnx.Param(jnp.ones(3, param_dtype or jnp.float32))
        self.seen = nnx.BatchStat(jnp.zeros((), jnp.float32))
        self.dtype = dtype or jnp.float32

    def __call__(self, x, train=True):
        if train:
            self.seen[...] = self.seen[...] + 1
        wide = jnp.promote_types(x.dtype, jnp.float32)
        y = x.astype(wide) * self.scale[...].astype(wide)[None]
        return y.astype(self.dtype)


class ScaleInFloat32(Scale):
    def __call__(self, x, train=True):
        return super().__call__(x, train).astype(jnp.float32)


class Restless(Scale):
    def __call__(self, x, train=True):
        return super().__call__(x, True)


class Rough(Scale):
    def __call__(self, x, train=True):
        return jnp.round(super().__call__(x, train), 1)


LAYERS = {
    Scale: set(),
    ScaleInFloat32: {"dtype_in_is_dtype_out", "gradient_is_that_of_differences"},
    Restless: {"evaluation_changes_nothing"},
    Rough: {"gradient_is_that_of_differences"},
}


def columns_of(faults):
    return sorted(set().union(*faults.values()))


def failed(table):
    return {row.column for row in table.failures}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_faulty_loss_is_found(loss):
    table = testing.check_loss(
        loss, lambda rng: (rng.normal(size=(8, 3)),), columns=columns_of(LOSSES)
    )
    # What returns one number for all has no gradient or scale to speak of.
    beside = set() if loss is not mean_of_the_batch else failed(table)
    assert failed(table) >= LOSSES[loss]
    assert failed(table) - beside <= LOSSES[loss], str(table)
    for row in table.failures:
        assert f"columns={row.column!r}" in row.reproduction


@pytest.mark.parametrize("factory", SCHEDULES, ids=lambda factory: factory.__name__)
def test_a_faulty_schedule_is_found(factory):
    table = testing.check_schedule(
        factory,
        hyperparams={"start": 0.3},
        reference=step_at_2_24,
        columns=columns_of(SCHEDULES),
    )
    assert failed(table) == SCHEDULES[factory], str(table)


def test_derivatives_and_weak_types_of_a_schedule_are_asked():
    asked = {"hyperparams": {"start": 0.3}}
    name = "derivatives_by_each_number_are_finite"
    assert testing.check_schedule(fall, columns=name, **asked).passed
    table = testing.check_schedule(without_derivative, columns=name, **asked)
    assert failed(table) == {name}
    kinds = testing.check_schedule(
        lambda start: lambda count: start, columns="counts_of_every_kind_agree", **asked
    )
    assert failed(kinds) == {"counts_of_every_kind_agree"}


@pytest.mark.parametrize("build", LAYERS, ids=lambda build: build.__name__)
def test_a_faulty_layer_is_found(build):
    table = testing.check_layer(
        build,
        (4, 3),
        training={"train": True},
        evaluation={"train": False},
        columns=columns_of(LAYERS),
    )
    assert failed(table) == LAYERS[build], str(table)


def made(subject, *args):
    """What a person gets, whose calls no test instruments."""
    inspect.unwrap(subject.__init__)(object.__new__(subject), *args)


def test_bad_arguments_raise_in_one_sentence():
    with pytest.raises(TypeError, match=r"^loss must be a function, got 3\.$"):
        made(testing.LossSubject, 3, print)
    with pytest.raises(TypeError, match=r"^make must be a function, got 3\.$"):
        made(testing.LossSubject, print, 3)
    with pytest.raises(TypeError, match="build must be a function that makes a layer"):
        made(testing.LayerSubject, None, (1,))
    with pytest.raises(TypeError, match="factory must be a function, got 'x'"):
        made(testing.ScheduleSubject, "x")
    with pytest.raises(ValueError, match="do you mean 'float64_is_kept'"):
        testing.check_schedule(fall, columns="float64_kept")

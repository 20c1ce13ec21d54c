"""Columns of schedules: every kind of count, of number, and the ends of both."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.testing._check import Column
from optix_tricks.testing._compare import assert_close, assert_finite
from optix_tricks.testing._schedule_subject import COUNTS, ScheduleSubject

LAST = 2**31 - 1  # JAX's last default integer
NEAR = 1e-6, 1e-8
NEAR_WIDE = 2e-6, 1e-8  # of a number that float32 has rounded


def _check_kind(values: Any, shape: tuple[int, ...]) -> None:
    for x in jax.tree.leaves(values):
        kind = (x.dtype, x.weak_type, x.shape)
        if kind != (jnp.float32, False, shape):
            weak = " weak" if x.weak_type else ""
            raise AssertionError(
                f"{x.dtype}{list(x.shape)}{weak} is not float32{list(shape)}"
            )


def counts_of_every_kind_agree(subject: ScheduleSubject) -> None:
    """Int, scalar, array, unsigned, NumPy's, traced and mapped; float32 each time."""
    schedule = subject.schedule
    traced = jax.jit(schedule)
    one_by_one = [
        [schedule(int(count)) for count in COUNTS],
        [schedule(jnp.int32(count)) for count in COUNTS],
        [traced(count) for count in COUNTS],
    ]
    at_once = [
        schedule(jnp.asarray(COUNTS, jnp.int32)),
        schedule(jnp.asarray(COUNTS, jnp.uint32)),
        subject.values,
        jax.jit(jax.vmap(schedule))(COUNTS),
    ]
    for values in one_by_one:
        for value in values:
            _check_kind(value, ())
    for values in at_once:
        _check_kind(values, COUNTS.shape)
    stacked = [jax.tree.map(lambda *x: np.stack(x), *values) for values in one_by_one]
    for values in (*stacked[1:], *at_once):
        assert_close(values, stacked[0], *NEAR)


def scan_carries_the_value(subject: ScheduleSubject) -> None:
    """In a scan the value keeps its type, so that it can be carried."""
    schedule = subject.schedule

    def step(carry: Any, _: Any) -> Any:
        count, _ = carry
        return (count + 1, schedule(count)), schedule(count)

    start = jnp.int32(0), jax.tree.map(jnp.zeros_like, schedule(0))
    _, values = jax.lax.scan(step, start, length=len(COUNTS))
    assert_close(values, subject.values, *NEAR)


def vmap_sweeps_over_each_number(subject: ScheduleSubject) -> None:
    """A sweep over a number gives what each of them alone gives."""
    for name, x in subject.need_hyperparams().items():
        sweep = np.array([x / 3, x / 1.5, min(2.3 * x, (1 + x) / 2)], np.float32)

        def at(x: Any, name: str = name) -> Any:
            return subject.make(**{name: x})(COUNTS)

        swept = jax.jit(jax.vmap(at))(sweep)
        for i, one in enumerate(sweep):
            assert_close(jax.tree.map(lambda x, i=i: x[i], swept), at(float(one)), *NEAR)


def derivatives_by_each_number_are_finite(subject: ScheduleSubject) -> None:
    """At every count the value has a derivative by each number."""
    for name, x in subject.need_hyperparams().items():

        def at(x: Any, name: str = name) -> Any:
            return subject.make(**{name: x})(COUNTS)

        assert_finite(jax.jacobian(at)(jnp.float32(x)))


def bfloat16_numbers_are_computed_in_float32(subject: ScheduleSubject) -> None:
    """A number in bfloat16 gives float32 values, those of the same number in float32."""
    for name in subject.need_hyperparams():
        value = subject.make(**{name: jnp.asarray(0.25, jnp.bfloat16)})(7)
        _check_kind(value, ())
        assert_close(value, subject.make(**{name: 0.25})(7), 1e-6, 0.0)


def float64_is_kept(subject: ScheduleSubject) -> None:
    """With 64 bits enabled values are float64, and float32's are their roundings."""
    narrow = subject.values
    with jax.enable_x64(True):
        wide, one = subject.make()(COUNTS), subject.make()(3)
        for x in jax.tree.leaves((wide, one)):
            if x.dtype != jnp.float64:
                raise AssertionError(f"{x.dtype} is not float64")
    assert_close(narrow, wide, *NEAR_WIDE)


def the_last_count_is_past_the_end(subject: ScheduleSubject) -> None:
    """At the last int32 it is finite and where it has been for long; or goes on."""
    if subject.ends:
        last = subject.schedule(jnp.int32(LAST))
        assert_finite(last)
        assert_close(last, subject.schedule(10**9), 1e-6, 0.0)
        return
    values = jax.jit(subject.schedule)(jnp.arange(8, dtype=jnp.int32) + (LAST - 7))
    with jax.enable_x64(True):
        wide = subject.make()(np.arange(8) + (LAST - 7))
    assert_close(values, wide, *NEAR_WIDE)


def drives_an_optax_chain(subject: ScheduleSubject) -> None:
    """`optax.scale_by_schedule` multiplies by its values, from that at 0 on."""
    transform = optax.scale_by_schedule(subject.schedule)
    state = transform.init(jnp.ones(2))
    for count in range(3):
        updates, state = transform.update(jnp.ones(2), state)
        assert_close(updates, np.full(2, subject.schedule(count)), 1e-6, 0.0)


def the_ends_of_32_bits_are_the_reference(subject: ScheduleSubject) -> None:
    """Below 0 it is the value at 0; from there on the reference, to the last int32."""
    counts = [-1, -(2**31), 0, 2**24 + 1, LAST - 1, LAST]
    _against(subject, jnp.array(counts, jnp.int32), [max(t, 0) for t in counts])
    _against(subject, jnp.array([0, 2**31, 2**32 - 1], jnp.uint32), [0, LAST, LAST])


def the_ends_of_64_bits_are_the_reference(subject: ScheduleSubject) -> None:
    """The same with 64 bits enabled, to float64's precision."""
    counts = [-1, -(2**31), -(2**63), 0, 2**24 + 1, 2**32 - 1, 2**40, 2**63 - 1]
    subject.need_reference()
    with jax.enable_x64(True):
        taken = [max(t, 0) for t in counts]
        _against(subject, jnp.array(counts, jnp.int64), taken, (1e-9, 1e-14))


def numbers_of_any_size_are_the_reference(subject: ScheduleSubject) -> None:
    """Python's whole numbers beyond all bits are held between 0 and the last int32."""
    subject.need_reference()
    sizes = -(10**30), 10**30
    values = jax.jit(lambda: [subject.schedule(t) for t in sizes])()
    for value, taken in zip(values, (0, LAST), strict=True):
        assert_close(value, subject.need_reference()(taken), *subject.tolerance)


def _against(
    subject: ScheduleSubject,
    counts: Any,
    taken: list[int],
    tolerance: tuple[float, float] | None = None,
) -> None:
    reference = subject.need_reference()
    wanted = jax.tree.map(lambda *x: np.array(x), *(reference(t) for t in taken))
    found = jax.jit(subject.schedule)(counts)
    assert_close(found, wanted, *(tolerance or subject.tolerance))


COLUMNS: tuple[Column, ...] = (
    counts_of_every_kind_agree,
    scan_carries_the_value,
    vmap_sweeps_over_each_number,
    derivatives_by_each_number_are_finite,
    bfloat16_numbers_are_computed_in_float32,
    float64_is_kept,
    the_last_count_is_past_the_end,
    drives_an_optax_chain,
    the_ends_of_32_bits_are_the_reference,
    the_ends_of_64_bits_are_the_reference,
    numbers_of_any_size_are_the_reference,
)

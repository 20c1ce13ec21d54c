"""Schedules: pure functions from the step count to a value.

| name | value |
|---|---|
| `constant_schedule` | one value |
| `piecewise_constant_schedule` | a jump at each boundary |
| `linear_schedule` | a straight line to the end value |
| `polynomial_schedule` | a power of the steps that are left |
| `exponential_decay` | a constant factor every so many steps |
| `cosine_decay_schedule` | half a cosine down |
| `warmup_schedule` | a rise in front of any schedule |
| `join_schedules` | one schedule after another |

A schedule is read before the count is incremented: the first update uses the value at
0, and a run of n updates uses the values at 0 ... n - 1; the value at n, where a decay
of n steps ends, is never used.

The count is a Python int or an integer array of any shape, traced and mapped ones too.
The value has the count's shape, in float32 (float64 under x64), never weakly typed.
At the first step, at every knee, at the end and past it the value is the argument's,
not nearly so, traced or not. Values and rates may be arrays or tracers, so that
`jax.vmap` sweeps over them; numbers of steps are Python ints. Bad arguments raise.
"""

from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._cosine import cosine_decay_schedule
from optix_tricks.schedules._exponential import exponential_decay
from optix_tricks.schedules._join import join_schedules
from optix_tricks.schedules._piecewise import piecewise_constant_schedule
from optix_tricks.schedules._polynomial import linear_schedule, polynomial_schedule
from optix_tricks.schedules._warmup import warmup_schedule

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "piecewise_constant_schedule",
    "polynomial_schedule",
    "warmup_schedule",
]

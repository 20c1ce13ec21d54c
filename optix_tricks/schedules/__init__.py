"""Schedules: pure functions from the step count to a value.

| name | value |
|---|---|
| `constant_schedule` | one value |
| `piecewise_constant_schedule` | a jump at each boundary, by factors |
| `piecewise_values_schedule` | a jump at each boundary, by values |
| `cifar_step_schedule` | the jumps of the CIFAR literature |
| `linear_schedule` | a straight line to the end value |
| `polynomial_schedule` | a power of the steps that are left; can cycle |
| `exponential_decay` | a constant factor every so many steps |
| `natural_exp_decay` | the same, by the exponent |
| `inverse_time_decay` | one over the time |
| `cosine_decay_schedule` | half a cosine down |
| `cosine_restarts_schedule` | half a cosine down, again and again |
| `linear_cosine_decay` | a line times a cosine |
| `noisy_linear_cosine_decay` | the same with noise |
| `cyclical_schedule` | up and down in straight lines, for ever |
| `onecycle_schedule` | up, down and far down over a whole run |
| `onecycle_momentum_schedule` | the momentum against it |
| `cosine_onecycle_schedule` | one cycle in Optax's form, cosines |
| `linear_onecycle_schedule` | one cycle in Optax's form, lines |
| `wsd_schedule` | up, level, down |
| `warmup_schedule` | a rise in front of any schedule |
| `join_schedules` | one schedule after another |
| `lookahead_schedule` | the slow step size of a lookahead |
| `linear_scaling` | no schedule: a rate at another batch size |
| `sqrt_scaling` | the same, by the root |

A schedule is read before the count is incremented: the first update uses the value at
0, and a run of n updates uses the values at 0 ... n - 1; the value at n, where a decay
of n steps ends, is never used.

The count is a Python int of any size or an integer array of any shape, traced and mapped
ones too. Negative counts are 0, and those beyond 2^31 - 1 (under x64 2^63 - 1) are it:
each schedule is finite and at its limit there.
The value has the count's shape, in float32 (float64 under x64), never weakly typed.
At the first step, at every knee, at the end and past it the value is the argument's,
not nearly so, traced or not; schedules without an end repeat exactly. Values and rates
may be arrays or tracers, so that `jax.vmap` sweeps over them; numbers of steps are
Python ints. Bad arguments raise.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.schedules._cifar import cifar_step_schedule
from optix_tricks.schedules._constant import constant_schedule
from optix_tricks.schedules._cosine import cosine_decay_schedule
from optix_tricks.schedules._cyclical import cyclical_schedule
from optix_tricks.schedules._exponential import (
    exponential_decay,
    natural_exp_decay,
)
from optix_tricks.schedules._inverse_time import inverse_time_decay
from optix_tricks.schedules._join import join_schedules
from optix_tricks.schedules._linear_cosine import (
    linear_cosine_decay,
    noisy_linear_cosine_decay,
)
from optix_tricks.schedules._lookahead import lookahead_schedule
from optix_tricks.schedules._onecycle import (
    cosine_onecycle_schedule,
    linear_onecycle_schedule,
    onecycle_momentum_schedule,
    onecycle_schedule,
)
from optix_tricks.schedules._piecewise import (
    piecewise_constant_schedule,
    piecewise_values_schedule,
)
from optix_tricks.schedules._polynomial import (
    linear_schedule,
    polynomial_schedule,
)
from optix_tricks.schedules._restarts import cosine_restarts_schedule
from optix_tricks.schedules._scaling import (
    linear_scaling,
    sqrt_scaling,
)
from optix_tricks.schedules._warmup import warmup_schedule
from optix_tricks.schedules._wsd import wsd_schedule

__all__ = [
    "cifar_step_schedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "cyclical_schedule",
    "exponential_decay",
    "inverse_time_decay",
    "join_schedules",
    "linear_cosine_decay",
    "linear_onecycle_schedule",
    "linear_scaling",
    "linear_schedule",
    "lookahead_schedule",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "onecycle_momentum_schedule",
    "onecycle_schedule",
    "piecewise_constant_schedule",
    "piecewise_values_schedule",
    "polynomial_schedule",
    "sqrt_scaling",
    "warmup_schedule",
    "wsd_schedule",
]

check_arguments(__name__)

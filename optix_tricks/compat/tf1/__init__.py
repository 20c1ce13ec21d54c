"""The optimisers and decays of TensorFlow 1, by their names and arguments.

The arguments are those of `tf.train`, in their order and with their defaults, without
`global_step`, `use_locking` and `name`. A decay returns a schedule, to be called with
the global step, and is given to an optimiser as its learning rate; an optimiser goes
TensorFlow's way. `cosine_decay_restarts` takes whole numbers of steps.

    rate = tf.train.exponential_decay(0.1, global_step, 100, 0.96)
    tf.train.MomentumOptimizer(rate, 0.9)

is

    MomentumOptimizer(exponential_decay(0.1, 100, 0.96), 0.9)
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.compat.tf1._cosines import (
    cosine_decay,
    cosine_decay_restarts,
    linear_cosine_decay,
    noisy_linear_cosine_decay,
)
from optix_tricks.compat.tf1._decays import (
    exponential_decay,
    inverse_time_decay,
    natural_exp_decay,
    piecewise_constant,
    polynomial_decay,
)
from optix_tricks.compat.tf1._optimizers import (
    AdadeltaOptimizer,
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    RMSPropOptimizer,
)

__all__ = [
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "RMSPropOptimizer",
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "polynomial_decay",
]

check_arguments(
    __name__,
    called={
        "b1": "beta1",
        "b2": "beta2",
        "end_value": "end_learning_rate",
        "eps": "epsilon",
        "init_value": "learning_rate",
        "multiplier": "t_mul",
        "peak_decay": "m_mul",
    },
)

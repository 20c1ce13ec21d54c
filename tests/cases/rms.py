"""Division by a root mean square of gradients."""

import optax

import optix_tricks as ot
from cases.row import Case

# A centered variance is a difference: roundings of its terms are amplified.
OF_A_DIFFERENCE = {"vmapped_numbers_equal_a_loop": 10.0}

LINKS = [
    Case(
        "scale_by_rss",
        ot.scale_by_rss,
        {"eps": 1e-3},
        {"initial_accumulator_value": 0.3},
        twin=lambda: optax.scale_by_rss(0.3, 1e-3),
    ),
    Case(
        "scale_by_rss_mean",
        ot.scale_by_rss,
        {"eps": 1e-3},
        {"mean": True, "eps_in_sqrt": False},
        neutral={"mask": False},
    ),
    Case(
        "scale_by_adadelta",
        ot.scale_by_adadelta,
        {"rho": 0.8, "eps": 1e-2},
        twin=lambda: optax.scale_by_adadelta(0.8, 1e-2),
    ),
    Case(
        "scale_by_rms",
        ot.scale_by_rms,
        {"decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.scale_by_rms(0.8, 1e-3),
    ),
    Case(
        "scale_by_rms_torch",
        ot.scale_by_rms,
        {"decay": 0.8, "eps": 1e-3},
        {"eps_in_sqrt": False, "bias_correction": True, "initial_scale": 0.5},
        twin=lambda: optax.scale_by_rms(0.8, 1e-3, 0.5, False, True),
    ),
    Case(
        "scale_by_stddev",
        ot.scale_by_stddev,
        {"decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.scale_by_stddev(0.8, 1e-3),
        roundings=OF_A_DIFFERENCE,
    ),
]

OPTIMISERS = [
    Case(
        "adagrad",
        ot.adagrad,
        {"learning_rate": 0.1, "eps": 1e-3},
        {"initial_accumulator_value": 0.3, "mean": False},
        twin=lambda: optax.adagrad(0.1, 0.3, 1e-3),
    ),
    Case(
        "adadelta",
        ot.adadelta,
        {"learning_rate": 0.5, "rho": 0.8, "eps": 1e-2, "weight_decay": 0.2},
        {"weight_decay_mask": ot.no_bias_or_norm},
        twin=lambda: optax.adadelta(
            0.5, 0.8, 1e-2, weight_decay=0.2, weight_decay_mask=ot.no_bias_or_norm
        ),
    ),
    Case(
        "rmsprop",
        ot.rmsprop,
        {"learning_rate": 0.1, "decay": 0.8, "eps": 1e-3},
        twin=lambda: optax.rmsprop(0.1, 0.8, 1e-3),
    ),
    Case(
        "rmsprop_centered_momentum",
        ot.rmsprop,
        {"learning_rate": 0.02, "decay": 0.8, "eps": 1e-3, "momentum": 0.7},
        {"centered": True, "nesterov": True},
        twin=lambda: optax.rmsprop(
            0.02, 0.8, 1e-3, centered=True, momentum=0.7, nesterov=True
        ),
        roundings=OF_A_DIFFERENCE,
    ),
]

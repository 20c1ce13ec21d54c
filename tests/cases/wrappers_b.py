"""Lookahead, SAM and averages of the parameters."""

import functools

import optix_tricks as ot
from cases.row import Case

WRAPPERS = [
    Case(
        "lookahead",
        functools.partial(ot.lookahead, ot.adam(0.1)),
        {"slow_step_size": 0.3},
        {"sync_period": 2},
        neutral={"slow_step_size": 1.0},
    ),
    Case(
        "lookahead_resetting",
        functools.partial(ot.lookahead, ot.sgd(0.1, momentum=0.8)),
        {"slow_step_size": 0.3},
        {"sync_period": 2, "reset_state": True},
        neutral={"slow_step_size": 1.0, "reset_state": False},
    ),
    Case(
        "sam",
        functools.partial(ot.sam, ot.sgd(0.1, momentum=0.8)),
        {"rho": 0.2},
        neutral={"rho": 0.0},
        looks_ahead=True,
    ),
    Case(
        "asam",
        functools.partial(ot.sam, ot.sgd(0.1, momentum=0.8)),
        {"rho": 0.3, "eta": 0.1},
        {"adaptive": True},
        neutral={"rho": 0.0},
        looks_ahead=True,
    ),
]

LINKS = [
    Case("ema_of_params", ot.ema_of_params, {"decay": 0.8}, neutral={"decay": 0.0}),
    Case(
        "ema_of_params_biased",
        ot.ema_of_params,
        {"decay": 0.8},
        {"debias": False},
        neutral={"decay": 0.0},
    ),
    Case(
        "swa", ot.swa, {}, {"start_step": 1, "every_steps": 2}, neutral={"start_step": 9}
    ),
]

OPTIMISERS: list[Case] = []

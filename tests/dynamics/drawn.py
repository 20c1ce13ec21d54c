"""Labelled settings drawn at random: widths, data, batches, and rates by a factor.

The settings of `failures`, `healthy` and `held_out` are written down; here a number draws
them. A group is one compiled program; its kinds differ in the numbers that are handed in,
and each run has numbers and a seed of its own. A label follows from how a run is made (a
rate that is ten thousand times too small, biases at -12), never from a verdict.

`diagnose` may be looked at on the draws from 1 on. `UNSEEN` are those on which it is
judged: no threshold and no rule was chosen on them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.dynamics import History
from tests.dynamics.failures import Case, clamped, minimal, momentum
from tests.dynamics.small_runs import network, train_each
from tests.dynamics.toys import product, quadratic, walls

UNSEEN = (1128, 2129, 3130, 4131, 5132)  # the first runs in every CI
Knobs = dict[str, Any]
Rng = np.random.Generator


class Group(NamedTuple):
    """Kinds of runs that one program trains."""

    name: str
    setting: Callable  # of the knobs, to a problem and a schedule
    optimizer: Callable
    steps: int
    usual: Knobs  # of all kinds
    kinds: dict[str, Callable[[Rng], Knobs]]  # what else each run of a kind draws
    curvature: bool = False


def about(rng: Rng, low: float, high: float) -> float:
    """A number between two, each decade as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def whole(rng: Rng, low: int, high: int) -> int:
    """An even number."""
    return 2 * round(about(rng, low, high) / 2)


def falling(count: Any, rate: Any, ends: Any) -> Any:
    """A half cosine from `rate` to zero at the step `ends`, infinite for none."""
    return rate * (1 + jnp.cos(jnp.pi * jnp.minimum(count / ends, 1.0))) / 2


def plain(rng: Rng, steps: int = 600) -> Group:
    """A ReLU network under momentum."""
    # Others of the data sets are learnt by heart in the time: a healthy run needs these.
    data = str(rng.choice(["digits", "breast_cancer"]))
    shut, noise = (-12.0, 0.3) if data == "digits" else (-24.0, 0.6)  # of two classes
    static = {
        "data": data,
        "widths": (whole(rng, 32, 80),) * int(rng.integers(1, 3)),
        "batch_size": whole(rng, 16, 64),
    }

    def setting(rate: Any, ends: Any, **knobs: Any) -> tuple:
        problem = network(**static, **knobs)
        return problem, lambda count: falling(count, rate, ends)

    usual = {"ends": np.inf, "bias": 0.0, "label_noise": 0.0, "examples": 900}
    kinds = {
        "healthy": lambda r: {"rate": about(r, 5e-3, 3e-2)},
        "healthy, cosine": lambda r: {"rate": about(r, 1e-2, 5e-2), "ends": steps},
        "rate too small": lambda r: {"rate": about(r, 1e-7, 1e-6)},
        "dead units": lambda r: {
            "rate": about(r, 1e-3, 3e-2),
            "bias": shut * r.uniform(1, 1.6),
        },
        "over-fitting": lambda r: {
            "rate": about(r, 3e-2, 8e-2),
            "label_noise": noise * r.uniform(1.0, 1.5),
            "examples": int(r.integers(50, 120)),
        },
        "converged": lambda r: {"rate": about(r, 5e-2, 0.1), "ends": steps * 0.6},
        "schedule ended": lambda r: {
            "rate": about(r, 1e-3, 4e-3),
            "ends": steps * r.uniform(0.06, 0.15),
        },
    }
    return Group(_named("plain", static), setting, momentum, steps, usual, kinds)


def bounded(rng: Rng, steps: int = 400) -> Group:
    """A tanh network under SGD."""
    static = {
        "data": str(rng.choice(["digits", "breast_cancer"])),
        "widths": (whole(rng, 24, 64),) * 3,
        "batch_size": whole(rng, 32, 128),
        "activation": "tanh",
    }

    def setting(rate: Any, gain: Any) -> tuple:
        return network(**static, gain=gain), lambda count: jnp.asarray(rate)

    kinds = {
        "healthy": lambda r: {"rate": about(r, 0.05, 0.2)},
        "rate too large": lambda r: {"rate": about(r, 15, 60)},
        "rate too small": lambda r: {"rate": about(r, 3e-6, 3e-5)},
        "critical point": lambda r: {
            "rate": about(r, 0.02, 0.1),
            "gain": about(r, 1e-4, 1e-3),
        },
    }
    return Group(_named("tanh", static), setting, optax.sgd, steps, {"gain": 1.0}, kinds)


def deep(rng: Rng, steps: int = 400) -> Group:
    """Ten layers and more: of tanh where `sigmoid` is 0, of the sigmoid where it is 1."""
    static = {
        "data": str(rng.choice(["digits", "classification", "teacher"])),
        "widths": (whole(rng, 16, 40),) * int(rng.integers(9, 12)),
        "batch_size": whole(rng, 32, 96),
    }

    def setting(rate: Any, gain: Any, sigmoid: Any) -> tuple:
        def activation(x: jax.Array) -> jax.Array:
            return jnp.tanh(x * (1 - sigmoid / 2)) * (1 - sigmoid / 2) + sigmoid / 2

        problem = network(**static, gain=gain, activation=activation)
        return problem, lambda count: jnp.asarray(rate)

    kinds = {
        "vanishing gradients": lambda r: {"rate": about(r, 0.05, 0.2), "sigmoid": 1.0},
        "exploding gradients": lambda r: {
            "rate": about(r, 1e-6, 1e-5),
            "gain": about(r, 12, 20),
        },
    }
    usual = {"gain": 1.0, "sigmoid": 0.0}
    return Group(_named("deep", static), setting, optax.sgd, steps, usual, kinds)


def valley(rng: Rng, steps: int = 400) -> Group:
    """Quadratics by their eigenvalues, with noise or without."""
    size = whole(rng, 10, 60)

    def setting(rate: Any, eigenvalues: Any, start: Any, **knobs: Any) -> tuple:
        problem = quadratic(eigenvalues, start, **knobs)
        return problem, lambda count: jnp.asarray(rate)

    def spectrum(r: Rng, low: float, high: float) -> np.ndarray:
        return np.geomspace(low, high, size) * about(r, 0.5, 2.0)

    def limited(r: Rng) -> Knobs:
        floor = np.geomspace(about(r, 1e-5, 1e-4), 1e-4, size - 1)
        top = about(r, 0.5, 5.0)
        return {
            "eigenvalues": np.append(floor * top, top),
            "rate": r.uniform(0.8, 1.8) / top,
            "start": about(r, 5, 20),
        }

    def steady(r: Rng, low: float, high: float, times: float) -> Knobs:
        values = spectrum(r, low, high)
        return {"eigenvalues": values, "rate": times / values[-1]}

    def noisy(r: Rng) -> Knobs:
        found = steady(r, 0.2, 2.0, about(r, 0.1, 0.3))
        floor = {"start": 1.0, "offset": r.uniform(1, 5)}  # well above zero
        return found | floor | {"noise": about(r, 1.5, 4), "batch_size": whole(r, 8, 48)}

    kinds = {
        "diverged": lambda r: steady(r, 0.1, 10, r.uniform(2.03, 2.5)),
        "rate too small": lambda r: steady(r, 0.1, 10, about(r, 1e-5, 1e-4)),
        "ill-conditioned": limited,
        "noise floor": noisy,
        "noise floor, clamped": noisy,
        "plateau": noisy,
        "converged": lambda r: steady(r, 0.3, 10, r.uniform(0.8, 1.6)),
        "healthy": lambda r: steady(r, 1e-4, 1, r.uniform(0.8, 1.5)) | {"offset": 0.0},
        "batch too large": lambda r: (
            steady(r, 1e-3, 1, about(r, 0.02, 0.1))
            | {
                "noise": about(r, 0.02, 0.1),
                "batch_size": about(r, 2e4, 2e5),
                "offset": 0.0,
            }
        ),
    }
    usual = {"start": 3.0, "noise": 0.0, "offset": 0.05, "batch_size": 32.0}
    static = {"size": size}
    return Group(
        _named("valley", static), setting, optax.sgd, steps, usual, kinds, curvature=True
    )


def bounces(rng: Rng, steps: int = 400) -> Group:
    """Walls that become straight."""
    times = float(rng.choice([0.0, 0.5]))

    def setting(rate: Any, power: Any) -> tuple:
        return walls(power), lambda count: jnp.asarray(rate)

    kinds = {
        "rate too large": lambda r: {"rate": about(r, 0.4, 1.2)},
        "rate too small": lambda r: {"rate": about(r, 3e-7, 3e-6)},
    }
    draw = {kind: _with(draw, power=(0.4, 0.55)) for kind, draw in kinds.items()}
    return Group(
        *(_named("walls", {"momentum": times}), setting),
        lambda rate: optax.sgd(rate, momentum=times),
        *(steps, {}, draw),
        curvature=True,
    )


def saddle(rng: Rng, steps: int = 400) -> Group:
    """A product's saddle at zero."""
    size = whole(rng, 10, 120)

    def setting(rate: Any, jitter: Any) -> tuple:
        return product(size, jitter), lambda count: jnp.asarray(rate)

    kinds = {
        "critical point": lambda r: {
            "rate": about(r, 2e-3, 1e-2),
            "jitter": about(r, 1e-7, 1e-5),
        }
    }
    return Group(
        *(_named("product", {"size": size}), setting, optax.sgd, steps, {}, kinds),
        curvature=True,
    )


LOGGED = {"plateau": minimal, "noise floor, clamped": clamped}  # what is seen of a kind
GROUPS = (plain, bounded, deep, valley, bounces, saddle)


def _with(draw: Callable[[Rng], Knobs], **more: tuple[float, float]) -> Callable:
    return lambda r: draw(r) | {name: r.uniform(*ends) for name, ends in more.items()}


def _named(name: str, static: Knobs) -> str:
    return ", ".join([name, *(f"{key} {value}" for key, value in static.items())])


def cases(draw: int) -> list[Case]:
    """The settings of a draw, whose runs are trained a group at a time."""
    found = []
    for place, make in enumerate(GROUPS):
        group = make(np.random.default_rng([draw, place]))
        run = functools.cache(functools.partial(_run, group, draw))
        for kind in group.kinds:
            label, _, what = kind.partition(", ")

            def histories(seeds: range, kind: str = kind, run: Callable = run) -> list:
                return run(seeds)[kind]

            name = f"{draw}: {group.name}" + (f", {what}" if what else "")
            found.append(Case(label, name, histories))
    return found


def _run(group: Group, draw: int, seeds: range) -> dict[str, list[History]]:
    rows = []
    for kind, knobs in group.kinds.items():
        for seed in seeds:
            rng = np.random.default_rng([draw, seed, len(rows)])
            rows.append((kind, group.usual | knobs(rng)))
    columns = {
        name: np.asarray([knobs[name] for _, knobs in rows], np.float32)
        for name in rows[0][1]
    }
    numbers = [draw * 1000 + place for place in range(len(rows))]
    histories = train_each(
        *(group.setting, group.optimizer, group.steps, numbers, columns),
        curvature=group.curvature,
    )
    found: dict[str, list[History]] = {kind: [] for kind in group.kinds}
    for (kind, _), history in zip(rows, histories, strict=True):
        found[kind].append(LOGGED.get(kind, lambda history: history)(history))
    return found

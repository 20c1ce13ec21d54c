"""Run as a program where the base alone is installed: each of its rooms is used once.

With `blocked` as its argument the extras are refused, as if they were not there.
"""

import contextlib
import importlib
import io
import sys

import jax
import jax.numpy as jnp
import optax
from flax import nnx

OTHERS = {"beartype", "equinox", "haiku", "hypothesis", "pytest", "torch"}


def optimise():
    import optix_tricks as ot

    tx = optax.chain(ot.clip_by_global_norm(1.0), ot.adamw(1e-3, 0.9))
    w = jnp.ones((3, 2))
    updates, state = jax.jit(tx.update)(w, tx.init(w), w)
    assert (updates < 0).all()
    assert ot.report(state)["learning_rate"] == jnp.float32(1e-3)


def schedule():
    from optix_tricks.schedules import cosine_decay_schedule

    assert cosine_decay_schedule(1.0, 10)(10) == 0


def lose():
    from optix_tricks.losses import cross_entropy

    assert cross_entropy(jnp.eye(3), jnp.arange(3)).shape == (3,)


def augment():
    from optix_tricks.augment import random_flip

    images = jnp.zeros((2, 4, 4, 3), jnp.uint8)
    assert random_flip(jax.random.key(0), images).shape == images.shape


def lay():
    from optix_tricks.layers import BatchRenorm

    assert BatchRenorm(3, rngs=nnx.Rngs(0))(jnp.ones((4, 3))).shape == (4, 3)


def initialise():
    from optix_tricks.initializers import kaiming_normal

    assert kaiming_normal()(jax.random.key(0), (3, 4)).shape == (3, 4)


def port():
    from optix_tricks.compat.torch import SGD

    assert SGD(0.1, momentum=0.9).init(jnp.ones(2))


def read():
    from optix_tricks.dynamics import weight_norms

    w = {"kernel": jnp.ones((2, 2))}
    assert weight_norms(w, w, updates=w, learning_rate=0.1)


def check():
    import optix_tricks as ot
    from optix_tricks.testing import check_transformation

    table = check_transformation(
        ot.sgd, hyperparams={"learning_rate": 0.1}, columns=["jit_equals_eager"]
    )
    assert table


def train():
    from optix_tricks.losses import cross_entropy
    from optix_tricks.training import Batch, create_state, functional, make_train_step

    apply, params, statistics = functional(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    tx = optax.sgd(0.1)
    state = create_state(params, statistics, tx, jax.random.key(0))
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    _, metrics = step(state, Batch(jnp.ones((4, 3)), jnp.array([0, 1, 0, 1])))
    assert jnp.isfinite(metrics["loss"])


ROOMS = {
    "transforms": optimise,
    "schedules": schedule,
    "losses": lose,
    "augment": augment,
    "layers": lay,
    "initializers": initialise,
    "compat": port,
    "dynamics": read,
    "testing": check,
    "training": train,
}


def command_line():
    with (
        contextlib.redirect_stderr(io.StringIO()) as said,
        contextlib.suppress(SystemExit),
    ):
        importlib.import_module("optix_tricks.cli").main(["train", "digits"])
    return said.getvalue().removeprefix("error: ").strip()


MISSED = {  # what is asked of the base that it has not
    "matfree": lambda: importlib.import_module("optix_tricks.dynamics").curvature_trace(
        lambda v: v, jnp.ones(2), key=jax.random.key(0)
    ),
    "sklearn": lambda: importlib.import_module("optix_tricks.training").load_digits(),
    "matplotlib": lambda: importlib.import_module("optix_tricks.reports"),
    "tyro": command_line,
}


def answer(ask):
    try:
        return ask()
    except ModuleNotFoundError as error:
        return str(error)


def main():
    if "blocked" in sys.argv:
        from optix_tricks._extras import MODULES

        names = {name for names in MODULES.values() for name in names} - {"scipy"}
        sys.modules.update(dict.fromkeys(names | OTHERS))
    for name, use in ROOMS.items():
        room = importlib.import_module(f"optix_tricks.{name}")
        assert all(hasattr(room, public) for public in getattr(room, "__all__", ()))
        use()
    for name, ask in MISSED.items():
        said = answer(ask)
        wanted = f"{name} is not installed: pip install 'optix_tricks[train]'."
        assert said == wanted, said
    print("used", *ROOMS)


if __name__ == "__main__":
    main()

"""Models of shapes without values: one sentence wherever values are needed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.dynamics import layer_profile
from optix_tricks.initializers import lsuv, variance_by_depth
from optix_tricks.layers import DropConnect, SpectralNorm, WeightNorm, layer_outputs
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    Checkpoints,
    TrainState,
    compile_step_on_devices,
    create_state,
    early_stopping,
    functional,
    greedy_layerwise,
    make_evaluate,
    make_train_step,
    refresh_batch_statistics,
    restore_partially,
    sweep,
)


class Net(nnx.Module):
    """With parameters and statistics."""

    def __init__(self):
        self.dense = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(self.dense(x))


MODEL = nnx.eval_shape(Net)
APPLY, PARAMS, STATS = functional(MODEL)
KEY, TX, X = jax.random.key(0), optax.sgd(0.1), jnp.ones((8, 4))
BATCH = Batch(X, jnp.arange(8) % 3)
STATE = TrainState(jnp.zeros((), jnp.int32), PARAMS, STATS, TX.init(PARAMS), KEY)
STEP = make_train_step(APPLY, cross_entropy, TX)


def save(path):
    with Checkpoints(path) as checkpoints:
        checkpoints.save(1, STATE)


def swept():
    return sweep(
        lambda rate, seed: PARAMS,
        lambda rate, state, batch: (state, {"loss": jnp.zeros(())}),
        settings=jnp.ones(1),
        seeds=[0],
        data=X,
        epochs=1,
        batch_size=4,
    )


LAYER = MODEL.dense
CALLS = {
    "create_state": lambda: create_state(PARAMS, STATS, TX, KEY),
    "create_state, packed": lambda: create_state(PARAMS, STATS, TX, KEY, packed=True),
    "create_state, statistics": lambda: create_state({}, STATS, TX, KEY),
    "pack": lambda: ot.pack(PARAMS),
    "apply": lambda: APPLY(PARAMS, STATS, X, train=False),
    "evaluate": lambda: make_evaluate(APPLY, cross_entropy, batch_size=8)(
        PARAMS, STATS, BATCH
    ),
    "on devices": lambda: compile_step_on_devices(STEP, STATE, axis_name="data"),
    "refresh_batch_statistics": lambda: refresh_batch_statistics(
        APPLY, PARAMS, STATS, [X]
    ),
    "greedy_layerwise": lambda: greedy_layerwise(
        [MODEL], lambda k: MODEL, lambda k, apply, *trees: trees
    ),
    "early_stopping": lambda: early_stopping(patience=1).init(PARAMS),
    "restore_partially": lambda: restore_partially(
        PARAMS, {"dense": {"kernel": np.ones((4, 3), np.float32)}}
    ),
    "sweep": swept,
    "lsuv": lambda: lsuv(MODEL, X, key=KEY),
    "variance_by_depth": lambda: variance_by_depth(MODEL, X, loss=jnp.sum),
    "layer_profile": lambda: layer_profile(MODEL, X, loss=jnp.sum),
    "layer_outputs": lambda: layer_outputs(MODEL, X),
    "WeightNorm": lambda: WeightNorm(LAYER, rngs=nnx.Rngs(0)),
    "SpectralNorm": lambda: SpectralNorm(LAYER, rngs=nnx.Rngs(0)),
    "DropConnect": lambda: DropConnect(LAYER, 0.5, rngs=nnx.Rngs(0)),
}


def test_where_values_are_needed_one_sentence_says_so(tmp_path):
    calls = CALLS | {"Checkpoints": lambda: save(tmp_path)}
    match = (
        r"must hold arrays, got a shape without values, float32\[.*\] at '.*': make the"
    )
    for name, call in calls.items():
        with pytest.raises(ValueError, match=match) as caught:
            pytest.fail(f"{name} returned {call()}")
        assert "\n" not in str(caught.value), name


def test_where_none_are_needed_shapes_serve():
    """Making a state, and compiling its step, without memory for either."""
    state = jax.eval_shape(
        lambda params, stats: create_state(params, stats, TX, KEY), PARAMS, STATS
    )
    batch = jax.eval_shape(lambda: BATCH)
    after, metrics = jax.eval_shape(STEP, state, batch)
    assert after.params == state.params
    assert metrics["loss"].shape == ()
    whole = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), PARAMS)
    restored, _ = restore_partially(PARAMS, whole, strict=True)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(restored))

"""Hints as a trick: what the guided layer learns, and what stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import create_state
from optix_tricks.tricks import Earlier
from optix_tricks.tricks._context import named_key
from tests.tricks.toys import Mlp, base, dataset, mean_colour

DATA = dataset()
TRAIN = jax.tree.map(jnp.asarray, DATA.train)


def wide(seed, width=6):
    rngs = nnx.Rngs(seed)
    first, second, head = (
        nnx.Linear(n, m, rngs=rngs) for n, m in ((3, 8), (8, width), (width, 3))
    )
    return nnx.Sequential(mean_colour, first, jnp.tanh, second, jnp.tanh, head)


TEACHER = wide(7)
HINTS = tricks.hints("there", layer="layers.3", teacher_layer="layers.3")


def forward(model, x):
    """Of a network's first two linear layers: their weights, h and v, in float64."""
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))["layers"]
    (w1, b1), (w2, b2) = (
        [np.asarray(params[i][name], np.float64) for name in ("kernel", "bias")]
        for i in (1, 3)
    )
    h = np.tanh(x @ w1 + b1)
    return w2, h, h @ w2 + b2


def test_a_step_is_adams_by_the_gradient_of_the_distance_and_none_behind_the_layer():
    """Its first step is of its rate, against the gradient's sign."""
    setup = base(lambda context, *, rngs: wide(0, width=2), batch_size=40)
    prepare = setup.plan(DATA).context.prepare
    plan = setup.take(HINTS(adam_rate=0.01)).plan(
        DATA, restore=lambda run: Earlier(TEACHER, prepare)
    )
    job, key = plan.job(), jax.random.key(0)
    before = create_state(job.params, job.batch_stats, job.tx, key)
    told = []
    after = job.begun(before, TRAIN, lambda *said: told.append(said))
    assert told == [(1, 1)]

    mean, std = (x.astype(np.float64) for x in DATA.channel_statistics())
    x = ((DATA.train.inputs / 255 - mean) / std).mean(axis=(1, 2))
    w2, h, v = forward(plan.context.network.module(0), x)
    _, _, u = forward(TEACHER, x)
    regressor = nnx.Linear(2, 6, rngs=nnx.Rngs(named_key(key, "hints")))
    r = np.asarray(regressor.kernel[...], np.float64)
    by_v = (v @ r - u) @ r.T / 40
    by_h = by_v @ w2.T * (1 - h**2)
    gradients = {
        1: {"kernel": x.T @ by_h, "bias": by_h.sum(axis=0)},
        3: {"kernel": h.T @ by_v, "bias": by_v.sum(axis=0)},
    }
    old, new = (state.params["layers"] for state in (before, after))
    for layer, of_layer in gradients.items():
        for name, gradient in of_layer.items():
            moves = np.asarray(new[layer][name]) - np.asarray(old[layer][name])
            np.testing.assert_allclose(moves, -0.01 * np.sign(gradient), rtol=2e-3)
    jax.tree.map(np.testing.assert_array_equal, new[5], old[5])


def knows(run):
    return Earlier(Mlp(), lambda images: images.astype(jnp.float32))


REFUSED = {
    "no run": (tricks.hints, knows, "hints needs the run of a teacher: --with hints="),
    "no layer": (
        HINTS(layer="x"),
        knows,
        r"layer must be .*, got 'layers.3'; it has conv",
    ),
    "sizes": (
        HINTS(teacher_layer="conv"),
        knows,
        r"got 'layers.3' with \[6\] and the teacher's 'conv' with \[8, 8, 4\]",
    ),
    "no way": (
        HINTS,
        None,
        r"the network of run 'there' can be made by its recipe alone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learnt_from_is_one_sentence(case):
    chosen, restore, message = REFUSED[case]
    setup = base(lambda context, *, rngs: wide(0)).take(chosen)
    with pytest.raises(ValueError, match=message):
        setup.plan(DATA, restore=restore)


def test_two_things_before_the_first_epoch_conflict():
    with pytest.raises(ValueError, match="both are what comes before the first epoch"):
        base().take(HINTS, tricks.layerwise_pretraining)

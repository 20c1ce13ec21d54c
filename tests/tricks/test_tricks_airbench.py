"""What the tricks of airbench do to networks other than its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import tricks
from tests.tricks.toys import base, dataset, steps


def test_small_images_are_refused_by_size():
    with pytest.raises(
        ValueError, match="at least 16x16 pixels, those of 'toy' have 8x8"
    ):
        base().take(tricks.airbench(width=2)).plan(dataset())


def test_a_part_that_has_settled_stays_and_so_does_the_step_that_spares_it():
    data = dataset()
    plan = base().take(tricks.settle("^stem", epochs=2)).plan(data)
    job = plan.job(0)
    before, _, _ = steps(plan, data, count=10)  # five steps an epoch
    stem = jax.tree.map(np.asarray, before.params["stem"])
    assert np.any(stem["conv"]["kernel"] != job.params["stem"]["conv"]["kernel"])
    head = np.asarray(before.params["head"]["kernel"])
    first = jax.tree.map(jnp.asarray, data.train).take(jnp.arange(8))
    ends = [jax.jit(job.step_in(epoch))(before, first)[0] for epoch in (1, 2)]
    for after in ends:
        jax.tree.map(np.testing.assert_array_equal, after.params["stem"], stem)
        assert np.any(np.asarray(after.params["head"]["kernel"]) != head)
    np.testing.assert_allclose(
        ends[0].params["head"]["kernel"], ends[1].params["head"]["kernel"], rtol=1e-5
    )


def test_fast_biases_move_by_their_scale_and_decay_no_faster():
    """Without momentum: η scale (g + λ/scale w) of norms, η (g + λ w) of others."""
    data = dataset()
    numbers = {"momentum": 0.0, "weight_decay": 0.1, "bias_scale": 8.0}
    plan = base().take(tricks.airbench_sgd(2.0, **numbers)).plan(data)
    job = plan.job(0)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64) + 0.5, job.params)
    grads = jax.tree.map(lambda x: 0.1 * np.cos(x), params)
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (grads, params))
    state = job.tx.init(narrow[1])
    updates, _ = job.tx.update(narrow[0], state, narrow[1])
    rate, decay = 2.0 * 8 / 1024 / 2, 0.1 / 2.0  # 1 + 1 / (1 - 0) is 2

    def check(path, update, g, w):
        of_norm = "norm" in jax.tree_util.keystr(path)
        scale = 8.0 if of_norm else 1.0
        want = -rate * scale * (g + decay / scale * w)
        np.testing.assert_allclose(update, want, rtol=1e-5)

    jax.tree_util.tree_map_with_path(check, updates, grads, params)

"""The optimiser of every recipe takes the same steps on packed parameters."""

import chex
import jax
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks.recipes import RECIPES
from optix_tricks.training import create_state, generate, load_dataset


def job_of(name):
    """A recipe's job at its smallest."""
    setup = RECIPES[name].setup()
    if name in ("tabular_mlp", "text_transformer"):
        dataset = load_dataset(RECIPES[name].DATASET)
        return setup.change(width=8, epochs=5).job(dataset)
    if "imagenet" in name:
        setup = setup.without("bfloat16").change(warm_up={"epochs": 1.0}, size=16)
    return setup.change(width=4, epochs=5, batch_size=64).job(generate(16))


DEAR = {"imagenet_resnet50", "cifar10_resnet18", "cifar10_airbench96"}
DEAR |= {"cifar10_airbench96_filtered"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.thorough) if n in DEAR else n for n in RECIPES],
)
def test_packed_parameters_take_the_steps_of_the_recipe(name):
    """Masks, labels, frozen parameters and norms per layer included."""
    job = job_of(name)
    key = jax.random.key(0)
    states = [
        create_state(job.params, job.batch_stats, job.tx, key, packed=packed)
        for packed in (False, True)
    ]
    plain, packed = (state.params for state in states)
    assert len(packed.buffers) < len(jax.tree.leaves(plain))
    rng = np.random.default_rng(0)

    @jax.jit
    def step(params, opt_state, grads):
        updates, opt_state = job.tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    of_plain, of_packed = (state.opt_state for state in states)
    for _ in range(2):
        grads = jax.tree.map(
            lambda w: (0.1 * rng.standard_normal(w.shape)).astype(w.dtype), plain
        )
        plain, of_plain = step(plain, of_plain, grads)
        packed, of_packed = step(packed, of_packed, ot.pack_like(grads, packed))
    chex.assert_trees_all_close(ot.unpack(packed), plain, rtol=1e-5, atol=1e-6)

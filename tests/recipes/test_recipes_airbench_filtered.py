"""The filtered airbench96 against the PyTorch statement of its equations, in float64.

Both networks from the same weights on the same batches: which images are left, the loss
on them, and the weights of both after every step.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.recipes import cifar10_airbench96_filtered
from optix_tricks.training import Batch, Chosen, create_state

torch = pytest.importorskip("torch")
from tests.recipes import airbench_reference as reference  # noqa: E402
from tests.recipes import airbench_reference_step as stepping  # noqa: E402
from tests.recipes.test_recipes_airbench_parity import (  # noqa: E402
    assert_near,
    dataset,
    statistics,
    to_ours,
)

BATCH, KEPT, EVERY, EPOCHS, TOTAL = 16, 8, 4, 3, 12
LARGE = dataclasses.replace(reference.AIRBENCH96, widths=(4, 12, 16), batch=BATCH)
SMALL = dataclasses.replace(LARGE, widths=(4, 8, 8), convs=2)


def hardest(proxy, images, labels):
    """Which images of a batch are left, and the gradient of their summed loss."""
    names = reference.trained(proxy.params, whiten_bias=False)
    leaves = {name: proxy.params[name].clone().requires_grad_() for name in names}
    given = proxy.params | leaves, proxy.stats
    logits, _ = reference.forward(*given, images, train=True, recipe=SMALL)
    losses = torch.stack(
        [reference.loss(logits[i : i + 1], labels[i : i + 1]) for i in range(BATCH)]
    )
    left = losses.argsort()[-KEPT:]
    grads = torch.autograd.grad(losses[left].sum(), list(leaves.values()))
    return left, dict(zip(names, grads, strict=True))


@pytest.fixture(scope="module")
def run():
    """The job, the data, the state with their weights, and their states."""
    data = dataset()
    setup = cifar10_airbench96_filtered.setup().change(
        width=4,
        epochs=float(EPOCHS),
        batch_size=BATCH,
        hardest={"widths": SMALL.widths, "every_steps": EVERY},
    )
    job = setup.job(data)._replace(alternate=None, augment=None)
    mean, std = (x.astype(np.float64) for x in data.channel_statistics())
    images = torch.from_numpy((data.train.inputs / 255 - mean) / std).permute(0, 3, 1, 2)
    large = stepping.start(*reference.init(1, images, LARGE))
    small = stepping.start(*reference.init(2, images, SMALL))
    stats = to_ours(large.stats)
    proxy = job.batch_stats["proxy"]
    given = to_ours(small.params)
    assert jax.tree.map(jnp.shape, given) == jax.tree.map(jnp.shape, proxy["params"])
    stats = job.batch_stats | {
        "fast": stats,
        "slow": jax.tree.map(jnp.copy, stats),
        "proxy": proxy | {"params": given},
    }
    state = create_state(to_ours(large.params), stats, job.tx, jax.random.key(0))
    return job, data, images, state, large, small


def test_every_step_of_a_run_is_theirs(run):
    """Twelve steps, three of them of the small network."""
    job, data, images, state, large, small = run
    labels = torch.from_numpy(data.train.targets).long()
    step = jax.jit(job.step)
    lefts = []
    for number in range(TOTAL):
        index = np.arange(BATCH) + number % 4 * BATCH
        batch = Batch(*(jnp.asarray(x[index]) for x in data.train[:2]))
        state, metrics = step(state, batch)

        left, grads = hardest(small, images[index], labels[index])
        if number % EVERY == 0:
            rates = stepping.rates(grads, number, SMALL, total=TOTAL, whiten_steps=0)
            moved = stepping.sgd_step(small.params, small.velocity, grads, rates)
            small = small._replace(params=moved[0], velocity=moved[1])
        value, large = stepping.train_step(
            large,
            images[index][left],
            labels[index][left],
            number,
            LARGE,
            total=TOTAL,
            whiten_steps=TOTAL,
        )
        lefts.append(tuple(sorted(left.tolist())))
        assert float(metrics["loss"]) == pytest.approx(float(value) / KEPT, rel=1e-4)
        assert_near(state.batch_stats["proxy"]["params"], small.params)
        if number + 1 < TOTAL:
            assert_near(state.params, large.params)
            assert_near(statistics(state), large.stats)
    assert len(set(lefts)) > 4  # it does not choose by place
    tested = job.tested(state)
    assert_near(tested.params, large.params)
    assert_near(statistics(tested), large.stats)


def test_the_hardest_are_chosen_in_training_and_all_are_tested(run):
    job, data, images, state, _, small = run
    labels = torch.from_numpy(data.train.targets).long()
    inputs, targets = (jnp.asarray(x[:BATCH]) for x in data.train[:2])
    shown = job.mix(jax.random.key(0), inputs, targets)[0]
    outputs, _ = job.apply(state.params, state.batch_stats, shown, train=True)
    assert isinstance(outputs, Chosen)
    left, _ = hardest(small, images[:BATCH], labels[:BATCH])
    assert sorted(outputs.indices.tolist()) == sorted(left.tolist())
    logits, stats = job.apply(state.params, state.batch_stats, inputs, train=False)
    assert logits.shape == (BATCH, 10)
    assert jax.tree.structure(stats) == jax.tree.structure(state.batch_stats)


def test_the_numbers_of_a_full_run_are_theirs():
    setup = cifar10_airbench96_filtered.setup()
    own = {(trick.name, n): x for trick in setup.tricks for n, x in trick.numbers}
    assert (setup.epochs, setup.batch_size) == (45.0, 1024)
    # Of a mean over 512 of 1,024 images, of which the source has the sum.
    assert own["airbench_sgd", "learning_rate"] == 9.0 * 512 / 1024
    for name, x in {"momentum": 0.85, "weight_decay": 0.012, "bias_scale": 64.0}.items():
        assert own["airbench_sgd", name] == own["hardest", name] == x
    assert own["hardest", "widths"] == (32, 64, 64)
    assert own["airbench", "multiples"] == (1, 3, 4)
    assert "settle" not in [trick.name for trick in setup.tricks]


def test_both_networks_whiten_alike():
    setup = cifar10_airbench96_filtered.setup().change(width=4, batch_size=BATCH)
    job = setup.job(dataset())
    proxy = job.batch_stats["proxy"]["params"]["whitening"]
    np.testing.assert_array_equal(proxy["kernel"], job.params["whitening"]["kernel"])
    assert not np.any(proxy["bias"])

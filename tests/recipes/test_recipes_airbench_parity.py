"""The airbench recipes against the PyTorch statement of the same equations, in float64.

Same weights and batches: loss, gradients, new weights and statistics of every step, the
lookahead and the end of the run in them, and the logits of six views.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.recipes import (
    cifar10_airbench94,
    cifar10_airbench94_muon,
    cifar10_airbench96,
)
from optix_tricks.training import Batch, Dataset, create_state

torch = pytest.importorskip("torch")
from tests.recipes import airbench_reference as reference  # noqa: E402
from tests.recipes import airbench_reference_step as stepping  # noqa: E402

BATCH, SIZE, EPOCHS, WHITENED_EPOCHS = 16, 64, 3, 1
PER_EPOCH = SIZE // BATCH
TOTAL = EPOCHS * PER_EPOCH

RECIPES = {
    "94": (cifar10_airbench94, reference.AIRBENCH94, (4, 16, 16)),
    "muon": (cifar10_airbench94_muon, reference.AIRBENCH94_MUON, (4, 16, 16)),
    "96": (cifar10_airbench96, reference.AIRBENCH96, (4, 12, 16)),
}


def dataset():
    """Images whose channels have CIFAR-10's mean and deviation nearly."""
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(SIZE, 9, 9, 3)).repeat(4, axis=1).repeat(4, axis=2)
    noise = smooth[:, :32, :32] + 0.3 * rng.normal(size=(SIZE, 32, 32, 3))
    images = np.clip(120 + 60 * noise, 0, 255).astype(np.uint8)
    labels = rng.integers(0, 10, SIZE).astype(np.int32)
    return Dataset("noise", *2 * [Batch(images, labels)], tuple("0123456789"))


def to_ours(tensors):
    """Names with slashes, kernels [row, column, in, out], nested, in float32."""
    tree = {}
    for name, x in tensors.items():
        *path, leaf = name.replace("whiten", "whitening").split(".")
        x = x.detach().numpy()
        if leaf == "kernel":
            x = x.T if x.ndim == 2 else x.transpose(2, 3, 1, 0)
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[leaf] = jnp.asarray(x, jnp.float32)
    return tree


def statistics(state):
    """Those that the network reads."""
    return state.batch_stats.get("fast", state.batch_stats)


def assert_near(ours, tensors, tolerance=1e-4):
    """Each array to `tolerance` of its norm."""
    theirs = to_ours(tensors)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)

    def check(path, x, y):
        gap = np.linalg.norm(np.asarray(x) - np.asarray(y))
        assert gap <= tolerance * np.linalg.norm(np.asarray(y)), (path, gap)

    jax.tree_util.tree_map_with_path(check, ours, theirs)


class Both:
    """One recipe, ours and theirs, at the same place."""

    def __init__(self, name):
        recipe, theirs, widths = RECIPES[name]
        data = dataset()
        self.recipe = dataclasses.replace(theirs, widths=widths, batch=BATCH)
        if theirs.muon:  # its decay is of a sum over the batch
            decay = theirs.decay * BATCH / theirs.batch
            self.recipe = dataclasses.replace(self.recipe, decay=decay)
        setup = recipe.setup().change(
            width=4,
            epochs=float(EPOCHS),
            batch_size=BATCH,
            settle={"epochs": WHITENED_EPOCHS},
        )
        if theirs.muon:
            setup = setup.change(whitening_bias_epochs=WHITENED_EPOCHS)
        job = setup.job(data)
        self.job = job._replace(alternate=None, augment=None)
        mean, std = (x.astype(np.float64) for x in data.channel_statistics())
        pixels = (data.train.inputs / 255 - mean) / std
        self.images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(data.train.targets).long()
        self.data = Batch(jnp.asarray(data.train.inputs), jnp.asarray(data.train.targets))
        self.theirs = stepping.start(*reference.init(1, self.images, self.recipe))
        params, stats = to_ours(self.theirs.params), to_ours(self.theirs.stats)
        if "slow" in job.batch_stats:
            slow = jax.tree.map(jnp.copy, stats)
            stats = job.batch_stats | {"fast": stats, "slow": slow}
        self.ours = create_state(params, stats, self.job.tx, jax.random.key(0))
        self.compiled = jax.jit(self.job.step)
        self.settled = jax.jit(self.job.step_in(WHITENED_EPOCHS))

    def step(self, number, *, settle=False):
        """Both take it; return the metrics and their loss."""
        index = np.arange(BATCH) + number % PER_EPOCH * BATCH
        settled = settle and number // PER_EPOCH >= WHITENED_EPOCHS
        step = self.settled if settled else self.compiled
        self.ours, metrics = step(self.ours, self.data.take(jnp.asarray(index)))
        value, self.theirs = stepping.train_step(
            self.theirs,
            self.images[index],
            self.labels[index],
            number,
            self.recipe,
            total=TOTAL,
            whiten_steps=WHITENED_EPOCHS * PER_EPOCH,
        )
        return metrics, float(value.detach())


@pytest.mark.parametrize("name", RECIPES)
def test_the_whitening_is_theirs_up_to_signs_and_order(name):
    both = Both(name)
    ours = np.asarray(both.job.params["whitening"]["kernel"]).reshape(12, 24)
    theirs = reference.whitening(both.images).permute(2, 3, 1, 0).reshape(12, 24).numpy()
    for kernel in (ours, theirs):
        np.testing.assert_array_equal(kernel[:, 12:], -kernel[:, :12])
    cosines = np.abs(theirs.T @ ours) / np.linalg.norm(theirs, axis=0)[:, None]
    cosines = cosines / np.linalg.norm(ours, axis=0)
    np.testing.assert_allclose(cosines.max(axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(ours, axis=0)),
        np.sort(np.linalg.norm(theirs, axis=0)),
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_are_theirs(name):
    both = Both(name)
    job, state, few = both.job, both.ours, both.data.take(jnp.arange(BATCH))

    @jax.jit
    def gradients(params):
        def total(params):
            logits, _ = job.apply(params, state.batch_stats, few.inputs, train=True)
            return jnp.sum(job.loss(logits, few.targets))

        return jax.grad(total)(params)

    ours = gradients(state.params)
    _, theirs, _ = reference.gradients(
        both.theirs.params,
        both.theirs.stats,
        both.images[:BATCH],
        both.labels[:BATCH],
        recipe=both.recipe,
    )
    assert not np.any(ours["whitening"].pop("kernel"))
    assert_near(ours, theirs)


@pytest.mark.parametrize("settle", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_every_step_of_a_run_is_theirs(name, settle):
    """Twelve steps: two synchronisations, a frozen bias, and the last step lost."""
    both = Both(name)
    for number in range(TOTAL):
        metrics, value = both.step(number, settle=settle)
        assert float(metrics["loss"]) == pytest.approx(value / BATCH, rel=1e-4)
        if number + 1 < TOTAL:
            assert_near(both.ours.params, both.theirs.params)
            assert_near(statistics(both.ours), both.theirs.stats)
    tested = both.job.tested(both.ours)
    assert_near(tested.params, both.theirs.params)
    assert_near(statistics(tested), both.theirs.stats)

    def predict(images):
        return both.job.apply(tested.params, tested.batch_stats, images, train=False)[0]

    ours = jax.jit(lambda images: both.job.test_views(predict, images))(both.data.inputs)
    theirs = reference.tta_logits(
        both.theirs.params, both.theirs.stats, both.images, recipe=both.recipe
    )
    np.testing.assert_allclose(ours, theirs.detach(), atol=1e-4)


def test_a_settled_step_spares_the_gradient_of_the_first_groups_images():
    both = Both("94")
    some = both.data.take(jnp.arange(BATCH))
    convolutions = [
        step.lower(both.ours, some).as_text().count("stablehlo.convolution")
        for step in (both.compiled, both.settled)
    ]
    assert convolutions == [1 + 3 * 6, 3 * 6]


@pytest.mark.parametrize("name", RECIPES)
def test_the_initial_weights_have_their_distribution(name):
    """Means and deviations of each array, over seeds of both."""
    recipe = RECIPES[name][0]
    data, both = dataset(), Both(name)
    plan = recipe.setup().change(width=4, batch_size=BATCH).plan(data)
    ours = [plan.job(seed).params for seed in range(3)]
    shapes = jax.tree.map(jnp.shape, to_ours(both.theirs.params))
    assert jax.tree.map(jnp.shape, ours[0]) == shapes
    drawn = [
        to_ours(reference.init(seed, both.images, both.recipe)[0]) for seed in range(3)
    ]

    def check(path, *arrays):
        first, second = np.stack(arrays[:3]), np.stack(arrays[3:])
        noise = 4 * (second.std() + first.std()) / np.sqrt(first.size) + 1e-6
        assert abs(first.mean() - second.mean()) < noise, path
        assert first.std() == pytest.approx(second.std(), rel=0.2), path
        assert np.abs(first).max() == pytest.approx(np.abs(second).max(), rel=0.2), path

    kernels = [x | {"whitening": {"bias": x["whitening"]["bias"]}} for x in ours + drawn]
    jax.tree_util.tree_map_with_path(check, *kernels)
    for tree in ours:
        identity = tree["group1"]["conv2"]["kernel"]
        np.testing.assert_array_equal(identity[1, 1], np.eye(4))
        assert np.sum(np.abs(identity)) == 4


@pytest.mark.parametrize("name", RECIPES)
def test_the_numbers_of_a_full_run_are_theirs(name):
    recipe, theirs, _ = RECIPES[name]
    setup = recipe.setup()
    own = {(trick.name, n): x for trick in setup.tricks for n, x in trick.numbers}
    assert setup.batch_size == theirs.batch
    assert setup.epochs == theirs.epochs
    assert own["crop", "padding"] == theirs.translate
    assert own.get(("cutout", "size"), 0) == theirs.cutout
    optimizer = setup.filled()["optimizer"][0].name
    assert own[optimizer, "learning_rate"] == theirs.lr
    per_step = own[optimizer, "weight_decay"] * (setup.batch_size if theirs.muon else 1)
    assert per_step == pytest.approx(theirs.decay)

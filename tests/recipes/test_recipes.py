"""The recipes: their numbers against their sources, and that each one trains."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.layers import BatchRenorm, renorm_bounds
from optix_tricks.recipes import (
    RECIPES,
    cifar10_resnet9,
    cifar10_resnet18,
    cifar100_resnet18,
    digits,
    imagenet_resnet50,
    imagenet_resnet50_lars,
)
from optix_tricks.recipes._classification import crop_flip_cutout, make_small_image_job
from optix_tricks.schedules import cifar_step_schedule
from optix_tricks.training import ResNet9, RunDirectory, count_parameters, generate, train

STEPS = 390  # full batches of 128 in 50,000 images


@pytest.fixture(scope="module")
def images():
    return generate(8)


def rates(tx, steps):
    """The rates that an optimiser uses at given steps."""
    params = jnp.ones((2, 2))

    def at(step):
        def counted(x):
            is_count = jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == 0
            return jnp.asarray(step, x.dtype) if is_count else x

        state = jax.tree.map(counted, tx.init(params))
        return ot.report(tx.update(params, state, params)[1])["learning_rate"]

    return np.array([at(step) for step in steps])


@pytest.mark.parametrize("epochs", [200, 300])
def test_cifar100_follows_the_published_schedule_after_its_warm_up(epochs):
    config = cifar100_resnet18.Config(epochs=epochs, schedule=str(epochs))
    tx = cifar100_resnet18.make_optimizer(config, epochs * STEPS)
    published = cifar_step_schedule(STEPS, epochs=epochs)
    drops = [e * STEPS + d for e in (60, 120, 150, 160, 225) for d in (-1, 0)]
    steps = [STEPS, 5 * STEPS, *(step for step in drops if step < epochs * STEPS)]
    np.testing.assert_allclose(rates(tx, steps), [published(t) for t in steps], 1e-5)
    np.testing.assert_allclose(rates(tx, [0, STEPS // 2]), [0, 0.05], 1e-5, 1e-8)


def test_cifar100_decays_kernels_only_unless_told_otherwise():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    grads = jax.tree.map(jnp.zeros_like, params)
    for no_bias_decay in (True, False):
        config = cifar100_resnet18.Config(
            no_bias_decay=no_bias_decay, warmup_epochs=0.0, momentum=0.0
        )
        tx = cifar100_resnet18.make_optimizer(config, 200 * STEPS)
        updates, _ = tx.update(grads, tx.init(params), params)
        np.testing.assert_allclose(updates["kernel"], -0.1 * 5e-4, rtol=1e-5)
        want = 0.0 if no_bias_decay else -0.1 * 5e-4
        np.testing.assert_allclose(updates["bias"], want, rtol=1e-5)


def test_cifar10_falls_along_a_half_cosine():
    config = cifar10_resnet18.Config(epochs=100, warmup_fraction=0.05)
    tx = cifar10_resnet18.make_optimizer(config, 10_000)
    want = [0, 0.05, 0.1, 0.05 * (1 + np.cos(np.pi / 4)), 0.05, 0]
    steps = [0, 250, 500, 500 + 9500 // 4, 500 + 9500 // 2, 10_000]
    np.testing.assert_allclose(rates(tx, steps), want, rtol=1e-4, atol=1e-7)


def test_resnet9_rises_and_falls_in_lines():
    config = cifar10_resnet9.Config(learning_rate=0.4, warmup_fraction=0.25)
    tx = cifar10_resnet9.make_optimizer(config, 80)
    want = [0, 0.2, 0.4, 0.2, 0]
    np.testing.assert_allclose(rates(tx, [0, 10, 20, 50, 80]), want, 1e-5, 1e-8)


def test_a_run_that_is_all_warm_up_falls_in_one_step():
    """A schedule needs a step of its own, and no more."""
    for recipe in (cifar10_resnet9, cifar10_resnet18, digits, imagenet_resnet50):
        config = recipe.Config()
        whole = {"warmup_epochs": float(config.epochs), "warmup_fraction": 1.0}
        known = {field.name for field in dataclasses.fields(config)}
        changes = {name: x for name, x in whole.items() if name in known}
        tx = recipe.make_optimizer(dataclasses.replace(config, **changes), 20)
        start, peak, end = rates(tx, [0, 20, 21])
        assert start < 0.1 * peak, recipe.__name__
        assert end < 1e-6 * peak, recipe.__name__


def test_drops_of_a_run_of_a_few_steps_follow_each_other():
    """Each falls on a step of its own, however short the run is."""
    config = cifar100_resnet18.Config(warmup_epochs=0.0, schedule="200")
    found = rates(cifar100_resnet18.make_optimizer(config, 2), range(5))
    np.testing.assert_allclose(found, 0.1 / 5.0 ** np.array([0, 1, 2, 3, 3]), 1e-5)


def test_what_is_cut_out_is_the_mean_grey_of_the_training_images(images):
    levels = np.broadcast_to(np.array([50, 102, 154], np.uint8), (4, 8, 8, 3))
    config = cifar10_resnet9.Config(cutout=20, padding=1)
    augment = crop_flip_cutout(
        config, images._replace(train=images.train._replace(inputs=levels))
    )
    black = jnp.zeros((3, 8, 8, 3), jnp.uint8)
    shown = np.asarray(augment(jax.random.key(0), black))
    assert set(np.unique(shown)) <= {0, 102}
    assert (shown == 102).mean() > 0.5


def test_a_warm_up_may_be_as_long_as_the_run(images):
    config = cifar100_resnet18.Config(width=2, epochs=2, warmup_epochs=2.0)
    jax.eval_shape(lambda: cifar100_resnet18.build(config, images).params)


def test_imagenet_scales_its_rate_with_the_batch():
    for batch_size, peak in ((256, 0.1), (1024, 0.4)):
        config = imagenet_resnet50.Config(batch_size=batch_size)
        tx = imagenet_resnet50.make_optimizer(config, 1000)
        want = [0, peak / 2, peak, peak / 2, 0]
        steps = [0, 25, 50, 525, 1000]
        np.testing.assert_allclose(rates(tx, steps), want, rtol=1e-4, atol=1e-7)


def test_lars_has_the_reference_numbers():
    """MLPerf: 10 (1 - t / T)^2 after five epochs of warm-up, and eta 0.001."""
    config = imagenet_resnet50_lars.Config()
    total, warmup = 42 * 312, 5 * 312
    tx = imagenet_resnet50_lars.make_optimizer(config, total)
    middle = warmup + (total - warmup) // 2
    left = 1 - (middle - warmup) / (total - warmup)
    want = [0, 5, 10, 10 * left**2 + 1e-4 * (1 - left**2), 1e-4]
    steps = [0, warmup // 2, warmup, middle, total]
    np.testing.assert_allclose(rates(tx, steps), want, rtol=2e-4, atol=1e-7)

    config = dataclasses.replace(config, warmup_epochs=0.0)
    tx = imagenet_resnet50_lars.make_optimizer(config, total)
    w, g = np.array([[3.0, 4.0]]), np.array([[0.0, 0.5]])
    updates, _ = tx.update(jnp.asarray(g), tx.init(jnp.asarray(w)), jnp.asarray(w))
    ratio = 0.001 * 5.0 / (0.5 + 2e-4 * 5.0)
    np.testing.assert_allclose(updates, -10 * ratio * (g + 2e-4 * w), rtol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "classes", "count"),
    [
        (cifar10_resnet18, 10, 11_173_962),  # kuangliu/pytorch-cifar's ResNet-18
        (cifar100_resnet18, 100, 11_220_132),
        (imagenet_resnet50, 1000, 25_557_032),
        (imagenet_resnet50_lars, 1000, 25_557_032),
    ],
)
def test_networks_have_their_published_size(recipe, classes, count, images):
    dataset = images._replace(class_names=tuple(map(str, range(classes))))
    config = recipe.Config(batch_size=128)
    params = jax.eval_shape(lambda: recipe.build(config, dataset).params)
    assert count_parameters(params) == count


def test_a_run_too_short_for_its_bounds_is_told_before_it_starts(images):
    config = cifar10_resnet9.Config(width=2, epochs=3, batch_size=512)

    def build(norm):
        model = ResNet9(10, width=2, norm=norm, rngs=nnx.Rngs(0))
        return make_small_image_job(config, images, model, ot.sgd(0.1)).params

    message = r"after 12 steps, before the bounds of 8 BatchRenorm, such .*_bounds\(12\)"
    with pytest.warns(UserWarning, match=message):
        jax.eval_shape(lambda: build(BatchRenorm))
    opened = functools.partial(BatchRenorm, **renorm_bounds(12)._asdict())
    jax.eval_shape(lambda: build(opened))  # without a word


@pytest.mark.further
def test_every_trick_at_once_trains(images, tmp_path):
    """Mixing, dropped branches, erasing and a loss scale in one compiled step."""
    config = cifar10_resnet18.Config(
        width=2,
        epochs=1,
        batch_size=512,
        padding=1,
        cutout=2,
        mixup=0.2,
        drop_path=0.2,
        compute_dtype="float16",
    )
    job = cifar10_resnet18.build(config, images)
    with RunDirectory.start(tmp_path / "run", recipe="x", config={}) as run:
        _, result = train(job, images, run)
        rows = [row for row in run.read_metrics() if row["kind"] == "train"]
    assert result.steps == len(rows) == 4
    assert np.isfinite([row["loss"] for row in rows]).all()
    assert {"loss_scale", "last_finite", "learning_rate"} <= rows[0].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in RECIPES if n != "digits"])
def test_every_recipe_learns_generated_images(name, tmp_path):
    recipe, images = RECIPES[name], generate(16)
    width = 8 if "airbench" in name else 4  # 32 channels at the end in either
    config = recipe.Config(width=width, epochs=4, batch_size=64)
    changes = {"warmup_epochs": 0.5, "image_size": 16, "compute_dtype": "float32"}
    known = {field.name for field in dataclasses.fields(config)}
    changes = {key: value for key, value in changes.items() if key in known}
    job = recipe.build(dataclasses.replace(config, **changes), images)
    with RunDirectory.start(tmp_path / "run", recipe=name, config={}) as run:
        _, result = train(job, images, run)
    assert result.test.metrics["accuracy"] > 0.5  # chance is 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixup": 0.2, "cutmix": 1.0}, "cutmix must be 0 where mixup is 0.2, got 1.0"),
        ({"mixup": -1.0}, "mixup must be zero or positive, got -1.0"),
        ({"drop_path": 1.0}, r"final_rate must be in \[0, 1\), got 1.0"),
        ({"warmup_epochs": 9.0}, "warmup_epochs must be at most the 2 epochs, got 9.0"),
        ({"cutout": -1}, "cutout must be at least 0, got -1"),
        ({"padding": 20}, "padding must be below the image's 8 pixels"),
        ({"batch_size": 4096}, "batch_size must be at most .* 2048, got 4096"),
    ],
)
def test_bad_numbers_name_their_field(changes, message, images):
    numbers = {"width": 2, "epochs": 2, "warmup_epochs": 0.0} | changes
    with pytest.raises(ValueError, match=message):
        cifar100_resnet18.build(cifar100_resnet18.Config(**numbers), images)


def test_the_digits_recipe_builds_the_chain_it_states():
    tx = digits.make_optimizer(digits.Config(), steps=100)
    params = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    zero = jax.tree.map(np.zeros_like, params)
    state = tx.init(params)
    rates = []
    for _ in range(101):
        updates, state = tx.update(zero, state, params)
        rates.append(float(state[1][1].hyperparams["learning_rate"]))
    # Rises to 0.3 over 20 steps, falls to zero over 80; decay acts on the kernel alone.
    np.testing.assert_allclose(
        np.array(rates)[[0, 10, 20, 60, 100]], [0, 0.15, 0.3, 0.15, 0]
    )
    assert (np.asarray(updates["bias"]) == 0).all()
    _, state = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(state[1][0].trace["kernel"], 5e-4, rtol=1e-6)

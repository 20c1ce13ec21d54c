"""Networks in three forms, changed where they can be; seeds; keys by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import layers, tricks
from optix_tricks._paths import named_leaves
from optix_tricks.training import Batch, Dataset
from optix_tricks.tricks import Setup
from tests.tricks.toys import NETWORK, Mlp, base, dataset, steps, text

DATA = dataset()
IMAGES = jnp.asarray(DATA.train.inputs[:6])


def paths(tree):
    return {leaf.name for leaf in named_leaves(tree)}


def kernel(plan, path, seed=0):
    params, _ = plan.context.network.init(seed)
    return {leaf.name: leaf.value for leaf in named_leaves(params)}[path]


def test_another_seed_compiles_nothing():
    plan = base().take(tricks.crop(padding=1), tricks.mixup).plan(DATA)
    first, _, job = steps(plan, DATA, count=2, seed=0)
    compiled = jax.jit(job.step)
    compiled.lower(first, plan_batch())  # the step's own trace
    other, _, other_job = steps(plan, DATA, count=2, seed=1)
    assert other_job.step is job.step
    assert compiled._cache_size() == 0
    weights = [np.asarray(s.params["head"]["kernel"]) for s in (first, other)]
    assert not np.array_equal(*weights)


def plan_batch():
    return jax.tree.map(jnp.asarray, DATA.train).take(jnp.arange(8))


@pytest.mark.parametrize(
    ("trick", "kind"),
    [
        (tricks.group_norm(num_groups=2), layers.GroupNorm),
        (tricks.batch_renorm, layers.BatchRenorm),
        (tricks.no_norm, object),
    ],
)
def test_norms_of_a_finished_module_are_exchanged(trick, kind):
    model = Mlp()
    plan = Setup(model, batch_size=8).take(tricks.sgd, trick).plan(DATA)
    job = plan.job()
    logits, stats = job.apply(job.params, job.batch_stats, IMAGES, train=True)
    assert logits.shape == (6, 3)
    assert ("mean" in str(paths(stats))) == (kind is layers.BatchRenorm)
    assert isinstance(model.norm, nnx.BatchNorm)  # the model itself stays
    np.testing.assert_array_equal(job.params["conv"]["kernel"], model.conv.kernel[...])


def test_kernels_in_lists_are_reparametrised_and_begin_as_they_were():
    model = Mlp()
    plain = Setup(model, batch_size=8).take(tricks.sgd).plan(DATA).job()
    normed = Setup(model, batch_size=8).take(tricks.sgd, tricks.weight_norm)
    job = normed.plan(DATA).job()
    assert "layers/1/layer/kernel" in paths(job.params)
    assert "layers/1/scale" in paths(job.params)
    for each in (plain, job):
        logits, _ = each.apply(each.params, each.batch_stats, IMAGES, train=False)
        want, _ = plain.apply(plain.params, plain.batch_stats, IMAGES, train=False)
        np.testing.assert_allclose(logits, want, rtol=1e-5, atol=1e-6)


def test_each_kernel_is_drawn_from_the_key_of_its_path():
    orthogonal = Setup(Mlp(), batch_size=8).take(tricks.sgd, tricks.orthogonal)
    w = np.asarray(kernel(orthogonal.plan(DATA), "layers/0/kernel"), np.float64)
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=1e-5)
    normal = Setup(Mlp(), batch_size=8).take(tricks.sgd, tricks.normal(stddev=1.0))
    plan = normal.plan(DATA)
    a, b = kernel(plan, "layers/0/kernel"), kernel(plan, "layers/0/kernel", seed=1)
    assert not np.array_equal(a, b)
    wrapped = normal.take(tricks.weight_norm).plan(DATA)
    np.testing.assert_array_equal(kernel(wrapped, "layers/0/layer/kernel"), a)


def test_dropout_stands_before_the_last_linear_layer():
    plan = Setup(Mlp(), batch_size=8).take(tricks.sgd, tricks.dropout(0.5)).plan(DATA)
    job = plan.job()
    assert "layers/1/layers/1/kernel" in paths(job.params)
    keys = jax.random.split(jax.random.key(0))
    draws = [
        job.apply(job.params, job.batch_stats, IMAGES, train=True, key=key)[0]
        for key in keys
    ]
    assert not np.array_equal(*draws)


def test_lsuv_scales_over_the_first_examples_and_keeps_the_statistics():
    setup = Setup(Mlp(), batch_size=8).take(tricks.sgd, tricks.lsuv(40), tricks.no_norm)
    plan = setup.plan(DATA)
    job = plan.job()
    logits, _ = job.apply(
        job.params, job.batch_stats, jnp.asarray(DATA.train.inputs), train=True
    )
    assert 0.9 < np.var(logits) < 1.1


def test_whitening_makes_the_first_features_of_the_images_white():
    setup = Setup(Mlp(), batch_size=8).take(tricks.sgd, tricks.whitening(40))
    w = np.asarray(kernel(setup.plan(DATA), "conv/kernel"), np.float64)
    context = setup.plan(DATA).context
    x = np.asarray(context.prepare(context.first(40).inputs), np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27)
    features = patches @ w.reshape(27, 4)
    covariance = features.T @ features / len(features)
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.05)


def test_a_function_is_a_network_and_its_weights_are_those_that_were_given():
    def apply(params, batch_stats, images, *, train, key=None):
        x = jnp.mean(images.astype(jnp.float32), axis=(1, 2)) / 255
        return x @ params["w"], batch_stats

    network = apply, {"w": jnp.ones((3, 3))}, {}
    plan = Setup(network, batch_size=8).take(tricks.sgd(0.1), tricks.mixup).plan(DATA)
    state, metrics, _ = steps(plan, DATA, count=3)
    assert np.isfinite(metrics["loss"])
    assert not np.array_equal(state.params["w"], network[1]["w"])


def test_a_trick_moves_no_other_tricks_draws():
    """The crops of a run with cutout are those of the run without."""
    crop = base().take(tricks.crop(padding=2)).plan(DATA).job()
    both = base().take(tricks.crop(padding=2), tricks.cutout(3), tricks.dropout)
    both = both.plan(DATA).job()
    key = jax.random.key(3)
    plain, cut = crop.augment(key, IMAGES), both.augment(key, IMAGES)
    same = np.mean(np.asarray(plain == cut))
    assert 1 - 9 / 64 <= same < 1


def test_layers_are_numbered_in_the_order_of_their_use():
    class Backwards(nnx.Module):
        def __init__(self):
            self.z_first = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
            self.a_last = nnx.Linear(4, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.a_last(self.z_first(x.mean(axis=(1, 2))))

    setup = Setup(Backwards(), batch_size=8).take(tricks.sgd(0.1))
    plan = setup.take(tricks.layerwise_rates(0.5)).plan(DATA)
    slow, _, _ = steps(plan, DATA, count=1)
    plain, _, job = steps(setup.plan(DATA), DATA, count=1)
    for name, factor in (("z_first", 0.5), ("a_last", 1.0)):
        for part in ("kernel", "bias"):
            start = job.params[name][part]
            moved = slow.params[name][part] - start
            want = factor * (plain.params[name][part] - start)
            np.testing.assert_allclose(moved, want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("network", [None, Mlp(), NETWORK])
def test_a_network_that_is_a_trick_goes_before_the_setups_own_and_takes_parts(network):
    chosen = tricks.resnet18(2), tricks.drop_path, tricks.instance_norm
    plan = Setup(network, batch_size=8).take(tricks.sgd(0.1), *chosen).plan(DATA)
    job = plan.job()
    assert "stage4_block2" in job.params
    assert not jax.tree.leaves(job.batch_stats)


def test_residual_branches_start_at_zero_only_where_it_is_asked_for():
    setup = Setup(batch_size=8).take(tricks.sgd(0.1), tricks.resnet18(2))
    path = "stage1_block1/conv2/norm/scale"
    np.testing.assert_array_equal(kernel(setup.plan(DATA), path), [1, 1])
    zeroed = setup.take(tricks.zero_gamma).plan(DATA)
    np.testing.assert_array_equal(kernel(zeroed, path), [0, 0])


TARGETS = {
    "classes": (np.arange(40, dtype=np.int32) % 3, ("a", "b", "c"), (8, 3)),
    "dense": (np.full((40, 3), 1 / 3, np.float32), ("a", "b", "c"), (8, 3)),
    "labels": (np.ones((40, 2), bool), ("a", "b"), (8, 2)),
    "a number": (np.ones(40, np.float32), (), (8,)),
    "numbers": (np.ones((40, 4), np.float32), (), (8, 4)),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_an_mlp_has_the_outputs_that_the_targets_want(kind):
    targets, names, shape = TARGETS[kind]
    x = np.ones((40, 2, 3), np.float32)
    some = jnp.asarray(x[:8])
    data = Dataset("vectors", Batch(x, targets), Batch(x, targets), names)
    plan = Setup(batch_size=8).take(tricks.sgd, tricks.mlp(4)).plan(data)
    job = plan.job()
    assert job.params["hidden"][0]["kernel"].shape == (6, 4)
    outputs, _ = job.apply(job.params, job.batch_stats, some, train=False)
    assert outputs.shape == shape
    assert job.loss(outputs, jnp.asarray(targets[:8])).shape == (8,)


def test_a_transformer_takes_norm_and_paths_and_reads_vocabulary_and_length_off():
    chosen = tricks.transformer(4, depth=1, heads=2), tricks.rms_norm, tricks.drop_path
    plan = Setup(batch_size=8).take(tricks.sgd, *chosen).plan(text(length=5))
    job = plan.job()
    assert job.params["token_embed"]["embedding"].shape == (3, 4)
    assert job.params["position_embed"]["embedding"].shape == (5, 4)
    assert job.params["norm"].keys() == {"scale"}


REFUSED = {
    "images": (tricks.resnet9, text(), "resnet9 needs inputs that are images"),
    "tokens": (tricks.transformer, DATA, r"transformer needs inputs that are tokens"),
    "vectors": (tricks.mlp, text(), "mlp needs inputs that are one array of numbers"),
    "mixup": (tricks.mixup, text(), "mixup needs inputs that are images"),
    "vocabulary": (
        tricks.transformer,
        text()._replace(class_names=("a", "b")),
        "tokens below the 2 classes of the data set, got 2",
    ),
    "a class a pixel": (
        tricks.mlp,
        DATA._replace(train=DATA.train._replace(targets=DATA.train.inputs[..., 0])),
        r"targets must be one class, .* got classes \[8, 8\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_is_not_for_these_data_says_what_it_needs(case):
    chosen, data, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        base().take(chosen).plan(data)


@pytest.mark.parametrize(
    "tricked",
    [
        [tricks.resnet9(width=2)],
        [tricks.resnet9(width=2), tricks.group_norm(2), tricks.dropout(0.1)],
        [tricks.mlp(width=4), tricks.orthogonal],
    ],
    ids=["resnet9", "parts", "mlp"],
)
def test_a_network_that_is_made_at_once_has_the_same_bits(tricked):
    setup = Setup(epochs=1, batch_size=4).take(tricks.sgd(0.1), *tricked)
    data = DATA
    for seed in (0, 3):
        one, other = (
            setup.plan(data, at_once=at_once).job(seed) for at_once in (False, True)
        )
        for a, b in ((one.params, other.params), (one.batch_stats, other.batch_stats)):
            assert jax.tree.structure(a) == jax.tree.structure(b)
            jax.tree.map(np.testing.assert_array_equal, a, b)

"""Networks: sizes against the literature, switches, pooling, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.training import _resnet as resnet
from optix_tricks.training import functional


def parameters(make, **options):
    model = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0), **options))
    return resnet.count_parameters(nnx.to_pure_dict(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("make", "options", "count"),
    [
        # torchvision's published counts.
        (resnet.ResNet18, {"num_classes": 1000}, 11_689_512),
        (resnet.ResNet34, {"num_classes": 1000}, 21_797_672),
        (resnet.ResNet50, {"num_classes": 1000}, 25_557_032),
        # weiaicunzai/pytorch-cifar100: 11.22 M and 23.7 M.
        (resnet.ResNet18, {"num_classes": 100, "stem": "cifar"}, 11_220_132),
        (resnet.ResNet50, {"num_classes": 100, "stem": "cifar"}, 23_705_252),
        # Page: 6.57 M.
        (resnet.ResNet9, {"num_classes": 10}, 6_573_120),
    ],
)
def test_number_of_parameters_is_the_published_one(make, options, count):
    assert parameters(make, **options) == count


TINY = {"stages": (1, 1), "width": 4, "stem": "cifar", "num_classes": 3}


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.BottleneckBlock])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_shapes_and_float32_logits_in_bfloat16(block, stem):
    options = TINY | {"stem": stem, "block": block, "dtype": jnp.bfloat16}
    model = resnet.ResNet(**options, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    images = jnp.ones((2, 16, 16, 3))
    logits, new_stats = apply(params, stats, images, train=True)
    assert logits.shape == (2, 3)
    assert logits.dtype == jnp.float32
    for tree in (params, new_stats):
        assert {x.dtype for x in jax.tree.leaves(tree)} == {jnp.dtype("float32")}


def test_stride_of_the_bottleneck_is_in_the_3x3():
    model = resnet.ResNet(**TINY, block=resnet.BottleneckBlock, rngs=nnx.Rngs(0))
    block = model.stage2_block1
    strides = [getattr(block, f"conv{i}").conv.strides for i in (1, 2, 3)]
    assert strides == [1, 2, 1]


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.BottleneckBlock])
def test_zero_gamma_makes_every_block_the_identity_at_the_start(block):
    x = jax.random.normal(jax.random.key(1), (2, 6, 6, 4 * block.expansion))
    options = {"dtype": jnp.float32, "axis_name": None, "rngs": nnx.Rngs(0)}

    def out(last_scale):
        made = block(4 * block.expansion, 4, stride=1, last_scale=last_scale, **options)
        return made(x, train=True)

    np.testing.assert_array_equal(out(nnx.initializers.zeros), nnx.relu(x))
    assert not np.allclose(out(nnx.initializers.ones), nnx.relu(x))


def test_zero_gamma_is_a_switch():
    def last_scale(**options):
        model = resnet.ResNet(
            **TINY, block=resnet.BasicBlock, rngs=nnx.Rngs(0), **options
        )
        return model.stage1_block1.conv2.norm.scale[...]

    assert (last_scale() == 0).all()
    assert (last_scale(zero_init_last_gamma=False) == 1).all()


def test_bad_stem_is_named():
    with pytest.raises(ValueError, match="stem must be 'imagenet' or 'cifar', got 'x'"):
        resnet.ResNet(**(TINY | {"stem": "x"}), block=resnet.BasicBlock, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("size", [8, 9, 28, 32])
def test_resnet9_takes_any_square_size(size):
    model = resnet.ResNet9(10, width=2, in_channels=1, rngs=nnx.Rngs(0))
    assert model(jnp.ones((2, size, size, 1)), train=False).shape == (2, 10)


def test_images_too_small_for_resnet9_are_refused():
    model = resnet.ResNet9(10, width=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="at least 8x8 pixels"):
        model(jnp.ones((2, 4, 4, 3)), train=False)


def test_max_pools_and_their_gradients_are_pytorchs_at_ties():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)

    def values_and_gradient(pool, x, weight):
        y, back = jax.vjp(pool, x)
        return y, *back(weight.astype(y.dtype).reshape(y.shape))

    for shape in ((2, 4, 6, 3), (1, 5, 7, 2)):
        levels = rng.integers(0, 3, shape).astype(np.float32)  # nearly all windows tie
        weight = rng.integers(1, 9, shape).astype(np.float32)
        for pool, window in ((resnet.max_pool_2x2, 2), (resnet.global_max_pool, None)):
            x = torch.tensor(levels, requires_grad=True)
            y = torch.nn.functional.max_pool2d(
                x.permute(0, 3, 1, 2), window or shape[1:3]
            )
            given = weight.ravel()[: y.numel()]
            y.permute(0, 2, 3, 1).ravel().backward(torch.tensor(given))
            for dtype in (jnp.float32, jnp.bfloat16):
                ours, gradient = jax.jit(values_and_gradient, static_argnums=0)(
                    pool, jnp.asarray(levels, dtype), jnp.asarray(given)
                )
                assert ours.dtype == gradient.dtype == dtype
                theirs = y.detach().permute(0, 2, 3, 1).numpy().reshape(ours.shape)
                np.testing.assert_array_equal(ours, theirs)
                np.testing.assert_array_equal(gradient, x.grad)


@pytest.mark.parametrize("place", range(4))
def test_a_pooled_nan_is_nan(place):
    x = jnp.ones(4).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(resnet.max_pool_2x2(x)).all()
    assert jnp.isnan(resnet.global_max_pool(x)).all()


def test_a_constant_factor_on_a_normalised_kernel_changes_nothing():
    model = resnet.ResNet9(10, width=2, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    images = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
    logits, _ = apply(params, stats, images, train=True)
    params["layer2"]["conv"]["kernel"] *= 8.0
    scaled, _ = apply(params, stats, images, train=True)
    np.testing.assert_allclose(scaled, logits, rtol=2e-3, atol=1e-4)


class Dropping(nnx.Module):
    """Two layers of dropout with one source of random numbers, and nothing else."""

    def __init__(self, rngs):
        self.first = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, images, *, train):
        x = images.reshape(len(images), -1)
        drops = (self.first, self.second)
        return jnp.stack([drop(x, deterministic=not train) for drop in drops])


def test_random_numbers_of_a_network_come_from_the_key_of_the_call():
    apply, params, stats = functional(Dropping(nnx.Rngs(0)))
    images = jnp.ones((4, 8, 8, 1))

    @jax.jit
    def masks(key):
        return apply(params, stats, images, train=True, key=key)[0] != 0

    one, other = masks(jax.random.key(1)), masks(jax.random.key(2))
    assert (one == masks(jax.random.key(1))).all()
    assert (one != other).any()
    assert (one[0] != one[1]).any()  # each layer draws its own
    assert 0.3 < one.mean() < 0.7
    kept, _ = apply(params, stats, images, train=False)
    np.testing.assert_array_equal(kept, jnp.ones((2, 4, 64)))
    with pytest.raises(ValueError, match="key must be given to train a model"):
        apply(params, stats, images, train=True)


def test_stacked_random_streams_get_a_key_each():
    """Layers mapped over by `nnx.vmap` hold one stacked stream."""

    class Stacked(nnx.Module):
        def __init__(self):
            @nnx.split_rngs(splits=3)
            @nnx.vmap
            def make(rngs):
                return nnx.Dropout(0.5, rngs=rngs)

            self.drops = make(nnx.Rngs(0))

        def __call__(self, images, *, train):
            x = images.reshape(len(images), -1)

            @nnx.vmap(in_axes=(0, None))
            def each(drop, x):
                return drop(x, deterministic=not train)

            return each(self.drops, x)

    apply, params, stats = functional(Stacked())
    images = jnp.ones((4, 8, 8, 1))
    masks, _ = apply(params, stats, images, train=True, key=jax.random.key(0))
    assert masks.shape == (3, 4, 64)
    assert (masks[0] != masks[1]).any()


class Torch:
    """The same networks in PyTorch, from the same arrays, in evaluation."""

    def __init__(self, params, stats):
        self.torch = pytest.importorskip("torch")
        self.params, self.stats = (
            jax.tree.map(lambda x: self.torch.tensor(np.array(x)), tree)
            for tree in (params, stats)
        )

    def conv_norm(self, x, *path, stride=1):
        params, stats = self.params, self.stats
        for name in path:
            params, stats = params[name], stats[name]
        f, kernel = self.torch.nn.functional, params["conv"]["kernel"]
        y = f.conv2d(
            x, kernel.permute(3, 2, 0, 1), stride=stride, padding=kernel.shape[0] // 2
        )
        scale, bias = params["norm"]["scale"], params["norm"]["bias"]
        moments = stats["norm"]["mean"], stats["norm"]["var"]
        return f.batch_norm(y, *moments, scale, bias, eps=1e-5)

    def block(self, x, name, convs, strided, stride):
        """Where the channels or the size change, the shortcut is a convolution too."""
        y = x
        for i in range(convs):
            y = self.conv_norm(
                y, name, f"conv{i + 1}", stride=stride if i == strided else 1
            )
            y = y.relu() if i < convs - 1 else y
        if "shortcut" in self.params[name]:
            x = self.conv_norm(x, name, "shortcut", stride=stride)
        return (x + y).relu()

    def resnet(self, x, stem, *shape):
        x = self.conv_norm(x, "stem", stride=2 if stem == "imagenet" else 1).relu()
        if stem == "imagenet":
            x = self.torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.block(x, "stage1_block1", *shape, 1)
        x = self.block(x, "stage2_block1", *shape, 2)
        x = self.block(x, "stage2_block2", *shape, 1)
        head = self.params["head"]
        return x.mean(dim=(2, 3)) @ head["kernel"] + head["bias"]

    def resnet9(self, x):
        pool = self.torch.nn.functional.max_pool2d
        x = self.conv_norm(x, "prep").relu()
        for layer, is_residual in (("layer1", True), ("layer2", False), ("layer3", True)):
            x = pool(self.conv_norm(x, layer), 2).relu()
            if is_residual:
                y = self.conv_norm(x, f"{layer}_residual1").relu()
                x = x + self.conv_norm(y, f"{layer}_residual2").relu()
        return x.amax(dim=(2, 3)) @ self.params["head"]["kernel"] / 8


@pytest.mark.parametrize("name", ["basic", "bottleneck", "nine"])
def test_logits_are_those_of_pytorch(name):
    stem = "imagenet" if name == "bottleneck" else "cifar"
    if name == "nine":
        model = resnet.ResNet9(3, width=2, rngs=nnx.Rngs(0))
    else:
        block = resnet.BasicBlock if name == "basic" else resnet.BottleneckBlock
        options = TINY | {"stages": (1, 2), "stem": stem, "width": 2}
        model = resnet.ResNet(**options, block=block, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    rng = np.random.default_rng(0)
    params, stats = jax.tree.map(
        lambda x: (
            jnp.asarray(rng.uniform(0.2, 1, x.shape), jnp.float32)
            if x.ndim == 1  # scales, biases, moments: none of them at its start
            else x
        ),
        (params, stats),
    )
    images = rng.standard_normal((2, 16, 16, 3)).astype(np.float32)
    logits, _ = apply(params, stats, jnp.asarray(images), train=False)
    theirs = Torch(params, stats)
    x = theirs.torch.tensor(images).permute(0, 3, 1, 2)
    if name == "nine":
        wanted = theirs.resnet9(x)
    else:
        wanted = theirs.resnet(x, stem, *((2, 0) if name == "basic" else (3, 1)))
    np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert np.abs(logits).max() > 0.01


def test_running_means_move_by_a_tenth():
    model = resnet.ResNet9(3, width=2, rngs=nnx.Rngs(0))
    apply, params, stats = functional(model)
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32)
    _, new = apply(params, stats, jnp.asarray(images), train=True)
    kernel = params["prep"]["conv"]["kernel"]
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", None, None, layout)
    np.testing.assert_allclose(
        new["prep"]["norm"]["mean"], 0.1 * np.mean(y, (0, 1, 2)), rtol=1e-4, atol=1e-6
    )

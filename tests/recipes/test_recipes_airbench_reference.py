"""The PyTorch statement of airbench against PyTorch's own layers and optimisers, NumPy
and numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.recipes import airbench_reference as net
from tests.recipes import airbench_reference_step as optim

torch = pytest.importorskip("torch")
F = torch.nn.functional

RECIPES = {
    "94": net.AIRBENCH94,
    "muon": net.AIRBENCH94_MUON,
    "96": net.AIRBENCH96,
}
NARROW = {name: replace(r, widths=(26, 30, 32)) for name, r in RECIPES.items()}
RNG = np.random.default_rng(0)
PIXELS = torch.tensor(RNG.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8))
IMAGES = net.normalise(PIXELS)
LABELS = torch.tensor(RNG.integers(0, 10, 6))

each = pytest.mark.parametrize("name", RECIPES)


def close(ours, theirs, tolerance=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def stirred(recipe, seed=0):
    """Parameters and statistics none of which is at its special first value."""
    params, stats = net.init(seed, IMAGES, recipe)
    torch.manual_seed(seed)
    for name, value in params.items():
        params[name] = value + 0.1 * torch.randn_like(value)
    for name, value in stats.items():
        stats[name] = value + torch.rand_like(value)
    return params, stats


@pytest.mark.parametrize(
    ("name", "filters", "norms", "head"),
    [
        ("94", 9 * (24 * 64 + 64**2 + 64 * 256 + 3 * 256**2), 2 * 576, 2560),
        ("muon", 9 * (24 * 64 + 64**2 + 64 * 256 + 3 * 256**2), 2 * 576, 2560),
        (
            "96",
            9 * (24 * 128 + 2 * 128**2 + 128 * 384 + 2 * 384**2 + 384 * 512 + 2 * 512**2),
            3 * 1024,
            5120,
        ),
    ],
)
def test_counts(name, filters, norms, head):
    params, stats = net.init(0, IMAGES, RECIPES[name])
    trained = filters + norms + head + 24  # and the whitening bias
    assert net.counts(params) == {"all": trained + 24 * 12, "trained": trained}
    assert net.counts(params)["all"] == (9_915_704 if name == "96" else 1_971_640)
    assert sum(v.numel() for v in stats.values()) == 2 * norms


def test_totals():
    assert [r.total for r in RECIPES.values()] == [476, 200, 1776]


@each
def test_the_first_parameters(name):
    recipe = NARROW[name]
    params, _ = net.init(0, IMAGES, recipe)
    kernel = params["group2.conv1.kernel"]
    x = torch.randn(2, 26, 5, 5, dtype=torch.float64)
    out = F.conv2d(x, kernel, padding=1)
    close(out[:, :26], x)
    norms = params["whiten.kernel"][:12].flatten(1).norm(dim=1)
    assert (norms.diff() > 0).all() == (name != "muon")  # the smallest is enlarged most
    rest = kernel[26:]
    assert 0.99 / np.sqrt(9 * 26) < rest.abs().max() <= 1 / np.sqrt(9 * 26)
    assert (params["whiten.bias"] != 0).all() == (name == "muon")
    assert params["whiten.bias"].abs().max() <= 12**-0.5
    if name == "muon":
        close(params["head.kernel"].std(), torch.tensor(1.0).double())
    else:
        assert params["head.kernel"].abs().max() <= 32**-0.5


def test_whitening():
    smooth = 1 + F.avg_pool2d(IMAGES, 5, 1, 2)
    patches = np.stack(
        [
            smooth.numpy()[:, c, i : i + 31, j : j + 31].ravel()
            for c in range(3)
            for i in range(2)
            for j in range(2)
        ]
    )
    moment = patches @ patches.T / patches.shape[1]
    values = np.linalg.eigvalsh(moment)[::-1]
    kernel = net.whitening(smooth)
    half = kernel[:12].flatten(1).numpy()
    expected = np.diag(values / (values + 5e-4))  # the identity, but for eps
    np.testing.assert_allclose(half @ moment @ half.T, expected, atol=1e-9)
    np.testing.assert_allclose(kernel[12:], -kernel[:12])
    np.testing.assert_allclose(net.whitening(smooth, descending=False)[11], kernel[0])


def in_layers(params, stats, recipe):
    """The same network of PyTorch's layers; the residual's group is a module."""
    nn = torch.nn

    def conv(name):
        kernel = params[f"{name}.kernel"]
        layer = nn.Conv2d(*kernel.shape[1::-1], kernel.shape[-1], padding=1, bias=False)
        layer.weight.data = kernel
        return layer

    def norm(name):
        layer = nn.BatchNorm2d(
            len(params[f"{name}.bias"]), eps=1e-12, momentum=1 - recipe.keep
        ).double()
        layer.bias.data = params[f"{name}.bias"]
        layer.running_mean = stats[f"{name}.mean"].clone()
        layer.running_var = stats[f"{name}.var"].clone()
        return layer

    class Residual(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return x + self.inner(x)

    whiten = nn.Conv2d(3, 24, 2)
    whiten.weight.data, whiten.bias.data = params["whiten.kernel"], params["whiten.bias"]
    layers = [whiten, nn.GELU()]
    for g in ("group1", "group2", "group3"):
        layers += [conv(f"{g}.conv1"), nn.MaxPool2d(2), norm(f"{g}.norm1"), nn.GELU()]
        tail = [conv(f"{g}.conv2"), norm(f"{g}.norm2")]
        if recipe.convs == 3:
            tail += [nn.GELU(), conv(f"{g}.conv3"), norm(f"{g}.norm3")]
            tail = [Residual(nn.Sequential(*tail))]
        layers += [*tail, nn.GELU()]
    head = nn.Linear(recipe.widths[-1], 10, bias=False)
    head.weight.data = params["head.kernel"]
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), head)


@each
def test_the_network_in_pytorchs_layers(name):
    recipe = NARROW[name]
    params, stats = stirred(recipe)
    scale = 1 / 32 if name == "muon" else 1 / 9
    layers = in_layers(params, stats, recipe)
    layers.eval()
    logits, same = net.forward(params, stats, IMAGES, train=False, recipe=recipe)
    close(logits, layers(IMAGES) * scale)
    close(same, stats)

    layers.train()
    value, grads, new = net.gradients(params, stats, IMAGES, LABELS, recipe=recipe)
    theirs = F.cross_entropy(
        layers(IMAGES) * scale, LABELS, label_smoothing=0.2, reduction="sum"
    )
    theirs.backward()
    close(value, theirs.detach())
    norms = [m for m in layers.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    names = [n.removesuffix(".bias") for n in params if "norm" in n]
    for key, layer in zip(names, norms, strict=True):
        close(new[f"{key}.mean"], layer.running_mean)
        close(new[f"{key}.var"], layer.running_var)
        close(grads[f"{key}.bias"], layer.bias.grad, 1e-8)
    close(grads["whiten.bias"], layers[0].bias.grad, 1e-8)
    close(grads["group1.conv1.kernel"], layers[2].weight.grad, 1e-8)
    close(grads["head.kernel"], layers[-1].weight.grad, 1e-8)
    assert "whiten.kernel" not in grads


def test_the_running_variance_is_unbiased():
    recipe = net.AIRBENCH94
    params, stats = net.init(0, IMAGES, recipe)
    _, new = net.forward(params, stats, IMAGES[:1], train=True, recipe=recipe)
    x = F.gelu(F.conv2d(IMAGES[:1], params["whiten.kernel"]))
    pooled = F.max_pool2d(x, 2).numpy()[0]
    np.testing.assert_allclose(
        new["group1.norm1.var"][:24], 0.6 + 0.4 * pooled.var((1, 2), ddof=1)
    )
    np.testing.assert_allclose(new["group1.norm1.mean"][:24], 0.4 * pooled.mean((1, 2)))


def test_six_views():
    recipe = NARROW["94"]
    params, stats = stirred(recipe)
    padded = np.pad(IMAGES.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    expected = 0
    for row, column, weight in ((1, 1, 0.25), (0, 0, 0.125), (2, 2, 0.125)):
        view = padded[:, :, row : row + 32, column : column + 32]
        for image in (view, view[..., ::-1]):
            image = torch.tensor(image.copy())
            logits, _ = net.forward(params, stats, image, train=False, recipe=recipe)
            expected = expected + weight * logits
    close(net.tta_logits(params, stats, IMAGES, recipe=recipe), expected)


@pytest.mark.parametrize(("name", "epoch"), [("94", 0), ("94", 1), ("96", 3)])
def test_the_images_of_an_epoch(name, epoch):
    recipe = RECIPES[name]
    pad = recipe.translate
    mirrored = torch.tensor(RNG.random(6) < 0.5)
    shifts = torch.tensor(RNG.integers(-pad, pad + 1, (6, 2)))
    corners = torch.tensor(RNG.integers(0, 21, (6, 2)))
    ours = net.epoch_images(
        IMAGES,
        epoch=epoch,
        mirrored=mirrored,
        shifts=shifts,
        recipe=recipe,
        corners=corners,
    )
    for i, image in enumerate(IMAGES.numpy()):
        image = image[..., ::-1] if mirrored[i] else image
        image = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
        row, column = (pad + int(s) for s in shifts[i])
        image = image[:, row : row + 32, column : column + 32]
        image = (image[..., ::-1] if epoch % 2 else image).copy()
        if name == "96":
            row, column = corners[i]
            image[:, row : row + 12, column : column + 12] = 0
        np.testing.assert_array_equal(ours[i].numpy(), image)


def test_each_image_is_mirrored_every_other_epoch():
    mirrored = torch.tensor(RNG.random(6) < 0.5)
    first, second, third = (
        net.alternating_flip(IMAGES, mirrored, epoch=epoch) for epoch in range(3)
    )
    close(second, first.flip(-1))
    close(third, first)
    assert 0 < mirrored.sum() < 6


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("94", 0, 0.2),
        ("94", 108, 0.2 + 0.8 * 108 / 109),
        ("94", 109, 1.0),
        ("94", 475, 0.07 + 0.93 / 367),
        ("96", 177, 1.0),
        ("96", 1775, 1 / 1599),
        ("muon", 0, 1.0),
        ("muon", 199, 1 / 200),
    ],
)
def test_schedules(name, step, factor):
    recipe = RECIPES[name]
    np.testing.assert_allclose(optim.schedule(step, recipe, recipe.total), factor)


def test_rates():
    params, _ = net.init(0, IMAGES, NARROW["94"])
    now = optim.rates(params, 109, net.AIRBENCH94, total=476, whiten_steps=144)
    lr, decay = now["group1.conv1.kernel"]
    np.testing.assert_allclose(lr, 11.5 / 1024 / (23 / 3), rtol=1e-12)
    np.testing.assert_allclose(lr * decay, 0.0153 / (23 / 3), rtol=1e-12)
    assert now["whiten.bias"] == now["head.kernel"] == (lr, decay)
    bias = now["group3.norm2.bias"]
    np.testing.assert_allclose(bias, (64 * lr, decay / 64), rtol=1e-12)

    now = optim.rates(params, 50, net.AIRBENCH94_MUON, total=200, whiten_steps=75)
    assert now["group1.conv1.kernel"] == (0.24 * 0.75, 0)
    np.testing.assert_allclose(now["whiten.bias"], (0.053 / 3, 0.004 / 0.053))
    np.testing.assert_allclose(now["group1.norm1.bias"], (0.053 * 0.75, 0.004 / 0.053))
    np.testing.assert_allclose(now["head.kernel"], (0.67 * 0.75, 0.004 / 0.67))


def test_sgd_is_pytorchs():
    ours = {"a": torch.randn(3).double(), "b": torch.randn(4, 2).double()}
    groups = {"a": (0.3, 0.02), "b": (0.01, 0.5)}
    leaves = {name: value.clone() for name, value in ours.items()}
    theirs = torch.optim.SGD(
        [
            {"params": [leaves[n]], "lr": lr, "weight_decay": decay}
            for n, (lr, decay) in groups.items()
        ],
        momentum=0.85,
        nesterov=True,
    )
    velocity = {name: torch.zeros_like(value) for name, value in ours.items()}
    for factor in (0.2, 1.0, 0.5):
        grads = {name: torch.randn_like(value) for name, value in ours.items()}
        now = {n: (lr * factor, decay) for n, (lr, decay) in groups.items()}
        ours, velocity = optim.sgd_step(ours, velocity, grads, now)
        for group, (name, leaf) in zip(theirs.param_groups, leaves.items(), strict=True):
            group["lr"] = now[name][0]
            leaf.grad = grads[name]
        theirs.step()
    close(ours, leaves, 1e-12)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_newton_schulz(shape):
    matrix = RNG.normal(size=shape)
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(matrix)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    ours = optim.newton_schulz(torch.tensor(matrix)).numpy()
    np.testing.assert_allclose(ours, u * values @ v, atol=1e-5)  # 1e-7 beside the norm
    assert 0.6 < values.min() < values.max() < 1.3


def test_muon():
    kernel, first, second = RNG.normal(size=(3, 4, 3, 2, 2))
    params, velocity = (
        {"k": torch.tensor(kernel)},
        {"k": torch.zeros(4, 3, 2, 2).double()},
    )
    v = np.zeros_like(kernel)
    for gradient, lr in ((first, 0.24), (second, 0.1)):
        params, velocity = optim.muon_step(
            params, velocity, {"k": torch.tensor(gradient)}, {"k": (lr, 0.0)}
        )
        v = 0.6 * v + gradient
        update = optim.newton_schulz(torch.tensor((gradient + 0.6 * v).reshape(4, 12)))
        kernel = kernel * 2 / np.linalg.norm(kernel)
        kernel = kernel - lr * update.numpy().reshape(kernel.shape)
    np.testing.assert_allclose(params["k"], kernel, rtol=1e-12)


def test_lookahead_and_the_frozen_bias():
    recipe = NARROW["94"]
    states = [optim.start(*stirred(recipe))]
    for step in range(6):
        _, state = optim.train_step(
            states[-1], IMAGES, LABELS, step, recipe, total=6, whiten_steps=2
        )
        states.append(state)

    bias = [state.params["whiten.bias"] for state in states]
    assert not torch.equal(bias[1], bias[2])
    close(bias[2:5], [bias[2]] * 3, 0)

    first, before, after, end = (states[i] for i in (0, 4, 5, 6))
    _, grads, stats = net.gradients(
        before.params, before.stats, IMAGES, LABELS, recipe=recipe, whiten_bias=False
    )
    now = optim.rates(grads, 4, recipe, total=6, whiten_steps=2)
    params, _ = optim.sgd_step(before.params, before.velocity, grads, now)
    d = 0.7737809375 * 125 / 216
    for name, fast in (params | stats).items():
        expected = d * (first.params | first.stats)[name] + (1 - d) * fast
        close((after.params | after.stats)[name], expected)
    assert (after.params | after.stats).keys() == after.slow.keys()
    close([end.params, end.stats], [after.params, after.stats], 0)


@each
def test_one_step_in_float32(name):
    recipe = NARROW[name]
    params, stats = stirred(recipe)
    single = [{k: v.float() for k, v in tree.items()} for tree in (params, stats)]
    double = [{k: v.double() for k, v in tree.items()} for tree in single]
    step = 4  # with lookahead after it
    loss32, ours = optim.train_step(
        optim.start(*single), IMAGES.float(), LABELS, step, recipe
    )
    loss64, theirs = optim.train_step(
        optim.start(*double), IMAGES.float().double(), LABELS, step, recipe
    )
    close(loss32.double(), loss64, 1e-5)
    for tree32, tree64 in zip(ours, theirs, strict=True):
        for key, value in tree32.items():
            assert value.dtype == torch.float32
            error = (value - tree64[key]).norm() / (tree64[key].norm() + 1e-30)
            assert error < 1e-4, key

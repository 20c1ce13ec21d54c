"""A whole run of airbench94 in PyTorch, the peer of `benchmarks.airbench`.

After Keller Jordan's airbench94 (cifar10-airbench, 2024): on an accelerator compiled and
in half precision but for the norms, on a CPU in float32; an epoch's images at once.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_airbench import network
from optix_tricks.training import Dataset
from optix_tricks.tricks import Setup

SYNC_PERIOD = 5
TEST_BATCH = 2000


class Numbers(NamedTuple):
    """Of airbench94 and its kin."""

    width: int
    epochs: float
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    bias_scale: float
    label_smoothing: float
    warmup_fraction: float
    last_fraction: float
    whitening_bias_epochs: int
    padding: int


def numbers_of(setup: Setup) -> Numbers:
    """Return those of the recipe's setup."""
    own = {(trick.name, n): x for trick in setup.tricks for n, x in trick.numbers}
    names = ("learning_rate", "momentum", "weight_decay", "bias_scale")
    return Numbers(
        width=own["airbench", "width"],
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        label_smoothing=own["label_smoothing", "label_smoothing"],
        warmup_fraction=own["warm_up", "fraction"],
        last_fraction=own["linear", "end_value"],
        whitening_bias_epochs=own["settle", "epochs"],
        padding=own["crop", "padding"],
        **{name: own["airbench_sgd", name] for name in names},
    )


def make_run(
    config: Numbers, dataset: Dataset
) -> Callable[[int, Any], tuple[float, int]]:
    """Return `run(seed, labels) -> (seconds, correct)`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    mean, std = (torch.from_numpy(x).to(device) for x in dataset.channel_statistics())

    def normalised(images: Any) -> Any:
        pixels = (torch.from_numpy(images).to(device) / 255 - mean) / std
        return pixels.permute(0, 3, 1, 2).to(dtype)  # channels last in memory

    train_images, test_images = map(
        normalised, (dataset.train.inputs, dataset.test.inputs)
    )
    test_labels = torch.from_numpy(dataset.test.targets).to(device)
    net = network(config.width, device)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
    if device == "cuda":
        net.compile(mode="max-autotune")
    per_epoch = len(train_images) // config.batch_size
    total = int(np.ceil(per_epoch * config.epochs))

    def run(seed: int, labels: Any) -> tuple[float, int]:
        torch.manual_seed(seed)
        labels = torch.from_numpy(labels).long().to(device)
        initialise(net)
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        net[0].weight.data[:] = whitening(train_images[:5000].float())
        train(net, train_images, labels, config, total, per_epoch)
        logits = [six_views(net, images) for images in test_images.split(TEST_BATCH)]
        correct = int((torch.cat(logits).argmax(1) == test_labels).sum())
        return time.perf_counter() - start, correct

    return run


def initialise(net: nn.Module) -> None:
    """PyTorch's own draws; convolutions hand their inputs on; fresh statistics."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.dirac_(module.weight.data[: module.in_channels])
    net[0].bias.data.zero_()


def whitening(images: Any, eps: float = 5e-4) -> Any:
    """Eigenvectors of 2x2 patches over the root of their eigenvalues, and negatives."""
    patches = F.unfold(images, 2).transpose(0, 1).flatten(1)
    values, vectors = torch.linalg.eigh(patches @ patches.T / patches.shape[1])
    half = (vectors / (values + eps).sqrt()).T.reshape(-1, 3, 2, 2).flip(0)
    return torch.cat([half, -half])


def cropped(images: Any, pad: int) -> Any:
    """Each image moved by up to `pad` pixels, reflected at its border."""
    size, batch = images.shape[-1], len(images)
    shifts = torch.randint(0, 2 * pad + 1, (2, batch), device=images.device)
    padded = F.pad(images, (pad,) * 4, "reflect")
    out = torch.empty_like(images)
    for row in range(2 * pad + 1):
        for column in range(2 * pad + 1):
            chosen = ((shifts[0] == row) & (shifts[1] == column)).nonzero()[:, 0]
            window = padded[..., row : row + size, column : column + size]
            out[chosen] = window[chosen]
    return out


def train(
    net: nn.Module, images: Any, labels: Any, config: Numbers, total: int, per_epoch: int
) -> None:
    """Nesterov SGD on summed losses, and a lookahead over weights and statistics."""
    scale = 1024 * (1 + 1 / (1 - config.momentum))
    rate = config.learning_rate / scale
    decay = config.weight_decay * config.batch_size / scale
    norms = [m.bias for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    known = {id(p) for p in norms}
    others = [
        p for p in net.parameters() if id(p) not in known and p is not net[0].weight
    ]
    groups = [
        {
            "params": ps,
            "lr": rate * k,
            "initial": rate * k,
            "weight_decay": decay / rate / k,
        }
        for ps, k in ((norms, config.bias_scale), (others, 1.0))
    ]
    optimizer = torch.optim.SGD(
        groups, momentum=config.momentum, nesterov=True, fused=True
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing, reduction="sum")
    knots = [0, int(config.warmup_fraction * total), total]
    triangle = np.interp(range(total), knots, [0.2, 1.0, config.last_fraction])
    fast = [x for x in net.state_dict().values() if x.is_floating_point()]
    slow = [x.clone() for x in fast]
    mirrored = (torch.rand(len(images), device=images.device) < 0.5)[:, None, None, None]
    first = torch.where(mirrored, images.flip(-1), images)
    net.train()
    done = 0
    for epoch in range(int(np.ceil(config.epochs))):
        net[0].bias.requires_grad_(epoch < config.whitening_bias_epochs)
        seen = cropped(first, config.padding)
        seen = seen if epoch % 2 == 0 else seen.flip(-1)
        order = torch.randperm(len(images), device=images.device)
        for index in order[: per_epoch * config.batch_size].split(config.batch_size):
            if done == total:
                break
            for group in optimizer.param_groups:
                group["lr"] = group["initial"] * triangle[done]
            loss_of(net(seen[index]) / 9, labels[index]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
            if done % SYNC_PERIOD == 0:
                keep = 0.95**SYNC_PERIOD * (done / total) ** 3
                torch._foreach_lerp_(slow, fast, 1 - keep)
                torch._foreach_copy_(fast, slow)
    torch._foreach_copy_(fast, slow)


@torch.no_grad()
def six_views(net: nn.Module, images: Any) -> Any:
    """Half the image, a quarter each of two diagonal moves, and all mirrored."""
    net.eval()
    side = images.shape[-1]
    padded = F.pad(images, (1,) * 4, "reflect")
    views = (
        (0.5, images),
        (0.25, padded[..., :side, :side]),
        (0.25, padded[..., 2:, 2:]),
    )
    return sum(
        weight / 2 * (net(view) + net(view.flip(-1))).float() for weight, view in views
    )

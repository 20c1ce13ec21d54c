"""airbench's networks and images in PyTorch, as pure functions.

After the equations of Keller Jordan's cifar10-airbench at f1c599c: legacy/airbench94.py,
airbench94_muon.py and legacy/airbench96.py. Arithmetic is in the dtype of the images,
where the originals use float16. Nothing is random but `init`: flips, shifts and corners
are arguments. The steps are in airbench_reference_step.py.

Images are normalised, [batch, 3, 32, 32]; kernels [out, in, row, column]; the head
[classes, features]. A dict has a tensor by name: parameters `whiten.kernel` (frozen),
`whiten.bias`, `group1.conv1.kernel`, `group1.norm1.bias`, ..., `head.kernel`, running
statistics `group1.norm1.mean`, `group1.norm1.var`, ...
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

Tensors = dict[str, Any]

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SMOOTHING = 0.2
NORM_EPS = 1e-12


@dataclass(frozen=True)
class Recipe:
    """The numbers in which the recipes differ; those of airbench94 are the defaults."""

    widths: tuple[int, ...] = (64, 256, 256)
    convs: int = 2  # in a group; of three the last two have a residual around them
    keep: float = 0.6  # of a running statistic in one step
    muon: bool = False  # for the convolutions; SGD otherwise
    batch: int = 1024
    epochs: float = 9.9
    lr: float = 11.5  # with SGD per 1024 examples, whatever the momentum
    decay: float = 0.0153  # with SGD likewise, whatever the rate
    first: float = 0.2  # the schedule starts here, has 1 after `warm` of the steps
    warm: float = 0.23
    last: float = 0.07
    translate: int = 2
    cutout: int = 0

    @property
    def logit_scale(self) -> float:
        return 1 / self.widths[-1] if self.muon else 1 / 9

    @property
    def steps_per_epoch(self) -> int:
        return 50_000 // self.batch

    @property
    def total(self) -> int:
        return ceil(self.steps_per_epoch * self.epochs)


AIRBENCH94 = Recipe()
AIRBENCH94_MUON = Recipe(
    muon=True, batch=2000, epochs=8.0, lr=0.24, decay=2e-6 * 2000, warm=0.0, last=0.0
)
AIRBENCH96 = Recipe(
    widths=(128, 384, 512),
    convs=3,
    keep=0.9,
    epochs=37.0,
    lr=9.0,
    decay=0.012,
    warm=0.1,
    last=0.0,
    translate=4,
    cutout=12,
)


# Images


def normalise(pixels):
    """From uint8 [batch, 32, 32, 3]; float64."""
    mean, std = torch.tensor([MEAN, STD], dtype=torch.float64)
    return ((pixels.double() / 255 - mean) / std).permute(0, 3, 1, 2)


def crop(images, shifts, *, pad):
    """Windows of reflect-padded images, `shifts` [batch, 2] rows and columns off the
    centre."""
    size = torch.arange(images.shape[-1])
    padded = F.pad(images, (pad,) * 4, mode="reflect").permute(0, 2, 3, 1)
    rows, columns = (pad + shifts[:, axis, None] + size for axis in (0, 1))
    batch = torch.arange(len(images))[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def alternating_flip(images, mirrored, *, epoch):
    """`mirrored` [batch] are mirrored in even epochs, in odd ones the others."""
    chosen = mirrored if epoch % 2 == 0 else ~mirrored
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def cutout(images, corners, *, size):
    """Zeroes a square, its first row and column in `corners` [batch, 2]."""
    index = torch.arange(images.shape[-1])
    away = index - corners[:, :, None]
    inside = (away >= 0) & (away < size)
    return images * ~(inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def epoch_images(images, *, epoch, mirrored, shifts, recipe, corners=None):
    """A run draws `mirrored` once, an epoch `shifts` (-pad to pad) and `corners` (0 to
    32 - size).

    The window is cut from the image as epoch 0 has it, and mirrored with it after.
    """
    images = alternating_flip(images, mirrored, epoch=0)
    images = crop(images, shifts, pad=recipe.translate)
    images = images if epoch % 2 == 0 else images.flip(-1)
    return cutout(images, corners, size=recipe.cutout) if recipe.cutout else images


# Network


def whitening(images, *, eps=5e-4, descending=True):
    """The kernel [24, 3, 2, 2]: scaled eigenvectors of the patches' second moment (their
    mean stays in), largest eigenvalue first unless told otherwise, then the negatives."""
    patches = F.unfold(images, 2).transpose(0, 1).flatten(1)
    values, vectors = torch.linalg.eigh(patches @ patches.T / patches.shape[1])
    half = (vectors / (values + eps).sqrt()).T.reshape(-1, 3, 2, 2)
    half = half.flip(0) if descending else half
    return torch.cat([half, -half])


def init(seed, images, recipe=AIRBENCH94):
    """Parameters and running statistics, whitening by `images` (the first 5000)."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape, fan_in):
        draw = torch.rand(shape, generator=random, dtype=torch.float64)
        return ((2 * draw - 1) * fan_in**-0.5).to(images.dtype)

    params = {"whiten.kernel": whitening(images, descending=not recipe.muon)}
    params["whiten.bias"] = uniform(24, fan_in=12) * recipe.muon
    stats = {}
    inputs = 24
    for g, width in enumerate(recipe.widths, 1):
        for c in range(1, recipe.convs + 1):
            kernel = uniform(width, inputs, 3, 3, fan_in=9 * inputs)
            passed = range(min(inputs, width))
            kernel[passed] = 0
            kernel[passed, passed, 1, 1] = 1
            params[f"group{g}.conv{c}.kernel"] = kernel
            params[f"group{g}.norm{c}.bias"] = torch.zeros_like(kernel[:, 0, 0, 0])
            stats[f"group{g}.norm{c}.mean"] = torch.zeros_like(kernel[:, 0, 0, 0])
            stats[f"group{g}.norm{c}.var"] = torch.ones_like(kernel[:, 0, 0, 0])
            inputs = width
    head = uniform(10, inputs, fan_in=inputs)
    params["head.kernel"] = head / head.std() if recipe.muon else head
    return params, stats


def trained(params, *, whiten_bias=True):
    frozen = {"whiten.kernel"} | (set() if whiten_bias else {"whiten.bias"})
    return [name for name in params if name not in frozen]


def counts(params):
    size = {name: prod(value.shape) for name, value in params.items()}
    return {
        "all": sum(size.values()),
        "trained": sum(size[name] for name in trained(params)),
    }


def forward(params, stats, images, *, train, recipe=AIRBENCH94):
    """Logits [batch, 10] and the statistics after this batch, or as they were."""
    stats = dict(stats)

    def norm(x, name):
        mean, var = stats[f"{name}.mean"], stats[f"{name}.var"]
        if train:
            old, n, keep = (mean, var), x.numel() / x.shape[1], recipe.keep
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            unbiased = var.detach() * n / (n - 1)
            stats[f"{name}.mean"] = keep * old[0] + (1 - keep) * mean.detach()
            stats[f"{name}.var"] = keep * old[1] + (1 - keep) * unbiased
        scaled = (x - mean[:, None, None]) / (var[:, None, None] + NORM_EPS).sqrt()
        return scaled + params[f"{name}.bias"][:, None, None]

    def conv(x, name):
        return F.conv2d(x, params[f"{name}.kernel"], padding=1)

    x = F.gelu(F.conv2d(images, params["whiten.kernel"], params["whiten.bias"]))
    for group in (f"group{g}" for g in range(1, len(recipe.widths) + 1)):
        x = F.max_pool2d(conv(x, f"{group}.conv1"), 2)
        x = entry = F.gelu(norm(x, f"{group}.norm1"))
        x = norm(conv(x, f"{group}.conv2"), f"{group}.norm2")
        if recipe.convs == 3:
            x = conv(F.gelu(x), f"{group}.conv3")
            x = norm(x, f"{group}.norm3") + entry
        x = F.gelu(x)
    features = F.max_pool2d(x, 3).flatten(1)
    return features @ params["head.kernel"].T * recipe.logit_scale, stats


def loss(logits, labels):
    """Cross-entropy with smoothed labels, summed over the batch."""
    classes = logits.shape[1]
    true = F.one_hot(labels, classes).to(logits.dtype)
    target = (1 - SMOOTHING) * true + SMOOTHING / classes
    return -(target * logits.log_softmax(1)).sum()


def gradients(params, stats, images, labels, *, recipe=AIRBENCH94, whiten_bias=True):
    """Loss, gradients by name of what is trained, new statistics."""
    names = trained(params, whiten_bias=whiten_bias)
    leaves = {name: params[name].detach().clone().requires_grad_() for name in names}
    logits, stats = forward(params | leaves, stats, images, train=True, recipe=recipe)
    value = loss(logits, labels)
    grads = torch.autograd.grad(value, list(leaves.values()))
    return value.detach(), dict(zip(names, grads, strict=True)), stats


def tta_logits(params, stats, images, *, recipe=AIRBENCH94):
    """Half the image, a quarter each of its two diagonal moves by one pixel, and of each
    the mean with its mirror image."""
    height, width = images.shape[2:]
    padded = F.pad(images, (1,) * 4, mode="reflect")
    views = (
        (0.5, images),
        (0.25, padded[:, :, :height, :width]),
        (0.25, padded[:, :, 2:, 2:]),
    )
    return sum(
        weight / 2 * forward(params, stats, view, train=False, recipe=recipe)[0]
        for weight, image in views
        for view in (image, image.flip(-1))
    )

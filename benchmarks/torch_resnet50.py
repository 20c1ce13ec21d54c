"""The peer of `resnet50`: its network and its training step in PyTorch.

As PyTorch is fastest: channels last, autocast, `torch.compile`, and the optimiser as one
fused kernel. Parameters have the names of `optix_tricks.training._resnet`'s.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class ConvNorm(nn.Module):
    """A convolution without bias, then a normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        options: dict[str, Any] = {"padding": kernel // 2, "bias": False}
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, **options)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut; the stride is in the 3x3 ("v1.5")."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, width, 1)
        self.conv2 = ConvNorm(width, width, 3, stride)
        self.conv3 = ConvNorm(width, 4 * width, 1)
        nn.init.zeros_(self.conv3.norm.weight)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == 4 * width
            else ConvNorm(inputs, 4 * width, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.shortcut(x) + self.conv3(y))


class ResNet50(nn.Module):
    """Of uint8 images [batch, channel, height, width], normalised inside."""

    def __init__(
        self,
        width: int,
        stages: Sequence[int],
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))
        self.stem = ConvNorm(3, width, 7, 2)
        self.names = []
        features = width
        for stage, blocks in enumerate(stages):
            for i in range(blocks):
                name = f"stage{stage + 1}_block{i + 1}"
                stride = 2 if stage > 0 and i == 0 else 1
                setattr(self, name, Bottleneck(features, width * 2**stage, stride))
                self.names.append(name)
                features = 4 * width * 2**stage
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() / 255 - self.mean) / self.std
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        for name in self.names:
            x = getattr(self, name)(x)
        return self.head(x.mean((2, 3)))


def make_optimizer(model: nn.Module, rate: float, decay: float) -> torch.optim.SGD:
    """Nesterov momentum, with decay on kernels alone."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=True)


def block_of_steps(
    model: ResNet50,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    rate: float,
    decay: float,
    dtype: str,
    mode: str,
    steps: int,
    device: str,
) -> tuple[Callable[[], float], dict[str, Any]]:
    """A call of so many steps, which waits for the last one; compiled and run in.

    Args:
      model: moved to the device.
      images: uint8 [batch, height, width, channel].
      labels: of the images.
      rate: of the optimiser.
      decay: of kernels.
      dtype: of activations.
      mode: of `torch.compile`, or "eager". Where Inductor cannot be used the step runs
        eagerly, and what is returned says so.
      steps: of one call.
      device: "cuda" or "cpu".

    Returns:
      The call, which returns the last loss, and how it was compiled, with the seconds
      until the end of the first steps and, on a GPU, the most bytes that were held.
    """
    model.to(device, memory_format=torch.channels_last).train()
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)  # channels last
    y = torch.from_numpy(labels).to(device, torch.long)
    optimizer = make_optimizer(model, rate, decay)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(device, DTYPES[dtype], enabled=dtype != "float32"):
            return F.cross_entropy(model(x), y)

    def step() -> Tensor:
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def block() -> float:
        for _ in range(steps):
            loss = step()
        return loss.item()  # waits for the device

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    forward, compiled = loss_of, mode
    start = time.perf_counter()
    if mode != "eager":
        torch._dynamo.reset()  # else another batch size makes the shapes dynamic
        forward = torch.compile(loss_of, mode=mode, dynamic=False)
        try:
            step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # no C++ compiler, no Triton, ...
            compiled = f"eager, as {mode} raised {type(error).__name__}"
            forward = loss_of
            optimizer.zero_grad(set_to_none=True)
    step().item()
    facts: dict[str, Any] = {
        "compiled": compiled,
        "compile_s": time.perf_counter() - start,
    }
    if device == "cuda":
        facts["memory_bytes"] = torch.cuda.max_memory_allocated()
    return block, facts

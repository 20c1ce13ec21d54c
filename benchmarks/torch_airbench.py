"""The network of airbench94 in PyTorch, the peer in benchmarks, in its fastest form."""

from typing import Any

import torch
from torch import nn


class Group(nn.Module):
    """Convolution, pool, norm, GELU; convolution, norm, GELU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding="same", bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, eps=1e-12, momentum=0.4)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding="same", bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, eps=1e-12, momentum=0.4)
        self.pool, self.gelu = nn.MaxPool2d(2), nn.GELU()
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x: Any) -> Any:
        x = self.gelu(self.norm1(self.pool(self.conv1(x))))
        return self.gelu(self.norm2(self.conv2(x)))


def network(width: int = 64, device: str = "cpu") -> nn.Module:
    """Kernels in channels_last, the whitening kernel frozen."""
    net = nn.Sequential(
        nn.Conv2d(3, 24, 2),
        nn.GELU(),
        Group(24, width),
        Group(width, 4 * width),
        Group(4 * width, 4 * width),
        nn.MaxPool2d(3),
        nn.Flatten(),
        nn.Linear(4 * width, 10, bias=False),
    )
    net[0].weight.requires_grad = False
    return net.to(device).to(memory_format=torch.channels_last)


def stepper(net: nn.Module, images: Any, labels: Any, *, dtype: Any = None) -> Any:
    """A call that makes one step on normalised images [batch, 3, 32, 32]."""
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        trained, lr=1e-5, momentum=0.85, nesterov=True, weight_decay=1e-3, fused=True
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.2, reduction="sum")
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> Any:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            loss = loss_of(net(images) / 9, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step

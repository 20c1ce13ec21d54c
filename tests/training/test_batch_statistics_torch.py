"""Refreshed statistics against `torch.optim.swa_utils.update_bn`."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks.training import functional, refresh_batch_statistics

torch = pytest.importorskip("torch")


class TwoConvolutions(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(3, 4, (3, 3), padding=1, rngs=rngs)
        self.norm1 = nnx.BatchNorm(4, rngs=rngs)
        self.conv2 = nnx.Conv(4, 5, (3, 3), padding=1, rngs=rngs)
        self.norm2 = nnx.BatchNorm(5, rngs=rngs)

    def __call__(self, x, *, train):
        x = nnx.relu(self.norm1(self.conv1(x), use_running_average=not train))
        return self.norm2(self.conv2(x), use_running_average=not train)


def in_torch(params):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 5, 3, padding=1),
        torch.nn.BatchNorm2d(5),
    )
    for layer, name in ((net[0], "conv1"), (net[3], "conv2")):
        kernel = np.asarray(params[name]["kernel"]).transpose(3, 2, 0, 1)
        layer.weight.data = torch.tensor(kernel)
        layer.bias.data = torch.tensor(np.asarray(params[name]["bias"]))
    return net


def test_batches_of_one_size_give_those_of_update_bn():
    rng = np.random.default_rng(0)
    batches = [rng.normal(i, 2, size=(4, 6, 6, 3)).astype(np.float32) for i in range(3)]
    apply, params, stats = functional(TwoConvolutions())
    ours = refresh_batch_statistics(apply, params, stats, map(jnp.asarray, batches))
    net = in_torch(params)
    loader = [torch.tensor(x.transpose(0, 3, 1, 2)) for x in batches]
    torch.optim.swa_utils.update_bn(loader, net)
    values = 4 * 6 * 6
    for norm, name in ((net[1], "norm1"), (net[4], "norm2")):
        biased = norm.running_var.numpy() * (values - 1) / values
        np.testing.assert_allclose(
            ours[name]["mean"], norm.running_mean.numpy(), rtol=2e-5, atol=2e-6
        )
        np.testing.assert_allclose(ours[name]["var"], biased, rtol=2e-5)

"""Steps of PyTorch's parametrisations, and of weight standardisation by its autograd."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from optix_tricks.layers import SpectralNorm, WeightNorm, WSConv

torch = pytest.importorskip("torch")

LEARNING_RATE, MOMENTUM, STEPS = 0.02, 0.9, 3


def batches(channels):
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        x = rng.normal(size=(4, 6, 6, channels)).astype(np.float32)
        yield x, rng.normal(size=(4, 6, 6, 3)).astype(np.float32)


def to_torch(kernel):
    """[height, width, in, out] to [out, in, height, width]."""
    return torch.tensor(np.transpose(np.asarray(kernel), (3, 2, 0, 1)))


def from_torch(weight):
    return np.transpose(weight.detach().numpy(), (2, 3, 1, 0))


def conv_pair():
    conv = nnx.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0))
    other = torch.nn.Conv2d(2, 3, 3, padding="same")
    with torch.no_grad():
        other.weight.copy_(to_torch(conv.kernel))
        other.bias.zero_()
    return conv, other


def train(ours, theirs, compare):
    tx = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    optimizer = nnx.Optimizer(ours, tx, wrt=nnx.Param)
    other = torch.optim.SGD(theirs.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    @nnx.jit
    def step(ours, optimizer, x, target):
        def loss(model):
            y = model(x)
            return jnp.mean((y - target) ** 2), y

        grads, y = nnx.grad(loss, has_aux=True)(ours)
        optimizer.update(ours, grads)
        return y

    for x, target in batches(2):
        y = step(ours, optimizer, x, target)
        other.zero_grad()
        found = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        torch.mean((found - torch.tensor(target)) ** 2).backward()
        other.step()
        np.testing.assert_allclose(y, found.detach().numpy(), rtol=1e-4, atol=1e-5)
        compare()


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_weight_norm():
    conv, other = conv_pair()
    theirs = torch.nn.utils.parametrizations.weight_norm(other)
    g, v = theirs.parametrizations.weight.parameters()
    ours = WeightNorm(conv)
    start = from_torch(v).copy()

    def compare():
        close(ours.layer.kernel[...], from_torch(v))
        close(ours.scale[...], g.detach().numpy().ravel())
        close(ours.layer.bias[...], theirs.bias.detach().numpy())

    compare()
    train(ours, theirs, compare)
    assert np.abs(from_torch(v) - start).max() > 1e-3


@pytest.mark.parametrize("n_steps", [1, 2])
def test_spectral_norm(n_steps):
    conv, other = conv_pair()
    theirs = torch.nn.utils.parametrizations.spectral_norm(
        other, n_power_iterations=n_steps
    )
    weight = theirs.parametrizations.weight
    ours = SpectralNorm(conv, n_steps=n_steps, rngs=nnx.Rngs(1))
    ours.u[...] = jnp.asarray(weight[0]._u.numpy())

    def in_our_order(v):
        return v.numpy().reshape(2, 3, 3).transpose(1, 2, 0).ravel()

    ours.v[...] = jnp.asarray(in_our_order(weight[0]._v))

    def compare():
        close(ours.layer.kernel[...], from_torch(weight.original))
        close(ours.u[...], weight[0]._u.numpy())
        close(ours.v[...], in_our_order(weight[0]._v))

    start = from_torch(weight.original).copy()
    train(ours, theirs, compare)
    assert np.abs(from_torch(weight.original) - start).max() > 1e-3
    theirs.eval()
    ours.eval()
    x = next(batches(2))[0]
    found = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    close(ours(jnp.asarray(x)), found.detach().numpy())


class Standardised(torch.nn.Conv2d):
    """Statistics of each channel by batch normalisation with the channels as batch."""

    def __init__(self, plain, gain):
        super().__init__(2, 3, 3, padding="same")
        self.weight, self.bias, self.gain = plain.weight, plain.bias, gain

    def forward(self, x):
        rows = self.weight.reshape(1, 3, 18)
        w = torch.nn.functional.batch_norm(rows, None, None, training=True, eps=1e-6)
        w = w.reshape(self.weight.shape)
        if self.gain is not None:
            w = w * self.gain[:, None, None, None] / 18**0.5
        return torch.nn.functional.conv2d(x, w, self.bias, padding="same")


@pytest.mark.parametrize("scaled", [False, True])
def test_weight_standardization(scaled):
    plain, other = conv_pair()
    ours = WSConv(2, 3, (3, 3), scaled=scaled, rngs=nnx.Rngs(0))
    close(ours.kernel[...], plain.kernel[...])
    gain = torch.nn.Parameter(torch.ones(3)) if scaled else None
    theirs = Standardised(other, gain)

    def compare():
        close(ours.kernel[...], from_torch(theirs.weight))
        close(ours.bias[...], theirs.bias.detach().numpy())
        if scaled:
            close(ours.gain[...], gain.detach().numpy())

    start = from_torch(theirs.weight).copy()
    train(ours, theirs, compare)
    assert np.abs(from_torch(theirs.weight) - start).max() > 1e-3

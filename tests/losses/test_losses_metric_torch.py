"""Losses of embeddings, with gradients, by compositions of PyTorch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 8, 4))
WEIGHTS = RNG.normal(size=(4, 3))
LABELS = np.array([0, 1, 1, 0, 2, 2, 0, 1])
SAME = np.arange(8) % 3 == 0
TO_OWN = LABELS[:, None] == np.arange(3)[None]


def hinge(a, b):
    distance = torch.linalg.vector_norm(a - b, dim=1)
    signs = torch.tensor(np.where(SAME, 1, -1))
    hinged = F.hinge_embedding_loss(distance, signs, margin=3.0, reduction="none")
    return hinged**2 / 2


def hardest(x, _):
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").detach()
    same = torch.tensor(LABELS[:, None] == LABELS[None])
    p = torch.where(same, d, -1.0).argmax(1)
    n = torch.where(same, torch.inf, d).argmin(1)
    of_triplets = torch.nn.TripletMarginLoss(margin=1.0, eps=0.0, reduction="none")
    return of_triplets(x, x[p], x[n])


def n_pair(a, b):
    loss = F.cross_entropy(a @ b.T, torch.arange(8), reduction="none")
    return loss + 0.1 / 4 * (a.square().sum(1) + b.square().sum(1))


def supervised_contrastive(x, _):
    z = F.normalize(x)
    logits = (z @ z.T / 0.1).masked_fill(torch.eye(8, dtype=torch.bool), -1e300)
    others = torch.tensor((LABELS[:, None] == LABELS[None]) & ~np.eye(8, dtype=bool))
    return F.cross_entropy(logits, others / others.sum(1, keepdim=True), reduction="none")


def arcface(x, weights):
    theta = torch.acos(F.normalize(x) @ F.normalize(weights, dim=0))
    margin = torch.tensor(0.5 * TO_OWN)
    assert (theta + margin).max() < np.pi
    logits = 64 * torch.cos(theta + margin)
    return F.cross_entropy(logits, torch.tensor(LABELS), reduction="none")


def cosface(x, weights):
    cosines = F.normalize(x) @ F.normalize(weights, dim=0)
    logits = 64 * (cosines - torch.tensor(0.35 * TO_OWN))
    return F.cross_entropy(logits, torch.tensor(LABELS), reduction="none")


def softmax_of(logits_of):
    return lambda x, w, y: losses.cross_entropy(logits_of(x, w, y), y)


CASES = {
    "contrastive": (
        hinge,
        lambda a, b, y: losses.contrastive_loss(a, b, jnp.asarray(SAME), margin=3.0),
        B,
    ),
    "batch_hard": (hardest, lambda x, _, y: losses.triplet_loss(x, y, margin=1.0), B),
    "n_pair": (n_pair, lambda a, b, y: losses.n_pair_loss(a, b, l2_weight=0.1), B),
    "supervised_contrastive": (
        supervised_contrastive,
        lambda x, _, y: losses.supervised_contrastive_loss(x, y),
        B,
    ),
    "arcface": (arcface, softmax_of(losses.arcface_logits), WEIGHTS),
    "cosface": (cosface, softmax_of(losses.cosface_logits), WEIGHTS),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients(name):
    theirs, ours, second = CASES[name]
    inputs = [torch.tensor(z, requires_grad=True) for z in (A, second)]
    want = theirs(*inputs)
    weights = np.cos(np.arange(8))
    (want * torch.tensor(weights)).sum().backward()
    with jax.enable_x64(True):

        def total(a, b):
            loss = ours(a, b, jnp.asarray(LABELS))
            return jnp.vdot(jnp.asarray(weights), loss), loss

        both = jax.jit(jax.grad(total, (0, 1), has_aux=True))
        gradients, loss = both(jnp.asarray(A), jnp.asarray(second))
        assert loss.dtype == jnp.float64
        np.testing.assert_allclose(loss, want.detach().numpy(), rtol=1e-10, atol=1e-13)
        for got, given in zip(gradients, inputs, strict=True):
            expected = np.zeros(given.shape) if given.grad is None else given.grad
            np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-9, atol=1e-12)

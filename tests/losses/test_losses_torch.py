"""The same numbers as PyTorch, where it has the loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.losses import cross_entropy, distillation, mean_squared_error

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(0)
LOGITS, TEACHER = 3 * RNG.normal(size=(2, 6, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 6).astype(np.int64)
MIXED = RNG.dirichlet(np.ones(5), 6).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["integer", "dense"])
def test_cross_entropy(labels, smoothing):
    theirs = F.cross_entropy(
        torch.tensor(LOGITS),
        torch.tensor(labels),
        label_smoothing=smoothing,
        reduction="none",
    )
    y = jnp.asarray(labels if labels is MIXED else labels.astype(np.int32))
    ours = cross_entropy(jnp.asarray(LOGITS), y, label_smoothing=smoothing)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_mean_squared_error():
    theirs = F.mse_loss(torch.tensor(LOGITS), torch.tensor(TEACHER), reduction="none")
    ours = mean_squared_error(jnp.asarray(LOGITS), jnp.asarray(TEACHER))
    np.testing.assert_allclose(ours, theirs.numpy().mean(-1), rtol=1e-5)


def test_distillation():
    t, a = 4.0, 0.1
    student = torch.tensor(LOGITS, requires_grad=True)
    soft = F.kl_div(
        F.log_softmax(student / t, -1),
        F.log_softmax(torch.tensor(TEACHER) / t, -1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    hard = F.cross_entropy(student, torch.tensor(LABELS), reduction="none")
    theirs = (a * hard + (1 - a) * t**2 * soft).detach().numpy()
    ours = distillation(
        jnp.asarray(LOGITS),
        jnp.asarray(LABELS.astype(np.int32)),
        jnp.asarray(TEACHER),
        temperature=t,
        alpha=a,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

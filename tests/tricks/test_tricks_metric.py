"""Heads that see labels: losses, centres and margins of NumPy, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import Batch, Dataset, RunDirectory, create_state, train
from optix_tricks.tricks import Setup

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 1], np.int32)
DATA = Dataset("some", Batch(X, Y), Batch(X[:3], Y[:3]), tuple("abc"))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.body = nnx.Linear(4, 5, rngs=rngs)
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.body(x)))


def job_of(*chosen, **numbers):
    options = {"epochs": 2, "batch_size": 6} | numbers
    return Setup(Net(nnx.Rngs(0)), **options).take(*chosen).job(DATA)


def one_step(job):
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))
    return jax.jit(job.step)(state, Batch(jnp.asarray(X), jnp.asarray(Y)))


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def body(params):
    w = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    return np.maximum(X @ w["body"]["kernel"] + w["body"]["bias"], 0), w


def test_arcface_has_its_margin_in_training_alone():
    job = job_of(tricks.sgd(0.1), tricks.arcface(0.3, scale=8.0))
    _, metrics = one_step(job)
    h, w = body(job.params)
    assert w["head"].keys() == {"kernel"}
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    angles = np.arccos(
        unit @ (w["head"]["kernel"] / np.linalg.norm(w["head"]["kernel"], axis=0))
    )
    turned = angles + 0.3 * np.eye(3)[Y]
    assert turned.max() < np.pi
    want = -log_softmax(8 * np.cos(turned))[np.arange(6), Y].mean()
    np.testing.assert_allclose(metrics["loss"], want, rtol=1e-5)
    tested = job.apply(job.params, job.batch_stats, jnp.asarray(X), train=False)[0]
    np.testing.assert_allclose(tested, 8 * np.cos(angles), rtol=1e-4, atol=1e-5)


def test_center_loss_is_added_and_the_centres_follow():
    job = job_of(tricks.sgd(0.1), tricks.center_loss(0.5, alpha=0.25))
    state, metrics = one_step(job)
    h, w = body(job.params)
    logits = h @ w["head"]["linear"]["kernel"] + w["head"]["linear"]["bias"]
    own = -log_softmax(logits)[np.arange(6), Y]
    distance = (h**2).sum(1) / 2  # from centres at zero
    np.testing.assert_allclose(metrics["loss"], np.mean(own + 0.5 * distance), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(1) == Y).mean())
    moved = [0.25 * h[k == Y].sum(0) / (1 + np.sum(k == Y)) for k in range(3)]
    centers = state.batch_stats["head"]["centers"]
    np.testing.assert_allclose(centers, moved, rtol=1e-5, atol=1e-6)
    # The gradient by the head's bias is cross-entropy's alone.
    share = np.exp(log_softmax(logits)) - np.eye(3)[Y]
    bias = w["head"]["linear"]["bias"] - 0.1 * share.mean(0)
    np.testing.assert_allclose(state.params["head"]["linear"]["bias"], bias, atol=1e-6)


@pytest.mark.parametrize("name", ["arcface", "center_loss"])
def test_a_run_with_such_a_head_is_saved_and_goes_on(name, tmp_path):
    chosen = [tricks.sgd(0.1), tricks.find_trick(name)]
    job = job_of(*chosen, batch_size=3)
    with RunDirectory.start(tmp_path / "a", recipe="x", config={}) as run:
        whole, _ = train(job, DATA, run)
    with RunDirectory.start(tmp_path / "b", recipe="x", config={}) as run:
        train(job._replace(epochs=1), DATA, run)
        again, _ = train(job, DATA, run, resume=True)
    for a, b in zip(*map(jax.tree.leaves, (whole[1:4], again[1:4])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_mixes_labels_cannot_stand_beside_it():
    with pytest.raises(ValueError, match="mixup cannot stand beside arcface"):
        Setup().take(tricks.arcface, tricks.mixup)

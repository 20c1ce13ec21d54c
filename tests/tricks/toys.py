"""A tiny network with all that tricks want of one, and three easy classes of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import (
    BasicBlock,
    Batch,
    Dataset,
    ResNet,
    compile_step,
    create_state,
    epoch_orders,
)
from optix_tricks.tricks import Setup, classifier

CLASSES = 3


def images(n=40, size=8, channels=3, seed=0):
    """Grey levels that say the class, under noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n).astype(np.int32)
    noise = rng.integers(0, 60, (n, size, size, channels))
    return Batch((noise + 60 * labels[:, None, None, None]).astype(np.uint8), labels)


def dataset(**options):
    return Dataset("toy", images(**options), images(20, seed=1), tuple("abc"))


Tiny = functools.partial(ResNet, stages=(1,), block=BasicBlock, width=2, stem="cifar")


NETWORK = classifier(Tiny)


def base(network=NETWORK, **options):
    """Plain SGD: five steps an epoch, four epochs."""
    numbers = {"epochs": 4, "batch_size": 8} | options
    return Setup(network, **numbers).take(tricks.sgd(0.1))


class Mlp(nnx.Module):
    """A finished module that takes no parts: a convolution, a norm, two linear layers."""

    def __init__(self, seed=0):
        rngs = nnx.Rngs(seed)
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x))).mean(axis=(1, 2))
        return self.layers[1](nnx.relu(self.layers[0](x)))


def evaluated(job, state, data):
    """The loss of the final test."""
    return job.make_evaluate()(state, jax.tree.map(jnp.asarray, data.test)).loss


def steps(plan, data, *, count=None, seed=0, start=None):
    """Train; return the state, the last metrics and the job."""
    job = plan.job(seed)
    key = jax.random.key(seed)
    state = start or create_state(job.params, job.batch_stats, job.tx, key)
    compiled = compile_step(job.step)
    on_device = jax.tree.map(jnp.asarray, data.train)
    orders = epoch_orders(key, job.epochs, data.train.size, job.batch_size)
    indices = [index for order in orders for index in order]
    metrics = {}
    for index in indices[int(state.step) : count]:
        state, metrics = compiled(state, on_device.take(index))
    return state, metrics, job

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


def dataset(n=40, **shape):
    train, test = images(n, **shape), images(20, seed=1, **shape)
    return Dataset("toy", train, test, tuple("abc"))


def text(length=5):
    """Tokens that count up by one, from the first on."""
    firsts = np.arange(40, dtype=np.int32)[:, None]
    tokens = (firsts + np.arange(length + 1, dtype=np.int32)) % CLASSES
    windows = Batch(tokens[:, :-1], tokens[:, 1:])
    return Dataset("text", windows, windows, tuple("abc"))


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
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x))).mean(axis=(1, 2))
        return self.layers[1](nnx.relu(self.layers[0](x)))


def Linears(context, *, rngs):
    """Three linear layers in a row, on the mean of the channels."""
    first, second, head = (
        nnx.Linear(n, m, rngs=rngs) for n, m in ((3, 5), (5, 4), (4, CLASSES))
    )
    return nnx.Sequential(mean_colour, first, jnp.tanh, second, jnp.tanh, head)


def mean_colour(images):
    return jnp.mean(images, axis=(1, 2))


def evaluated(job, state, data):
    """The loss of the final test."""
    return job.make_evaluate()(state, jax.tree.map(jnp.asarray, data.test)).loss


def steps(plan, data, *, count=None, seed=0, start=None):
    """Train; return the state, the last metrics and the job."""
    job = plan.job(seed)
    key = jax.random.key(seed)
    on_device = jax.tree.map(jnp.asarray, data.train)
    state = start or create_state(job.params, job.batch_stats, job.tx, key)
    if start is None:
        state = job.begun(state, on_device, lambda done, of: None)
    compiled = functools.lru_cache(compile_step)
    orders = epoch_orders(key, job.epochs, data.train.size, job.batch_size)
    indices = [(e, index) for e, order in enumerate(orders) for index in order]
    metrics = {}
    for epoch, index in indices[int(state.step) : count]:
        state, metrics = compiled(job.step_in(epoch))(state, on_device.take(index))
    return state, metrics, job

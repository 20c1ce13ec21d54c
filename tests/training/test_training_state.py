"""What `functional` says of inputs that nobody scales."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import tricks
from optix_tricks.training import Batch, Dataset, functional, normalize
from optix_tricks.tricks import Setup

IMAGES = jnp.arange(2 * 4 * 4 * 3, dtype=jnp.uint8).reshape(2, 4, 4, 3)


class Flat(nnx.Module):
    """A linear layer on all numbers of an input, one by one."""

    def __init__(self, size, rngs):
        self.linear = nnx.Linear(size, 3, rngs=rngs)

    def __call__(self, x):
        (x,) = jax.tree.leaves(x)
        return self.linear(x.reshape(len(x), -1))


def called(model, inputs, **options):
    apply, params, stats = functional(model, **options)
    return apply(params, stats, inputs, train=True, key=jax.random.key(0))[0]


def test_images_of_uint8_are_warned_about_once():
    apply, params, stats = functional(Flat(48, nnx.Rngs(0)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for some in (IMAGES, IMAGES[:1]):
            for train in (True, False):
                apply(params, stats, some, train=train)
    assert [str(each.message) for each in told] == [
        "images of uint8 reach the network as numbers up to 255: give functional a"
        " preprocess, such as normalize(*dataset.channel_statistics()), or lambda x: x"
        " if the network scales them itself."
    ]


def test_images_in_a_tree_of_inputs_are_found():
    with pytest.warns(UserWarning, match="reach the network as numbers up to 255"):
        called(Flat(48, nnx.Rngs(0)), {"image": IMAGES})


SCALED = {
    "by a mean and a deviation": normalize(jnp.full(3, 0.5), jnp.full(3, 0.25)),
    "by the network": lambda x: x,
}


@pytest.mark.parametrize("preprocess", SCALED.values(), ids=SCALED)
def test_images_that_are_scaled_are_not(preprocess):
    called(Flat(48, nnx.Rngs(0)), IMAGES, preprocess=preprocess)


BY_DESIGN = {
    "tokens": (nnx.Embed, jnp.arange(10, dtype=jnp.int32).reshape(2, 5)),
    "bytes": (nnx.Embed, jnp.arange(10, dtype=jnp.uint8).reshape(2, 5)),
    "a table": (Flat, jnp.full((2, 7), 200, jnp.uint8)),
    "scaled already": (Flat, IMAGES / jnp.float32(255)),
}


@pytest.mark.parametrize("name", BY_DESIGN)
def test_whole_numbers_by_design_are_not(name):
    kind, inputs = BY_DESIGN[name]
    if kind is nnx.Embed:
        whole = {"preprocess": lambda x: x} if inputs.dtype == jnp.uint8 else {}
        called(nnx.Embed(16, 3, rngs=nnx.Rngs(0)), inputs, **whole)
    else:
        called(Flat(inputs[0].size, nnx.Rngs(0)), inputs)


def test_a_setup_scales_images_by_itself():
    data = Batch(np.asarray(IMAGES), np.array([0, 1], np.int32))
    setup = Setup(lambda context, *, rngs: Flat(48, rngs), epochs=1, batch_size=2)
    job = setup.take(tricks.sgd).job(Dataset("two", data, data, ("a", "b")))
    job.apply(job.params, job.batch_stats, IMAGES, train=True, key=jax.random.key(0))

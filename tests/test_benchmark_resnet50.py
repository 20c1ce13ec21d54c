"""The ResNet-50 that is timed in PyTorch is ours: its parameters, arithmetic, steps."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import flops, resnet50
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    ResNet50,
    count_parameters,
    create_state,
    functional,
    make_train_step,
    normalize,
)

torch = pytest.importorskip("torch")
torch_resnet50 = importlib.import_module("benchmarks.torch_resnet50")
flop_counter = importlib.import_module("torch.utils.flop_counter")

STATISTICS = resnet50.MEAN, resnet50.STD


def their_network(width, stages, classes):
    with torch.device("meta"):
        return torch_resnet50.ResNet50(width, stages, classes, *STATISTICS)


def test_both_have_the_parameters_of_resnet50():
    model = their_network(64, (3, 4, 6, 3), 1000)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    ours = nnx.eval_shape(lambda: ResNet50(1000, rngs=nnx.Rngs(0)))
    assert count_parameters(nnx.to_pure_dict(nnx.state(ours, nnx.Param))) == 25_557_032


@pytest.mark.parametrize(
    ("image_size", "width", "stages"),
    [(224, 64, (3, 4, 6, 3)), (50, 8, (1, 2, 1, 3))],
)
def test_the_count_of_operations_is_that_of_pytorch(image_size, width, stages):
    model = their_network(width, stages, 1000)
    images = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8, device="meta")
    with flop_counter.FlopCounterMode(display=False) as counted:
        model(images)
    of_training = flops.training_flops(image_size, width, 1000, stages)
    assert of_training == 3 * counted.get_total_flops()


def copy_weights(params, model):
    """From a tree of ours to the module of theirs, whose names are the same."""
    with torch.no_grad():
        for path, x in jax.tree_util.tree_leaves_with_path(params):
            *modules, name = (str(entry.key) for entry in path)
            module = model.get_submodule(".".join(modules))
            target = module.bias if name == "bias" else module.weight
            target.copy_(torch.tensor(to_theirs(x)))


def to_theirs(x):
    x = np.asarray(x)
    return np.transpose(x, {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[x.ndim])


def test_two_steps_of_both_are_the_same(monkeypatch):
    monkeypatch.setattr(resnet50, "RATE", 0.1)
    monkeypatch.setattr(resnet50, "DECAY", 0.1)  # far above the tolerance
    width, stages, classes = 4, (1, 1, 1, 1), 10
    model = nnx.eval_shape(
        lambda: ResNet50(classes, width=width, stages=stages, rngs=nnx.Rngs(0))
    )
    preprocess = normalize(*map(jnp.array, STATISTICS))
    apply, shapes, stats = functional(model, preprocess=preprocess)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0.5, 0.2, x.shape), x.dtype), shapes
    )
    stats = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), stats)
    tx = resnet50.make_optimizer()
    state = create_state(params, stats, tx, jax.random.key(0))
    images = rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, 16)
    theirs = torch_resnet50.ResNet50(width, stages, classes, *STATISTICS)
    copy_weights(params, theirs)

    block, facts = torch_resnet50.block_of_steps(
        theirs,
        images,
        labels,
        rate=resnet50.RATE,
        decay=resnet50.DECAY,
        dtype="float32",
        mode="eager",
        steps=1,
        device="cpu",
    )
    their_loss = block()
    step = jax.jit(
        make_train_step(apply, cross_entropy, tx),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    batch = Batch(jnp.asarray(images), jnp.asarray(labels))
    for _ in range(2):
        state, metrics = step(state, batch)

    assert facts["compiled"] == "eager"
    np.testing.assert_allclose(float(metrics["loss"]), their_loss, rtol=1e-4)
    for path, x in jax.tree_util.tree_leaves_with_path(state.params):
        *modules, name = (str(entry.key) for entry in path)
        module = theirs.get_submodule(".".join(modules))
        weight = module.bias if name == "bias" else module.weight
        scale = np.abs(to_theirs(x)).max()
        np.testing.assert_allclose(
            to_theirs(x) / scale, weight.detach().numpy() / scale, atol=1e-4
        )

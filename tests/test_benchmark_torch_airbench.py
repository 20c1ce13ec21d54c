"""The peer's whole run of airbench94 takes the steps of the independent statement."""

import numpy as np
import pytest

from optix_tricks.recipes import cifar10_airbench94

torch = pytest.importorskip("torch")
from benchmarks import torch_airbench, torch_airbench_run  # noqa: E402
from tests.recipes import airbench_reference as reference  # noqa: E402
from tests.recipes import airbench_reference_step as stepping  # noqa: E402

BATCH, SIZE, EPOCHS = 16, 64, 4.5
PER_EPOCH, TOTAL = 4, 18
RECIPE = reference.Recipe(widths=(4, 16, 16), batch=BATCH, epochs=EPOCHS)


def tensors(net):
    """Parameters and statistics under the statement's names."""
    params = {"whiten.kernel": net[0].weight, "whiten.bias": net[0].bias}
    stats = {}
    for g in (1, 2, 3):
        for c in (1, 2):
            conv, norm = (getattr(net[g + 1], f"{kind}{c}") for kind in ("conv", "norm"))
            params[f"group{g}.conv{c}.kernel"] = conv.weight
            params[f"group{g}.norm{c}.bias"] = norm.bias
            stats[f"group{g}.norm{c}.mean"] = norm.running_mean
            stats[f"group{g}.norm{c}.var"] = norm.running_var
    params["head.kernel"] = net[7].weight
    copied = (
        {k: x.detach().clone() for k, x in tree.items()} for tree in (params, stats)
    )
    return tuple(copied)


def test_a_run_takes_the_steps_of_the_statement(monkeypatch):
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.normal(size=(SIZE, 3, 32, 32)))
    labels = torch.from_numpy(random.integers(0, 10, SIZE))
    mirrored = torch.from_numpy(random.uniform(size=SIZE))
    orders = [torch.from_numpy(random.permutation(SIZE)) for _ in range(5)]
    torch.manual_seed(0)
    net = torch_airbench.network(4).double()
    torch_airbench_run.initialise(net)
    whitening = torch_airbench_run.whitening(images)
    assert torch.equal(whitening, reference.whitening(images))
    net[0].weight.data[:] = whitening
    theirs = stepping.start(*tensors(net))

    remaining = iter(orders)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: mirrored)
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: next(remaining))
    setup = cifar10_airbench94.setup().change(
        width=4, epochs=EPOCHS, batch_size=BATCH, crop=0, settle={"epochs": 2}
    )
    config = torch_airbench_run.numbers_of(setup)
    torch_airbench_run.train(net, images, labels, config, TOTAL, PER_EPOCH)
    for step in range(TOTAL):
        epoch, place = divmod(step, PER_EPOCH)
        index = orders[epoch][place * BATCH :][:BATCH]
        seen = reference.alternating_flip(images, mirrored < 0.5, epoch=epoch)
        _, theirs = stepping.train_step(
            *(theirs, seen[index], labels[index], step, RECIPE),
            total=TOTAL,
            whiten_steps=2 * PER_EPOCH,
        )
    for ours, expected in zip(tensors(net), (theirs.params, theirs.stats), strict=True):
        for name, value in expected.items():
            gap = (ours[name] - value).norm()
            assert gap <= 1e-8 * value.norm(), name

    got = torch_airbench_run.six_views(net, images)
    expected = reference.tta_logits(theirs.params, theirs.stats, images, recipe=RECIPE)
    torch.testing.assert_close(got / 9, expected.float(), rtol=1e-4, atol=1e-4)


def test_images_move_by_at_most_the_padding():
    torch.manual_seed(0)
    images = torch.randn(64, 3, 8, 8)
    moved = torch_airbench_run.cropped(images, 1)
    padded = torch.nn.functional.pad(images, (1,) * 4, "reflect")
    windows = torch.stack(
        [padded[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    )
    same = (windows == moved).flatten(2).all(2)  # [window, image]
    assert same.sum(0).tolist() == [1] * 64
    assert same.any(1).all()

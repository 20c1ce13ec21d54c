"""Setups: slots, layers of tricks, what they are told, and what they refuse."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optix_tricks import augment, tricks
from optix_tricks.training import create_state
from optix_tricks.tricks import Setup, find_trick, trick
from tests.tricks.toys import Mlp, base, dataset


def names(setup):
    return {slot: [each.name for each in those] for slot, those in setup.filled().items()}


def test_the_order_of_additive_tricks_is_not_that_of_the_person():
    some = [tricks.cutout, tricks.flip, tricks.crop(padding=1), tricks.rotation]
    some += [tricks.l2, tricks.clip_global_norm, tricks.delayed_gradients, tricks.sam]
    forth, back = base().take(*some), base().take(*reversed(some))
    assert names(forth) == names(back)
    assert names(forth)["augment"] == ["crop", "flip", "rotation", "cutout"]
    assert names(forth)["before"] == ["delayed_gradients", "clip_global_norm", "l2"]


def test_what_is_taken_later_replaces_what_fills_the_same_slot():
    setup = base().take(tricks.mixup, tricks.lookahead).take(tricks.cutmix, tricks.ema)
    assert names(setup)["mix"] == ["cutmix"]
    assert names(setup)["tested"] == ["ema"]
    assert names(setup)["around"] == []  # lookahead is gone as a whole
    again = setup.take(tricks.cutmix(alpha=0.5))
    assert dict(again.filled()["mix"][0].numbers) == {"alpha": 0.5}


def test_two_of_one_layer_for_one_slot_are_a_conflict():
    message = "cutmix cannot stand beside mixup: both are what mixes the examples"
    with pytest.raises(ValueError, match=message):
        base().take(tricks.mixup, tricks.cutmix)


def test_a_trick_can_be_left_out_and_only_one_that_is_there():
    setup = base().take(tricks.warm_up, tricks.cosine)
    assert setup.without("warm_up") == base().take(tricks.cosine)
    with pytest.raises(ValueError, match=r"no trick 'warmup'.* warm_up, cosine\. Did"):
        setup.without("warmup")


def test_numbers_are_set_by_name_or_the_main_one_by_place():
    assert tricks.mixup(0.4) == tricks.mixup(alpha=0.4) != tricks.mixup
    assert str(tricks.nesterov(0.3, momentum=0.8)) == (
        "nesterov(momentum=0.8, nesterov=True, dampening=None, learning_rate=0.3)"
    )
    with pytest.raises(ValueError, match=r"mixup has no number 'alhpa'.*'alpha'\?"):
        tricks.mixup(alhpa=0.4)
    with pytest.raises(ValueError, match=r"flip takes its numbers by name, got \(0.5,\)"):
        tricks.flip(0.5)


def test_a_trick_is_found_by_name():
    assert find_trick("mixup") is tricks.mixup
    with pytest.raises(ValueError, match=r"no trick 'mixpu'. Did you mean 'mixup'\?"):
        find_trick("mixpu")


def test_numbers_have_the_defaults_of_the_function_that_is_called():
    assert dict(tricks.mixup.numbers) == {"alpha": 0.2}
    assert dict(tricks.adam.numbers)["b2"] == 0.999
    assert "mask" not in dict(tricks.adam.numbers)


def test_a_setup_says_what_it_is():
    said = base().take(tricks.warm_up(0.2), tricks.cosine).describe()
    lines = [re.split(r"\s{2,}", line) for line in said.splitlines()]
    assert lines[:2] == [
        ["run", "4 epochs in batches of 8"],
        ["network", "ResNet", "of your own"],
    ]
    assert ["warm_up", "warm_up", "fraction 0.2, epochs None, init_value 0.0"] in lines
    slots = ["run", "network", "shape", "warm_up", "optimizer"]
    assert [line[0] for line in lines] == slots


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (nnx.Linear(3, 2, rngs=nnx.Rngs(0)), "Linear"),
        (lambda context, *, rngs: None, "a function"),
        ((lambda *arrays: None, {}, {}), "a function"),
    ],
)
def test_a_setup_names_a_network_of_ones_own(network, name):
    assert f"network  {name:8}" in " ".join(Setup(network).describe().splitlines()[1:2])
    taken = Setup(network).take(tricks.mlp(4))
    assert "of your own" not in taken.describe()


def test_a_trick_of_ones_own_is_a_few_lines():
    @trick("augment", calls=augment.random_flip, place="flip", needs=["images"])
    def mirror(context, call):
        return call

    assert names(base().take(mirror))["augment"] == ["mirror"]


def test_a_trick_that_is_no_trick_is_refused_when_it_is_defined_or_taken():
    def make(context, call):
        return call

    with pytest.raises(ValueError, match="has no argument 'padd'"):
        trick("augment", calls=augment.random_crop, fields=["padd"])(make)
    with pytest.raises(ValueError, match="main of make must be a number, got 'size'"):
        trick("augment", calls=augment.random_crop, main="size")(make)
    nowhere = trick("augment", calls=augment.random_flip, place="top")(make)
    with pytest.raises(ValueError, match="must say its place in slot 'augment', one of"):
        base().take(nowhere)
    elsewhere = trick("augmnet", calls=augment.random_flip)(make)
    with pytest.raises(ValueError, match=r"no setup has.*Did you mean 'augment'"):
        base().take(elsewhere)


def test_numbers_may_be_traced_so_that_another_one_compiles_nothing():
    data = dataset()
    setup = base().take(tricks.l2(0.1), tricks.cosine, tricks.warm_up(0.2))
    batch = jax.tree.map(jnp.asarray, data.train).take(jnp.arange(8))
    plan = setup.plan(data)
    job = plan.job(0)
    state = create_state(job.params, job.batch_stats, job.tx, jax.random.key(0))
    state = state._replace(step=jnp.int32(5))
    seen = []

    @jax.jit
    def step(rate, decay, state):
        seen.append(rate)
        numbers = {"learning_rate": rate, "weight_decay": decay}
        return setup.change(**numbers).plan(data).functions.step(state, batch)

    for rate, decay in ((0.1, 0.1), (0.3, 0.02)):
        found, _ = step(rate, decay, state)
        own = setup.change(learning_rate=rate, weight_decay=decay).job(data)
        want, _ = jax.jit(own.step)(state, batch)
        for a, b in zip(*map(jax.tree.leaves, (found.params, want.params)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert len(seen) == 1


def test_numbers_are_changed_by_field_by_number_and_by_trick():
    setup = base().take(tricks.cutout(3), tricks.momentum(0.1), tricks.sam)
    changed = setup.change(epochs=7, size=5, momentum=0.5, sam=0.2).change(
        momentum={"learning_rate": 0.3}
    )
    own = {(each.name, n): x for each in changed.tricks for n, x in each.numbers}
    assert changed.epochs == 7
    assert own["cutout", "size"] == 5
    assert own["momentum", "momentum"] == 0.5  # its number goes before the trick's main
    assert own["momentum", "learning_rate"] == 0.3
    assert own["sam", "rho"] == 0.2
    for numbers, message in (
        ({"sizes": 3}, "no number 'sizes' in this setup. Did you mean 'size'"),
        ({"mixup": 0.2}, "no number 'mixup' in this setup"),
        ({"sam": {"roh": 1}}, "sam has no number 'roh'.*Did you mean 'rho'"),
    ):
        with pytest.raises(ValueError, match=message):
            setup.change(**numbers)
    with pytest.raises(ValueError, match=r"and .*: say \w+\.every_steps"):
        setup.take(tricks.accumulation, tricks.swa).change(every_steps=2)


BAD = {
    "no optimiser": (Setup(Mlp()), "a setup needs an optimiser: take one"),
    "no network": (Setup().take(tricks.sgd), "a setup needs a network"),
    "a number": (Setup(3).take(tricks.sgd), "network must be a function .* got int"),
    "drop path": (
        Setup(Mlp()).take(tricks.sgd, tricks.drop_path),
        "drop_path needs a function that makes a flax.nnx module from parts: the network",
    ),
    "weight norm of a function": (
        Setup((lambda *_, **__: None, {}, {})).take(tricks.sgd, tricks.weight_norm),
        "weight_norm needs a flax.nnx module, .* the network is a function `apply`",
    ),
    "epochs": (base(batch_size=100), "batch_size must be at most the number of training"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_made_says_so_before_anything_is_compiled(case):
    setup, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        setup.plan(dataset())

"""Pairs of tricks that could get into each other's way: they train, or say why not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import tricks
from tests.tricks.toys import Mlp, base, dataset, evaluated, steps

DATA = dataset()
T = tricks.TRICKS

TOGETHER = [
    (T["float16"], T["accumulation"](2), T["clip_global_norm"](1.0)),
    (T["sam"], T["float16"]),
    (T["swa"](0.5), T["batch_renorm"]),
    (T["lookahead"], T["sam"], T["skip_nonfinite"]),
    (T["ema"](0.9), T["accumulation"](2)),
    (T["dropout"], T["weight_norm"], T["remat"]),
    (T["lsuv"](16), T["no_norm"]),
    (T["freeze"], T["decoupled_decay"], T["muon"]),
    (T["layerwise_rates"], T["freeze"], T["adamw"]),
    (T["mixup"], T["label_smoothing"], T["crop_views"]),
    (T["alternating_flip"], T["flip_views"], T["cutout"]),
    (T["gradient_noise"], T["delayed_gradients"], T["centralisation"]),
    (T["plateau"](patience=1), T["warm_up"], T["l1"]),
    (T["progressive_resizing"], T["cutmix"], T["resized_crop"]),
    (T["progressive_resizing"], T["sam"], T["remat"]),
]


def named(chosen):
    return "+".join(each.name for each in chosen)


@pytest.mark.parametrize("chosen", TOGETHER, ids=named)
def test_tricks_train_together(chosen):
    state, metrics, job = steps(base().take(*chosen).plan(DATA), DATA)
    assert np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all()
    assert np.isfinite(evaluated(job, state, DATA))


def test_what_is_frozen_stays_whatever_decays():
    chosen = T["freeze"]("^(?!head)"), T["decoupled_decay"](0.5), T["adamw"]
    plan = base().take(*chosen).plan(DATA)
    state, _, job = steps(plan, DATA, count=3)
    for name, tree in state.params.items():
        same = jax.tree.map(np.array_equal, tree, job.params[name])
        assert jax.tree.all(same) == (name != "head")


def test_weight_norm_wraps_the_layer_behind_dropout():
    setup = base(Mlp()).take(T["weight_norm"], T["dropout"])
    job = setup.plan(DATA).job()
    assert {"scale", "layer"} == job.params["layers"][1]["layers"][1].keys()


APART = [
    ([T["weight_norm"], T["drop_connect"]], "both are how its kernels are parametrised"),
    ([T["ema"], T["swa"]], "both are whose weights are tested"),
    ([T["onecycle"], T["warm_up"]], "both are its rise at the start"),
    ([T["float16"], T["bfloat16"]], "both are the dtypes of network and optimiser"),
    ([T["focal"], T["label_smoothing"]], "both are what is minimised"),
    ([T["orthogonal"], T["dirac"]], "both are how its kernels start"),
]


@pytest.mark.parametrize(("chosen", "message"), APART, ids=lambda x: str(x)[:9])
def test_tricks_that_cannot_stand_together_say_so(chosen, message):
    with pytest.raises(ValueError, match=message):
        base().take(*chosen)


def test_a_precision_needs_a_network_that_takes_a_dtype():
    setup = base(lambda context, *, rngs: Mlp()).take(T["bfloat16"])
    with pytest.raises(ValueError, match=r"bfloat16 needs a network .* with 'dtype'"):
        setup.plan(DATA)


def test_targets_of_several_arrays_need_a_loss_and_take_one():
    pairs = DATA._replace(train=DATA.train._replace(targets={"a": DATA.train.targets}))
    with pytest.raises(ValueError, match="loss must be given where targets are several"):
        base().plan(pairs)

    def loss(outputs, targets):
        return jnp.sum(outputs**2, axis=-1) + targets["a"]

    job = base(loss=loss).plan(pairs).job()
    assert job.test_loss is job.loss is loss
    assert job.metrics == {}

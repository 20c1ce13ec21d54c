"""The loss of one small problem at steps 1, 10 and 100, as literals.

They guard against silent change, nothing more: what is right is tested elsewhere. The
numbers were written by `python tests/transforms/test_golden_trajectories.py`, which
prints the table anew; whoever changes one says in the commit which formula changed.
All is float64 and made without a random generator, so that 1e-6 relative holds across
versions of JAX and kinds of device: a hundred steps of LARS make 4e-3 of a rounding of
float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot

OPTIMISERS = {
    "sgd": ot.sgd(0.1),
    "sgd_momentum": ot.sgd(0.02, momentum=0.9),
    "sgd_nesterov": ot.sgd(0.02, momentum=0.9, nesterov=True),
    "sgd_dampened": ot.sgd(0.1, momentum=0.9, dampening=0.5),
    "sgd_l2": optax.chain(ot.add_decayed_weights(0.01), ot.sgd(0.1)),
    "sgd_l1": optax.chain(ot.add_l1_decay(0.01), ot.sgd(0.1)),
    "ema": optax.chain(ot.ema(0.9), ot.sgd(0.1)),
    "clip": optax.chain(ot.clip(0.05), ot.sgd(0.1)),
    "clip_by_norm": optax.chain(ot.clip_by_norm(0.1), ot.sgd(0.1)),
    "clip_by_global_norm": optax.chain(ot.clip_by_global_norm(0.1), ot.sgd(0.1)),
    "rmsprop": ot.rmsprop(0.01, eps=1e-3),
    "rmsprop_torch": ot.rmsprop(0.01, decay=0.99, eps=1e-3, eps_in_sqrt=False),
    "rmsprop_centered": ot.rmsprop(0.005, eps=0.01, centered=True, momentum=0.5),
    "adam": ot.adam(0.02),
    "nadam": ot.adam(0.02, nesterov=True),
    "adamw": ot.adamw(0.02, weight_decay=0.1),
    "rmsprop_from_the_first": ot.rmsprop(0.01, initial_scale=None),
    "adagrad": ot.adagrad(0.1),
    "adagrad_mean": ot.adagrad(0.02, initial_accumulator_value=0.0, mean=True),
    "adadelta": ot.adadelta(1.0, eps=1e-4),  # at 10 and 1e-6 one rounding makes 3 %
    "adamw_of_the_paper": ot.adamw(
        0.02, weight_decay=2e-3, schedule=lambda count: 1 / (1 + 0.05 * count)
    ),
    "adamax": ot.adamax(0.02),
    "nadam_torch": ot.nadam(0.02, momentum_decay=4e-3),
    "amsgrad": ot.amsgrad(0.02),
    "amsgrad_torch": ot.amsgrad(0.02, bias_correction_nu="after_max"),
    "adabound": ot.adabound(0.02, 0.1, gamma=0.02),
    "amsbound": ot.adabound(0.02, 0.1, b2=0.9, gamma=0.02, amsbound=True),
    "radam": ot.radam(0.02),
    "lars": ot.lars(1.0, trust_coefficient=0.02, weight_decay=1e-3),
    "lars_nesterov": ot.lars(0.5, trust_coefficient=0.02, nesterov=True),
    "lars_optax": ot.lars(1.0, trust_coefficient=0.02, weight_decay=1e-3, ratio="optax"),
    "lars_page": ot.lars(
        0.02,
        trust_coefficient=1.0,
        weight_decay=1e-3,
        eps=0.01,
        nesterov=True,
        ratio="page",
        per_filter=True,
    ),
    "lamb": ot.lamb(0.02, weight_decay=0.1),
    "lamb_bounded": ot.lamb(0.02, max_ratio=0.5, trust_ratio_mask=ot.no_bias_or_norm),
    "rotation": optax.chain(ot.sgd(0.1), ot.scale_by_rotation(0.01)),  # chaos at 0.02
    "layerwise_decay": optax.chain(
        ot.adam(0.02), ot.layerwise_learning_rate_decay(0.5, {"inner": 0, "outer": 1})
    ),
    "adaptive_grad_clip": optax.chain(ot.adaptive_grad_clip(0.05), ot.sgd(0.1)),
    "clip_by_block_rms": optax.chain(ot.clip_by_block_rms(0.02), ot.sgd(0.1)),
    "sgd_l1_proximal": optax.chain(ot.sgd(0.1), ot.add_l1_decay(1e-3, proximal=True)),
    "centralize": optax.chain(ot.centralize(), ot.sgd(0.1)),
    "muon": optax.chain(
        ot.trace(0.9, nesterov=True),
        ot.scale_by_newton_schulz(),
        ot.scale_by_learning_rate(0.02),
    ),
    "delayed_gradients": optax.chain(ot.delayed_gradients(3), ot.sgd(0.1)),
}

GOLDEN = {
    "sgd": [0.519090276, 0.317395365, 0.133975825],
    "sgd_momentum": [0.584071886, 0.329661175, 0.084126833],
    "sgd_nesterov": [0.568529649, 0.320740375, 0.082749080],
    "sgd_dampened": [0.519090276, 0.291402364, 0.015329855],
    "sgd_l2": [0.518721415, 0.317480601, 0.136713031],
    "sgd_l1": [0.518258572, 0.319973729, 0.156581022],
    "ema": [0.519090276, 0.317929197, 0.138204310],
    "clip": [0.582996373, 0.441685877, 0.132655784],
    "clip_by_norm": [0.589022772, 0.485087295, 0.128916952],
    "clip_by_global_norm": [0.592512956, 0.515420783, 0.211084375],
    "rmsprop": [0.507684668, 0.299406192, 0.051564275],
    "rmsprop_torch": [0.352272069, 0.127549124, 0.012515031],
    "rmsprop_centered": [0.568414246, 0.346183819, 0.130438710],
    "adam": [0.526893554, 0.252607076, 0.019286348],
    "nadam": [0.495356318, 0.231020183, 0.018553438],
    "adamw": [0.526133644, 0.252003406, 0.024217009],
    "rmsprop_from_the_first": [0.562992378, 0.346594778, 0.026323367],
    "adagrad": [0.432121584, 0.237400926, 0.048693608],
    "adagrad_mean": [0.526899240, 0.233266937, 0.022409551],
    "adadelta": [0.494406436, 0.197508466, 0.011130530],
    "adamw_of_the_paper": [0.526133644, 0.269346581, 0.081081804],
    "adamax": [0.526893554, 0.262605855, 0.047435152],
    "nadam_torch": [0.522999087, 0.264532381, 0.024236633],
    "amsgrad": [0.526893554, 0.252182990, 0.044065197],
    "amsgrad_torch": [0.526893554, 0.252604985, 0.019383837],
    "adabound": [0.529061840, 0.275852790, 0.055931024],
    "amsbound": [0.529061721, 0.276021799, 0.061294647],
    "radam": [0.584071886, 0.509366935, 0.180440845],
    "lars": [0.552083152, 0.140654152, 0.010492996],
    "lars_nesterov": [0.554324310, 0.160382343, 0.006645568],
    "lars_optax": [0.551893622, 0.139077676, 0.013204249],
    "lars_page": [0.544617892, 0.189855099, 0.013447178],
    "lamb": [0.566930990, 0.373458580, 0.039047449],
    "lamb_bounded": [0.570574083, 0.353403217, 0.057882157],
    "rotation": [0.585621225, 0.463555269, 0.111018779],
    "layerwise_decay": [0.537266892, 0.293815589, 0.039257924],
    "adaptive_grad_clip": [0.594020706, 0.529596190, 0.280243158],
    "clip_by_block_rms": [0.592310530, 0.512797894, 0.181915740],
    "sgd_l1_proximal": [0.518459164, 0.320255674, 0.156843052],
    "centralize": [0.540835892, 0.374551940, 0.150321963],
    "muon": [0.579008148, 0.410411305, 0.041159990],
    "delayed_gradients": [0.601968889, 0.339923840, 0.138137893],
}


def waves(*shape: int, frequency: float) -> jax.Array:
    """Numbers between -1 and 1 without a generator that could change."""
    size = int(np.prod(shape))
    values = np.sin(frequency * np.arange(1, size + 1) ** 1.5).reshape(shape)
    return jnp.asarray(values, jnp.float64)


def loss_of(params) -> jax.Array:
    """A network of two layers, regressed on waves."""
    inputs, targets = waves(12, 4, frequency=1.3), waves(12, 2, frequency=0.7)
    hidden = jnp.tanh(inputs @ params["inner"]["kernel"] + params["inner"]["bias"][None])
    error = hidden @ params["outer"]["kernel"] - targets
    return jnp.mean(error**2)


@jax.enable_x64(True)
def losses(tx) -> list[float]:
    params = {
        "inner": {"kernel": waves(4, 6, frequency=2.1), "bias": jnp.zeros(6)},
        "outer": {"kernel": 0.5 * waves(6, 2, frequency=3.7)},
    }

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss_of)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), loss_of(params)

    @jax.jit
    def train(carry):
        return jax.lax.scan(step, carry, None, length=100)[1]

    after = train((params, tx.init(params)))
    return [float(after[t - 1]) for t in (1, 10, 100)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_goes_the_way_it_went(name):
    assert losses(OPTIMISERS[name]) == pytest.approx(GOLDEN[name], rel=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_went_down(name):
    first, tenth, last = GOLDEN[name]
    assert first > tenth > last


if __name__ == "__main__":
    for name, tx in OPTIMISERS.items():
        print(f'    "{name}": [{", ".join(f"{x:.9f}" for x in losses(tx))}],')

"""The loss of one small problem at steps 1, 10 and 100, as literals.

They guard against silent change, nothing more: what is right is tested elsewhere. The
numbers were written by `python tests/transforms/test_golden_trajectories.py`, which
prints the table anew; whoever changes one says in the commit which formula changed.
The gradient is that of a loss summed in float32 over a few numbers made without a random
generator, so that 1e-4 relative holds across versions of JAX and kinds of device.
"""

import functools

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
    "rotation": optax.chain(ot.sgd(0.1), ot.scale_by_rotation(0.02)),
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
    "sgd": [0.5190903, 0.3173953, 0.1339758],
    "sgd_momentum": [0.5840719, 0.3296612, 0.0841268],
    "sgd_nesterov": [0.5685297, 0.3207404, 0.0827491],
    "sgd_dampened": [0.5190903, 0.2914024, 0.0153299],
    "sgd_l2": [0.5187215, 0.3174806, 0.1367130],
    "sgd_l1": [0.5182586, 0.3199737, 0.1565810],
    "ema": [0.5190903, 0.3179292, 0.1382043],
    "clip": [0.5829964, 0.4416860, 0.1326558],
    "clip_by_norm": [0.5890228, 0.4850873, 0.1289170],
    "clip_by_global_norm": [0.5925130, 0.5154208, 0.2110844],
    "rmsprop": [0.5076847, 0.2994062, 0.0515643],
    "rmsprop_torch": [0.3522720, 0.1275491, 0.0125150],
    "rmsprop_centered": [0.5684142, 0.3461839, 0.1304387],
    "adam": [0.5268936, 0.2526071, 0.0192864],
    "nadam": [0.4953564, 0.2310202, 0.0185534],
    "adamw": [0.5261337, 0.2520034, 0.0242170],
    "rmsprop_from_the_first": [0.5629924, 0.3465948, 0.0262138],
    "adagrad": [0.4321216, 0.2374009, 0.0486936],
    "adagrad_mean": [0.5268993, 0.2332669, 0.0224096],
    "adadelta": [0.4944065, 0.1975085, 0.0111305],
    "adamw_of_the_paper": [0.5261337, 0.2693466, 0.0810818],
    "adamax": [0.5268936, 0.2626059, 0.0474352],
    "nadam_torch": [0.5229991, 0.2645324, 0.0242366],
    "amsgrad": [0.5268936, 0.2521830, 0.0440652],
    "amsgrad_torch": [0.5268936, 0.2526050, 0.0193838],
    "adabound": [0.5290619, 0.2758528, 0.0559310],
    "amsbound": [0.5290617, 0.2760218, 0.0612946],
    "radam": [0.5840719, 0.5093670, 0.1804417],
    "lars": [0.5520832, 0.1406542, 0.0105311],
    "lars_nesterov": [0.5543244, 0.1603824, 0.0066456],
    "lars_optax": [0.5518936, 0.1390777, 0.0132062],
    "lars_page": [0.5446180, 0.1898551, 0.0134472],
    "lamb": [0.5669309, 0.3734586, 0.0390475],
    "lamb_bounded": [0.5705741, 0.3534033, 0.0578822],
    "rotation": [0.5708222, 0.3807128, 0.1047561],
    "layerwise_decay": [0.5372669, 0.2938156, 0.0392579],
    "adaptive_grad_clip": [0.5940207, 0.5295961, 0.2802431],
    "clip_by_block_rms": [0.5923105, 0.5127980, 0.1819157],
    "sgd_l1_proximal": [0.5184591, 0.3202557, 0.1568431],
    "centralize": [0.5408359, 0.3745520, 0.1503220],
    "muon": [0.5790082, 0.4104114, 0.0411600],
    "delayed_gradients": [0.6019690, 0.3399239, 0.1381379],
}

# A hundred steps make much of a rounding: LARS's losses differ by 0.6 % between levels.
AS_USERS = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}


def waves(*shape: int, frequency: float) -> jax.Array:
    """Numbers between -1 and 1 without a generator that could change."""
    size = int(np.prod(shape))
    values = np.sin(frequency * np.arange(1, size + 1) ** 1.5).reshape(shape)
    return jnp.asarray(values, jnp.float32)


INPUTS, TARGETS = waves(12, 4, frequency=1.3), waves(12, 2, frequency=0.7)


def loss_of(params) -> jax.Array:
    """A network of two layers, regressed on waves."""
    hidden = jnp.tanh(INPUTS @ params["inner"]["kernel"] + params["inner"]["bias"][None])
    error = hidden @ params["outer"]["kernel"] - TARGETS
    return jnp.mean(error**2)


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

    @functools.partial(jax.jit, compiler_options=AS_USERS)
    def train(carry):
        return jax.lax.scan(step, carry, None, length=100)[1]

    after = train((params, tx.init(params)))
    return [float(after[t - 1]) for t in (1, 10, 100)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_goes_the_way_it_went(name):
    assert losses(OPTIMISERS[name]) == pytest.approx(GOLDEN[name], rel=1e-4)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_went_down(name):
    first, tenth, last = GOLDEN[name]
    assert first > tenth > last


if __name__ == "__main__":
    for name, tx in OPTIMISERS.items():
        print(f'    "{name}": [{", ".join(f"{x:.7f}" for x in losses(tx))}],')

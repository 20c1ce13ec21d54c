"""A call of a function of Optax's is a call of ours of the same name.

Optax's arguments are taken by place and by name, with its defaults, or the difference and
its reason stand here; and what they mean is what they mean to Optax.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax_suite import SHARED

import optix_tricks as ot
from optix_tricks import transforms

UPHILL = "None would leave out the minus sign, too"
OURS = "masked: biases and the scales of norms are no layers"
MATRICES = "mask says which leaves are matrices, of all axes but the last by the last"
LENGTH = "our sam has the length of its ascent, and both gradients in one update"
STATED = {
    ("adadelta", "learning_rate"): UPHILL,
    ("lars", "weight_decay_mask"): OURS,
    ("lars", "trust_ratio_mask"): OURS,
    ("lbfgs", "linesearch"): "one object, made once",
    ("muon", "adaptive"): "the dual norm is that of an average, where ours is a sum",
    ("muon", "muon_weight_dimension_numbers"): MATRICES,
    ("sam", "adv_optimizer"): LENGTH,
    ("sam", "sync_period"): LENGTH,
    ("sam", "reset_state"): LENGTH,
    ("sam", "opaque_mode"): LENGTH,
    ("sam", "batch_axis_name"): LENGTH,
    ("scale_by_learning_rate", "learning_rate"): UPHILL,
}


def differences(name):
    """Arguments of Optax's function that ours does not take as it does."""
    theirs, ours = (inspect.signature(f).parameters for f in SHARED[name])
    placed = [
        [p.name for p in of.values() if p.kind in BY_PLACE] for of in (theirs, ours)
    ]
    for place, p in enumerate(theirs.values()):
        at_its_place = p.kind not in BY_PLACE or placed[1][place : place + 1] == [p.name]
        ours_has_it = p.name in ours and at_its_place
        if not ours_has_it or p.default not in (p.empty, ours[p.name].default):
            yield p.name


BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def test_optaxs_arguments_are_taken_by_place_and_by_name():
    found = {(name, argument) for name in SHARED for argument in differences(name)}
    assert found == STATED.keys()


NUMBERS = {
    "learning_rate": 0.1,
    "b1": 0.8,
    "b2": 0.95,
    "eps": 1e-2,
    "eps_root": 1e-3,
    "mu_dtype": "float32",
    "accumulator_dtype": "float32",
    "nesterov": True,
    "weight_decay": 0.2,
    "mask": {"w": True, "b": False},
    "weight_decay_mask": {"w": True, "b": False},
    "trust_ratio_mask": {"w": False, "b": True},
    "trust_coefficient": 0.3,
    "bias_correction_mu": False,
    "bias_correction_nu": False,
    "bias_correction": True,
    "threshold": 4.5,
    "decay": 0.7,
    "initial_scale": 0.5,
    "eps_in_sqrt": False,
    "centered": True,
    "momentum": 0.6,
    "debias": False,
    "rho": 0.8,
    "initial_accumulator_value": 0.3,
    "max_delta": 0.5,
    "max_norm": 0.5,
    "clipping": 0.2,
    "axis": 0,
    "min_norm": 0.1,
}
OTHERWISE = {  # whose meaning tests of their own compare, with what they need beside
    "add_noise",
    "centralize",
    "lbfgs",
    "lookahead",
    "muon",
    "reduce_on_plateau",
    "sam",
}


def three_updates(tx):
    params = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.1, -0.3])}
    state, found = tx.init(params), []
    for step in range(3):
        grads = jax.tree.map(lambda w, step=step: jnp.cos(3 * w + step), params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        found.append(updates)
    return found


@pytest.mark.parametrize(
    "name", sorted(set(transforms.__all__) & SHARED.keys() - OTHERWISE)
)
def test_arguments_given_by_place_mean_what_they_mean_to_optax(name):
    theirs, ours = SHARED[name]
    parameters = inspect.signature(theirs).parameters.values()
    given = [NUMBERS[p.name] for p in parameters if p.kind in BY_PLACE]
    chex.assert_trees_all_close(
        three_updates(ours(*given)), three_updates(theirs(*given)), rtol=2e-5, atol=1e-6
    )


def test_the_masks_of_lars_are_those_of_the_packed_form_too():
    w = {"w": jnp.array([[3.0, 4.0]]), "b": jnp.ones(2), "c": jnp.full(2, 2.0)}
    decayed, rescaled = (
        {"w": True, "b": False, "c": True},
        {"w": True, "b": True, "c": False},
    )
    tx = ot.lars(0.1, 0.5, decayed, 0.1, 0.0, rescaled, None)
    packed = ot.pack(w, mask=None)
    plain, _ = tx.update(w, tx.init(w), w)
    updates, _ = tx.update(packed, tx.init(packed), packed)
    chex.assert_trees_all_close(ot.unpack(updates), plain, rtol=1e-6)
    np.testing.assert_allclose(
        plain["c"], -0.1 * 3.0, rtol=1e-6
    )  # 2 + 0.5 2, its own rate
    np.testing.assert_allclose(plain["b"], -0.1 * 0.1, rtol=1e-6)  # 0.1 of |b| / |g| = 1
    ratio = 0.1 * 5 / (5 + 0.5 * 5)
    np.testing.assert_allclose(plain["w"], -0.1 * ratio * 1.5 * w["w"], rtol=1e-6)


@pytest.mark.parametrize("state", [None, {}, 0, optax.EmptyState()])
def test_what_has_no_state_takes_any_and_gives_it_back(state):
    g = jnp.array([3.0, 4.0])
    for tx in (ot.clip_by_global_norm(1.0), ot.add_decayed_weights(0.0)):
        updates, after = tx.update(g, state, g)
        assert after is state
        chex.assert_trees_all_close(updates, tx.update(g, tx.init(g), g)[0])


def test_a_schedule_or_a_slot_needs_its_state():
    g = jnp.ones(2)
    for tx in (ot.clip(lambda count: 1.0), ot.trace(0.9), ot.add_noise(0.1, 0.5, 0)):
        with pytest.raises(ValueError, match="got NoneType: take it from init"):
            tx.update(g, None)


def test_the_first_moment_alone_has_a_dtype_of_its_own():
    w = jnp.zeros((2, 8192), jnp.bfloat16)
    state = ot.adam(0.1, mu_dtype="bfloat16", state_dtype="int8").init(w)
    assert optax.tree.get(state, "mu").dtype == jnp.bfloat16
    assert optax.tree.get(state, "nu").codes.dtype == jnp.int8
    with pytest.raises(ValueError, match="mu_dtype must be None, bfloat16"):
        ot.adamw(0.1, mu_dtype="float16")
    with pytest.raises(ValueError, match="accumulator_dtype must be None, bfloat16"):
        ot.sgd(0.1, 0.9, accumulator_dtype=jnp.complex64)


def test_the_noise_of_an_old_seed_is_that_of_the_key():
    g = jnp.ones(4)

    def draw(tx):
        return tx.update(g, tx.init(g))[0]

    np.testing.assert_array_equal(
        draw(ot.add_noise(0.1, 0.5, seed=3)), draw(ot.add_noise(0.1, 0.5, 3))
    )
    with pytest.raises(ValueError, match="one of key and seed must be given"):
        ot.add_noise(0.1, 0.5)


def test_nadam_without_nesterov_is_adam_and_has_no_pace_for_it():
    chex.assert_trees_all_equal(
        three_updates(ot.nadam(0.1, nesterov=False)), three_updates(ot.adam(0.1))
    )
    with pytest.raises(ValueError, match=r"momentum_decay must be None with .* 0\.004"):
        ot.nadamw(0.1, nesterov=False, momentum_decay=0.004)

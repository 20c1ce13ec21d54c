"""Leaves that are not for us: integers, bools, keys, float0, float8, functions.

What `optax.masked`, `optax.partition` or our own `mask` leaves out goes through every
wrapper and link as it is, and changes nothing for the leaves that are ours.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import LINKS, WRAPPERS, Case

import optix_tricks as ot
from optix_tricks.dynamics import observe_weight_norms

OURS = {"w": np.float32([[1.0, -2.0], [0.5, 3.0]])}
GRADS = {"w": np.float32([[0.5, 1.0], [-2.0, 0.25]])}
KEY = jax.random.key(0)
FLOAT0 = np.zeros((), jax.dtypes.float0)
ODD = {  # parameter, gradient
    "int": (jnp.int32(3), jnp.int32(4)),
    "int_float0": (jnp.int32(3), FLOAT0),
    "bool": (jnp.array([True, False]), jnp.array([True, True])),
    "key": (KEY, jax.random.key(1)),
    "key_float0": (KEY, FLOAT0),
    "old_key": (jnp.zeros(2, jnp.uint32), jnp.ones(2, jnp.uint32)),
    "float8": (jnp.ones(3, jnp.float8_e4m3fn), jnp.ones(3, jnp.float8_e4m3fn)),
    "function": (np.tanh, np.tanh),
}
ZEROS = {"int", "bool", "old_key", "float8"}  # in steps that are left out
PARAMS = OURS | {name: pair[0] for name, pair in ODD.items()}
GRADIENTS = GRADS | {name: pair[1] for name, pair in ODD.items()}
MASK = {name: name == "w" for name in PARAMS}
SGD = ot.sgd(0.1, momentum=0.9)

AROUND = {
    "skip_nonfinite": ot.skip_nonfinite,
    "dynamic_loss_scale": lambda tx: ot.dynamic_loss_scale(tx, init_scale=4.0),
    "accumulate": lambda tx: ot.accumulate(tx, 2),
    "accumulate_sum": lambda tx: ot.accumulate(tx, 2, mean=False),
    "lookahead": lambda tx: ot.lookahead(tx, sync_period=2),
    "lookahead_resetting": lambda tx: ot.lookahead(tx, sync_period=2, reset_state=True),
    "sam": lambda tx: ot.sam(tx, 0.1),
    "asam": lambda tx: ot.sam(tx, 0.1, adaptive=True),
    "master_weights": ot.master_weights,
    "observe_weight_norms": lambda tx: observe_weight_norms(
        tx,
        learning_rate=0.1,
        mask=lambda tree: jax.tree.map(lambda x: x is tree["w"], tree),
    ),
    "all": lambda tx: ot.master_weights(
        ot.dynamic_loss_scale(ot.accumulate(ot.skip_nonfinite(ot.lookahead(tx)), 2))
    ),
}
WITHIN = {
    "masked": lambda tx: optax.masked(tx, MASK),
    "partition": lambda tx: optax.partition({True: tx, False: optax.identity()}, MASK),
}


def grad_fn(params):
    return {name: 2 * x if name == "w" else GRADIENTS[name] for name, x in params.items()}


def four_steps(tx, params, grads, **extra):
    state, out = tx.init(params), []
    for _ in range(4):
        updates, state = tx.update(grads, state, params, **extra)
        out.append(updates)
    return out


def same(x, y):
    return x is y or (x.dtype == y.dtype and bool((x == y).all()))


def test_every_wrapper_is_here():
    assert {case.public for case in WRAPPERS} <= AROUND.keys()


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("around", AROUND)
def test_a_wrapper_hands_on_what_its_inside_does_not_own(around, within):
    tx = AROUND[around](WITHIN[within](SGD))
    alone = AROUND[around](SGD)
    extra = {"grad_fn": grad_fn} if "sam" in around else {}
    found = four_steps(tx, PARAMS, GRADIENTS, **extra)
    want = four_steps(alone, OURS, GRADS, **extra)
    left_out = around.startswith(("accumulate", "all"))
    for step, (updates, right) in enumerate(zip(found, want, strict=True)):
        np.testing.assert_allclose(updates["w"], right["w"], rtol=1e-6)
        for name, (_, g) in ODD.items():
            is_zero = left_out and step % 2 == 0 and name in ZEROS
            assert same(updates[name], jnp.zeros_like(g) if is_zero else g), name


@pytest.mark.parametrize("name", ["skip_nonfinite", "accumulate", "dynamic_loss_scale"])
def test_a_compiled_step_does_the_same(name):
    """Keys, integers and float0 from `jax.grad(allow_int=True)`, in one program."""
    params = {"w": jnp.asarray(OURS["w"]), "int": jnp.int32(3), "key": KEY}
    mask = {"w": True, "int": False, "key": False}
    tx = AROUND[name](optax.masked(SGD, mask))

    @jax.jit
    def two_steps(params):
        def loss(params):
            return jnp.sum(params["w"] ** 2) + 0 * jax.random.uniform(params["key"])

        state = tx.init(params)
        for _ in range(2):
            grads = jax.grad(loss, allow_int=True)(params)
            grads = {**grads, "key": params["key"]}
            updates, state = tx.update(grads, state, params)
        assert updates["int"].dtype == jax.dtypes.float0
        return updates["w"], updates["key"]

    update, key = two_steps(params)
    assert same(key, KEY)
    scale = 1 if name != "dynamic_loss_scale" else 4
    times = 1 if name == "accumulate" else 1.9
    np.testing.assert_allclose(update, -0.2 * times * OURS["w"] / scale, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, 1.0])
def test_skipping_and_accumulating_are_optaxs_on_the_same_tree(bad):
    """Of what Optax's own take: `MultiSteps` has no keys, float0 and float8."""
    names = ("w", "int", "bool", "old_key")
    params = {name: PARAMS[name] for name in names}
    grads = {name: GRADIENTS[name] for name in names} | {
        "w": GRADS["w"] * np.float32(bad)
    }
    inner = optax.masked(optax.sgd(0.1, 0.9), {name: name == "w" for name in names})
    pairs = [(ot.skip_nonfinite(inner), optax.apply_if_finite(inner, 100))]
    if np.isfinite(bad):
        pairs.append((ot.accumulate(inner, 2), optax.MultiSteps(inner, 2)))
    for ours, theirs in pairs:
        found, want = (four_steps(tx, params, grads) for tx in (ours, theirs))
        for updates, right in zip(found, want, strict=True):
            np.testing.assert_allclose(updates["w"], right["w"], rtol=1e-6)
            assert all(same(updates[name], right[name]) for name in names[1:])


def test_complex_gradients_are_added_up_for_an_inside_that_splits_them():
    inner = optax.contrib.split_real_and_imaginary(ot.sgd(1.0))
    tx, w = ot.accumulate(inner, 2), jnp.zeros(2, jnp.complex64)
    state = tx.init(w)
    for g in (1 + 2j, 3 - 4j):
        updates, state = tx.update(jnp.full(2, g), state, w)
    np.testing.assert_allclose(updates, np.full(2, -2 + 1j))


FIRST = {case.public: case for case in reversed(LINKS)}  # of each function


@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST.keys())
def test_a_link_hands_on_what_its_own_mask_leaves_out(case: Case):
    settings = {**case.options, **case.given}
    tx, alone = (case.make(**settings | {"mask": mask}) for mask in (MASK, None))
    params, grads = ({**tree, "function": None} for tree in (PARAMS, GRADIENTS))
    found, _ = tx.update(grads, tx.init(params), params, value=1.0)
    want, _ = alone.update(GRADS, alone.init(OURS), OURS, value=1.0)
    np.testing.assert_allclose(found["w"], want["w"], rtol=1e-6)
    assert all(found[name] is grads[name] for name in ODD)


@pytest.mark.parametrize("name", [name for name in ODD if "float0" not in name])
def test_what_nobody_left_out_is_refused_by_its_path(name):
    params = {"a": {"b": PARAMS[name]}}
    for tx in (SGD, ot.accumulate(SGD, 2), ot.add_decayed_weights(0.1)):
        with pytest.raises(
            ValueError, match=r"at 'a/b': leave .* `mask` or optax.masked"
        ):
            tx.init(params)

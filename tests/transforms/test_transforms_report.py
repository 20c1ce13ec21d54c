"""The report: what a step used and did, as a flat dict of scalars."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optix_tricks as ot

PARAMS = {"body": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.ones(2)}}


def said_by(tx, **options):
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    return ot.report(state, **options)


def test_a_chain_says_its_hyperparameters_by_name():
    said = said_by(optax.chain(ot.add_decayed_weights(0.5), ot.sgd(0.1, momentum=0.9)))
    assert said.keys() == {"weight_decay", "momentum", "learning_rate"}
    assert float(said["weight_decay"]) == 0.5
    assert float(said["momentum"]) == pytest.approx(0.9)


def test_a_schedule_is_said_in_the_value_last_used():
    tx = ot.sgd(lambda count: 1.0 / (1 + count))
    state = tx.init(PARAMS)
    for want in (1.0, 0.5, 1 / 3):
        _, state = tx.update(PARAMS, state)
        assert float(ot.report(state)["learning_rate"]) == pytest.approx(want)


def test_layers_are_named_by_their_path():
    said = said_by(ot.scale_by_lars(trust_coefficient=0.5))
    assert float(said["trust_ratio/body/kernel"]) == 0.5
    assert "trust_ratio/body/bias" not in said
    both = said_by(ot.clip_by_norm(1.0))
    assert float(both["clip_factor/body/kernel"]) == 0.25
    assert "clip_factor/body/bias" in both


def test_numbers_per_layer_can_be_left_out():
    said = said_by(ot.lars(0.1), per_layer=False)
    assert not [name for name in said if name.startswith("trust_ratio")]
    assert "learning_rate" in said


def test_decisions_of_the_step_are_said():
    said = said_by(ot.clip_by_global_norm(1.0))
    assert float(said["global_norm"]) == pytest.approx(18**0.5)
    assert float(said["clip_factor"]) == pytest.approx(18**-0.5)


def test_names_that_stand_twice_are_told_apart_by_their_place():
    said = said_by(optax.chain(ot.ema(0.5), ot.clip(3.0), ot.ema(0.9)))
    assert said.keys() == {"0.decay", "2.decay", "max_delta"}
    assert float(said["0.decay"]) == 0.5
    assert float(said["2.decay"]) == pytest.approx(0.9)


def test_links_of_optax_are_passed_over_and_looked_into():
    inner = optax.chain(optax.scale_by_adam(), ot.scale_by_learning_rate(0.1))
    assert said_by(inner).keys() == {"learning_rate"}
    assert said_by(optax.apply_if_finite(inner, 3)).keys() == {"learning_rate"}
    assert said_by(optax.MultiSteps(inner, 2)).keys() == {"learning_rate"}
    labels = {"body": {"kernel": "a", "bias": "b"}}
    parts = optax.partition({"a": ot.sgd(0.1), "b": ot.sgd(0.2)}, labels)
    _, state = parts.update(PARAMS, parts.init(PARAMS), PARAMS)
    assert sorted(float(x) for x in ot.report(state).values()) == pytest.approx(
        [0.1, 0.2]
    )


def test_it_can_be_asked_before_the_first_step_and_keeps_its_names():
    tx = ot.lars(0.1)
    before = ot.report(tx.init(PARAMS))
    assert before.keys() == said_by(tx).keys()


def test_it_works_inside_jit_without_reading_values():
    tx = optax.chain(ot.clip_by_global_norm(1.0), ot.lars(0.1))

    @jax.jit
    def step(state):
        return ot.report(tx.update(PARAMS, state, PARAMS)[1])

    assert all(x.shape == () for x in step(tx.init(PARAMS)).values())


def test_a_state_with_nothing_to_say_gives_an_empty_report():
    assert ot.report(optax.adam(0.1).init(PARAMS)) == {}
    assert ot.report(()) == {}

"""The runner, its table, its refusals and its helper for pytest."""

import functools

import jax.numpy as jnp
import optax
import pytest

from optix_tricks import testing
from testing import broken

ASKED = ["jit_equals_eager", "leaves_are_on_their_own", "none_leaves_pass"]
about = {"hyperparams": {"learning_rate": 0.5}, "params": broken.PARAMS}

test_a_sound_transformation = testing.transformation_test(
    broken.momentum, columns=ASKED, name="broken.momentum", **about
)


def test_a_table_says_what_passed_what_failed_and_what_was_not_asked():
    table = testing.check_transformation(broken.knows_no_none, columns=ASKED, **about)
    assert [row.outcome for row in table.rows] == ["pass", "not applicable", "fail"]
    assert not table.passed
    assert table.failures == (table["none_leaves_pass"],)
    assert table.not_applicable[0].reason == "'leafwise' is not declared"
    lines = str(table).splitlines()
    assert lines[0].endswith("(learning_rate=0.5): 1 pass, 1 fail, 1 not applicable")
    assert lines[2].split("  ")[1:4:2] == [
        "leaves_are_on_their_own",
        "'leafwise' is not declared",
    ]
    assert lines[4].strip().startswith(">>> tx = testing.broken.knows_no_none(learning_")
    with pytest.raises(AssertionError, match=r"TypeError.*\n>>> tx = "):
        table.assert_passed()


def test_a_column_of_ones_own_is_a_function():
    def updates_are_small(subject):
        """Updates of the example are below one."""
        with testing.showing("print(testing.run(tx, params, grads))"):
            for u in subject.steps[0]:
                assert jnp.abs(u["w"]).max() < 1, "large"

    for rate, outcome in ((0.01, "pass"), (100.0, "fail")):
        given = about | {"hyperparams": {"learning_rate": rate}}
        table = testing.check_transformation(
            broken.momentum, columns=updates_are_small, **given
        )
        assert table["updates_are_small"].outcome == outcome
    assert "large" in table.rows[0].reason
    assert table.rows[0].reproduction.endswith("; print(testing.run(tx, params, grads))")


def test_a_factory_that_raises_is_a_failure_and_no_error():
    table = testing.check_transformation(
        lambda: 1 / 0, columns=["is_pure", "pmap_equals_one_device"]
    )
    assert [row.reason for row in table.rows] == [
        "ZeroDivisionError: division by zero"
    ] * 2
    assert table.rows[0].reproduction.startswith("tx = factory(); ")


def test_a_failing_test_shows_the_line():
    test = testing.transformation_test(broken.knows_no_none, **about)
    column = testing.TRANSFORMATION_COLUMNS["none_leaves_pass"]
    with pytest.raises(AssertionError, match=r"TypeError.*\n>>> tx = "):
        test(column=column, record_property=print)
    noted = []
    column = testing.TRANSFORMATION_COLUMNS["leaves_are_on_their_own"]
    test(column=column, record_property=lambda *pair: noted.append(pair))
    assert noted == [("not applicable", "'leafwise' is not declared")]
    (mark,) = test.pytestmark
    assert list(mark.args[1]) == list(testing.TRANSFORMATION_COLUMNS.values())


def test_what_a_line_search_needs_is_found_out():
    for make, needs in (
        (functools.partial(optax.sgd, 0.1), ()),
        (functools.partial(optax.contrib.reduce_on_plateau, patience=2), ("value",)),
        (functools.partial(optax.lbfgs, 0.1), ("value", "grad", "value_fn")),
    ):
        subject = testing.TransformationSubject(make)
        assert subject.extra == needs
        assert subject.written({}).startswith("testing.with_a_loss(") == bool(needs)


REFUSED = [
    ({"columns": "jit_equals_eagre"}, ValueError, "do you mean 'jit_equals_eager'"),
    ({"columns": [3]}, TypeError, "columns must be .* names or functions .*, got a list"),
    ({"hyperparams": {"learning_rat": 1.0}}, ValueError, "do you mean 'learning_rate'"),
    ({"hyperparams": {"learning_rate": "1"}}, TypeError, "hyperparams must be numbers"),
    (
        {"invariances": ["scales"]},
        ValueError,
        "invariances must be of scale, .* got 'scales'",
    ),
    ({"extra": ["loss"]}, ValueError, "extra must be of value, .* got 'loss'"),
    (
        {"params": {"w": 1.0}},
        TypeError,
        "params must be a tree of arrays, got a leaf 1.0",
    ),
    ({"grads": [1]}, ValueError, "grads must be at least two trees, beside params"),
    (
        {"params": jnp.ones(2), "grads": [jnp.ones(2), jnp.ones(3)]},
        ValueError,
        "grads must be trees of the structure and shapes of params",
    ),
]


@pytest.mark.parametrize(("given", "kind", "said"), REFUSED, ids=[x[2] for x in REFUSED])
def test_a_bad_argument_is_refused_in_a_sentence(given, kind, said):
    with pytest.raises(kind, match=said) as error:
        testing.check_transformation(optax.sgd, **given)
    assert "\n" not in str(error.value)


def test_a_transformation_in_place_of_its_factory_is_refused():
    with pytest.raises(TypeError, match=r"factory must be a function.*in a lambda"):
        testing.check_transformation(optax.sgd(0.1))

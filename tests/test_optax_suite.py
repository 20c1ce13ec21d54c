"""Optax's own tests pass with our functions in the place of its own.

Where they do not, the difference stands in a table with its reason. The entries are
checked too: the test fails with ours, in the way that the entry says, and passes again
once the entry's bridge is laid, which is how one comes from Optax's use to ours.
"""

import collections
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import pytest
from optax_suite import SHARED, Bridge, SkippedByOptax, select

# Rows in other dtypes than float32, what test_contract.py covers as well, and tests of
# other parts of Optax in which one of our functions takes part.
SLOW = re.compile(
    r"test_(state_shape|optimization).*-(bfloat16|float16|float64|complex64|complex128)$"
    r"|test_gradient_accumulation|test_preserve_dtype|test_optimization.*rosenbrock"
    r"|LBFGSTest.test_(against|multiclass|binary|handling|minimize|steep|state)"
    r"|test_multi_steps_(mixed|every)|_aggregating_test|BacktrackingLinesearchTest"
)

NUMERICS = Path(__file__).parents[1] / "docs" / "numerics.md"
AT_LEAST = {
    "_accumulation_test": 9,
    "_adding_test": 3,
    "_aggregating_test": 3,
    "_clipping_test": 6,
    "_combining_test": 11,
    "_common_test": 16,
    "_complex_valued_test": 1,
    "_conditionality_test": 1,
    "_constraining_test": 1,
    "_freezing_test": 11,
    "_galore_test": 2,
    "_inject_test": 14,
    "_join_test": 1,
    "_layouts_test": 1,
    "_masking_test": 11,
    "_monitoring_test": 2,
    "_muon_test": 26,
    "_reduce_on_plateau_test": 8,
    "_sam_test": 4,
    "_schedule_free_test": 19,
    "_schedule_test": 48,
    "_state_utils_test": 8,
    "alias_test": 342,
    "combine_test": 11,
    "float64_test": 18,
    "linesearch_test": 196,
    "lookahead_test": 7,
    "sharding_test": 45,
    "transform_test": 11,
}


def changed(change: Callable[[Any], Any]) -> Bridge:
    """The transformations that ours return, changed."""

    def bridge(make: Callable) -> Callable:
        def changing(*args: Any, **kwargs: Any) -> Any:
            made = make(*args, **kwargs)
            is_transformation = isinstance(made, optax.GradientTransformation)
            return change(made) if is_transformation else made

        return changing

    return bridge


def given(**arguments: Any) -> Bridge:
    """Ours with these arguments."""
    return lambda make: functools.partial(make, **arguments)


def without(*names: str) -> Bridge:
    """Ours without keywords that say what ours is in any case."""

    def bridge(make: Callable) -> Callable:
        return lambda *args, **kwargs: make(
            *args, **{name: x for name, x in kwargs.items() if name not in names}
        )

    return bridge


def optaxs_own(make: Callable) -> Callable:
    """Optax's function after all."""
    return SHARED[make.__name__][0]


@changed
def on_pairs(tx: Any) -> Any:
    """Fast and slow weights side by side, as `optax.LookaheadParams`."""

    class State(NamedTuple):
        fast_state: Any
        outer: Any

    def split(state: Any) -> State:
        return State(state.inner_state, state._replace(inner_state=None))

    def init(params: Any) -> State:
        return split(tx.init(getattr(params, "fast", params)))

    def update(updates: Any, state: State, params: Any) -> Any:
        whole = state.outer._replace(inner_state=state.fast_state)
        updates, whole = tx.update(updates, whole, params.fast)
        slow = jax.tree.map(lambda new, old: new - old, whole.slow, params.slow)
        return optax.LookaheadParams(updates, slow), split(whole)

    return optax.GradientTransformation(init, update)


@changed
def plateau_alone(tx: Any) -> Any:
    """The part of the state that begins with the fields of Optax's."""

    def update(updates: Any, state: Any, **extra_args: Any) -> Any:
        whole = tx.init(updates)
        names = ("scale", "best_value", "plateau_count", "cooldown_count")
        seen = whole.plateau._replace(**{name: getattr(state, name) for name in names})
        whole = whole._replace(plateau=seen)
        updates, whole = tx.update(updates, whole, **extra_args)
        return updates, whole.plateau

    return optax.GradientTransformation(lambda params: tx.init(params).plateau, update)


def opaque_sam(make: Callable) -> Callable:
    """SAM whose ascent is a step of the given length, and `grad_fn(params)`."""
    if make.__name__ != "sam":
        return make

    def sam(optimizer: Any, adv_optimizer: Any, **mode: Any) -> Any:
        tx = make(optimizer, rho=1e-5)

        def update(updates: Any, state: Any, params: Any, *, grad_fn: Any) -> Any:
            return tx.update(updates, state, params, grad_fn=lambda w: grad_fn(w, 0))

        return optax.GradientTransformationExtraArgs(tx.init, update)

    return sam


split_complex = changed(optax.contrib.split_real_and_imaginary)


class Difference(NamedTuple):
    """Tests of Optax that fail with ours, and why."""

    tests: str  # a pattern; a test belongs to the first that it matches
    reason: str
    error: type[Exception]
    message: str
    bridge: Bridge | None = None  # with it they pass
    in_optax: str = ""  # how they fail with Optax's own function


DIFFERENCES = [
    # What Optax leaves out itself.
    Difference(
        r"adadelta.*-complex|ScheduleFreeTest.test_explicit_dtype.*-complex64-(?!complex)",
        "not for complex parameters in Optax either",
        SkippedByOptax,
        "not support(ed)?",
    ),
    Difference(
        r"AliasTest.test_optimization\d+-adadelta-setup",
        "Optax's adadelta without a rate goes uphill",
        SkippedByOptax,
        "needs a non-None learning rate",
    ),
    Difference(
        r"ScheduleAsLearningRateTest.*-adadelta",
        "Optax's adadelta is not annotated with a schedule",
        SkippedByOptax,
        "doesn't accept a learning schedule",
    ),
    Difference(
        r"ContribTest.test_optimizers_can_be_wrapped_in_inject.*-reduce_on_plateau",
        "its arguments are no hyperparameters in Optax",
        SkippedByOptax,
        "not supported by inject_hyperparams",
    ),
    Difference(
        r"SelectiveTransformTest.test_selective_bad_structure",
        "the message is that of another version of JAX",
        AssertionError,
        '"Dict key mismatch" does not match',
        in_optax='"Dict key mismatch" does not match',
    ),
    # Real floating-point arrays.
    Difference(
        r"LBFGSTest.*complex",
        "complex parameters are split by the caller",
        ValueError,
        "must be real floating-point arrays",
    ),
    Difference(
        r"AliasTest.test_optimization\d+-lars.*setup_rosenbrock-complex",
        "complex parameters are split by the caller, into two layers for LARS",
        ValueError,
        "must be real floating-point arrays",
    ),
    Difference(
        r"test_(optimization|state_shape).*-complex|-complex64-complex64$",
        "complex parameters are split by the caller",
        ValueError,
        "must be real floating-point arrays",
        split_complex,
    ),
    Difference(
        r"ExtraArgsTest.test_extra_args$",
        "integer parameters are an error",
        ValueError,
        "must be real floating-point arrays .*, got int at 'a'",
    ),
    # The dtype of slots.
    Difference(
        r"AliasTest.test_explicit_dtype.*-complex64-(sgd_mom|adam|adamw)$",
        "slots are real",
        ValueError,
        "(mu|accumulator)_dtype must be None, bfloat16",
    ),
    Difference(
        r"AliasTest.test_explicit_dtype\d+-complex64-",
        "complex parameters are split by the caller",
        ValueError,
        "must be real floating-point arrays",
    ),
    Difference(
        r"AliasTest.test_explicit_dtype\d+-bfloat16-None-",
        "slots are float32, whatever the parameters are",
        AssertionError,
        r"dtype\(bfloat16\) != dtype\('float32'\)",
    ),
    Difference(
        r"GaLoreTest.test_mu_dtype",
        "mu_dtype is of the first moment; the test wants the second in bfloat16 too",
        AssertionError,
        "float32.* != .*bfloat16",
    ),
    # The state.
    Difference(
        r"ClippingTest.test_clip_by_block_rms",
        "seven places are more than float32 has",
        AssertionError,
        "0.9999999, dtype=float32. != 1.0 within 7 places",
        in_optax="0.9999999, dtype=float32. != 1.0 within 7 places",
    ),
    Difference(
        r"TransformTest.test_centralize_[23]d",
        "the mean is over all axes but the last, where Flax has outputs",
        AssertionError,
        "Not equal to tolerance",
        given(output_axis=0),
    ),
    Difference(
        r"StateUtilsTest.test_(adam|map_non_params_to_none|tree_get_all_with_path)",
        "hyperparameters are in the state",
        AssertionError,
        "hyperparams",
    ),
    Difference(
        r"StateUtilsTest.test_map_params_to_none",
        "hyperparameters are in the state, here compared with the tree of mu",
        TypeError,
        r"unsupported operand type\(s\) for ==: 'ArrayImpl' and 'dict'",
    ),
    Difference(
        r"StateUtilsTest.test_tree_(get|set)",
        "with inject_hyperparams around it the rate is in the state twice",
        KeyError,
        "Found multiple values for 'learning_rate'",
    ),
    Difference(
        r"test_optimizers_can_be_wrapped_in_inject.*-adadelta",
        "adadelta has a link for decay unless weight_decay is the number 0",
        AssertionError,
        "Trees have different structures",
    ),
    Difference(
        r"test_optimizers_can_be_wrapped_in_inject.*-(lars|muon)",
        "a mask function must be named in static_args",
        ValueError,
        "name `mask` in static_args",
    ),
    Difference(
        r"TransformTest.test_scalers_trust_ratio",
        "the bound max_ratio is infinite and in the state",
        AssertionError,
        "Array inf is not finite",
        given(max_ratio=1e9),
    ),
    Difference(
        r"LookaheadTest",
        "lookahead takes the parameters as they are; the slow ones are in its state",
        AssertionError,
        "Trees have different structures",
        on_pairs,
    ),
    Difference(
        r"ReduceLROnPlateauTest.test_learning_rate_reduced",
        "the machine is one field of the state",
        ValueError,
        "not enough values to unpack",
        plateau_alone,
    ),
    Difference(
        r"ReduceLROnPlateauTest",
        "the machine is one field of the state",
        AttributeError,
        "'ReduceLROnPlateauState' object has no attribute 'hyperparams'",
        plateau_alone,
    ),
    # Arguments.
    Difference(
        r"PolynomialTest.test_zero_steps|ExponentialTest.test_nonvalid",
        "schedules raise where Optax logs and returns a constant",
        ValueError,
        "transition_steps must be at least 1|decay_rate must be positive",
    ),
    Difference(
        r"AliasTest.test_optimization\d+-lars.*-setup_rosenbrock",
        "vectors are masked out of LARS by default: here plain SGD at the rate 1",
        AssertionError,
        "nan location mismatch",
        given(mask=None),
    ),
    Difference(
        r"AddingTest.test_none_argument",
        "None stands for one leaf",
        ValueError,
        "updates must have the structure of params",
    ),
    Difference(
        r"MuonTest.*complex",
        "complex parameters are split by the caller, and no step has the dual norm",
        TypeError,
        "unexpected keyword argument 'adaptive'",
    ),
    Difference(
        r"MuonTest.test_reshape_update",
        "mask says which leaves are matrices: of all axes but the last by the last",
        TypeError,
        "unexpected keyword argument 'muon_weight_dimension_numbers'",
        without("muon_weight_dimension_numbers"),
    ),
    Difference(
        r"MuonTest.test_(callable|dim_nums|reshape_and)",
        "mask says which leaves are matrices: of all axes but the last by the last",
        TypeError,
        "unexpected keyword argument 'muon_weight_dimension_numbers'",
    ),
    Difference(
        r"MuonTest.test_aol_numerical",
        "coefficients are numbers, without names",
        TypeError,
        "ns_coeffs must be a sequence",
    ),
    Difference(
        r"SAMTest.*-sgd-learning_rate=1e-05-.*-True$",
        "sam has the length of its ascent, no second optimiser",
        TypeError,
        "rho must be a number or a schedule, got a Gradient",
        opaque_sam,
    ),
    Difference(
        r"SAMTest",
        "sam has the length of its ascent, and both gradients in one update",
        TypeError,
        "rho must be a number or a schedule, got a Gradient",
    ),
    # Rounding.
    Difference(
        r"ScheduleFreeTest.test_schedule_free_adamw",
        "our adamw against Optax's RMS form, whose bias correction cancels: -0.00892648 "
        "where both are -0.00893096 in float64, and ours in float32",
        AssertionError,
        r"\[1\]: -0.0089264\d+ \(ACTUAL\), -0.0089309\d+ \(DESIRED\)",
    ),
]

TESTS = select()


def difference_of(test: Any) -> Difference | None:
    return next((d for d in DIFFERENCES if re.search(d.tests, test.id)), None)


def rows(tests: list) -> Any:
    slow = [pytest.mark.slow]
    return pytest.mark.parametrize(
        "test",
        [
            pytest.param(test, id=test.id, marks=slow if SLOW.search(test.id) else [])
            for test in tests
        ],
    )


@rows([test for test in TESTS if difference_of(test) is None])
def test_passes_with_ours(test):
    test.run()


@rows([test for test in TESTS if difference_of(test) is not None])
def test_differs_as_the_table_says(test):
    difference = difference_of(test)
    with pytest.raises(difference.error, match=difference.message):
        test.run()
    if difference.in_optax:
        with pytest.raises(AssertionError, match=difference.in_optax):
            test.run(optaxs_own)
    if difference.bridge:
        test.run(difference.bridge)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: d.tests)
def test_every_difference_belongs_to_a_test(difference):
    assert any(difference_of(test) is difference for test in TESTS)


def test_no_test_is_lost():
    found = collections.Counter(test.id.split(".", 2)[1] for test in TESTS)
    assert {name: min(found[name], n) for name, n in AT_LEAST.items()} == AT_LEAST


def test_the_docs_say_how_many_pass():
    stated = [difference_of(test) for test in TESTS]
    skipped = sum(d is not None and d.error is SkippedByOptax for d in stated)
    said = (
        f"of {len(TESTS)}, {stated.count(None)} pass as they are, {skipped} Optax skips"
    )
    assert said in " ".join(NUMERICS.read_text().split())


def test_names_are_unique():
    assert len({test.id for test in TESTS}) == len(TESTS)

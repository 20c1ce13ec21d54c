"""Public functions compare what they are given with their annotations."""

import importlib
import inspect
import pickle
import pkgutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks import dynamics, layers, losses, reports, testing, training
from optix_tricks._arguments import checking
from optix_tricks.compat import tf1, torch

LOGITS, LABELS = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)
SENTENCES = {
    "fast_optimizer must be a gradient transformation, got 0.1.": lambda: ot.lookahead(
        0.1
    ),
    "fast_optimizer must be a gradient transformation, got the function adam."
    " Call it first.": (lambda: ot.lookahead(ot.adam)),
    "learning_rate must be a number or a schedule, got a list.": lambda: ot.sgd([0.1]),
    "learning_rate must be a number or a schedule, got an array float32[2].": (
        lambda: ot.sgd(jnp.ones(2))
    ),
    "learning_rate must be a number or a schedule, got 1j.": lambda: ot.sgd(1j),
    "decay must be a number or a schedule, got the function adam.": (
        lambda: ot.trace(ot.adam)
    ),
    "loss must return one real number for params and batch, got a traced array"
    " float32[2]: take the mean of real ones.": lambda: dynamics.hessian_operator(
        lambda w: w, jnp.ones(2)
    )(jnp.ones(2)),
    "epochs must be a finite number, got nan.": (
        lambda: training.total_steps(float("nan"), 10, 2)
    ),
    "seed must be at least 0, got -1.": (
        lambda: training.split_validation(training.load_digits(), 0.1, seed=-1)
    ),
    "settings must hold one or more, got none.": lambda: training.sweep_jobs(
        lambda *_: None, training.load_digits(), settings=jnp.ones(0), seeds=[0]
    ),
    "measures must be some of accuracy and loss, got precision.": (
        lambda: reports.plot_effects([], measures=["precision"])
    ),
    "factory must be called with eps alone: missing a required argument:"
    " 'learning_rate'.": lambda: testing.inject(ot.adam, eps=1.0),
    "nesterov must be True or False, got 1.": lambda: ot.sgd(0.1, nesterov=1),
    "every_steps must be a whole number, got 4294967296. JAX counts in 32 bits.": (
        lambda: ot.swa(0, 2**32)
    ),
    "logits must be an array of floats [*batch, classes], got a list. Make an array of it"
    " with jax.numpy.asarray.": lambda: losses.cross_entropy([[0.0, 1.0]], LABELS),
    "logits must be an array of floats [*batch, classes], got an array int32[2].": (
        lambda: losses.cross_entropy(LABELS, LABELS)
    ),
    "rngs must be a Rngs, a RngStream or None, got 0.": (
        lambda: layers.Dropout(0.1, rngs=0)
    ),
    "b2 must be in [0, 1), got -1.0.": lambda: ot.adamw(0.1, b2=jnp.float32(-1)),
    "b1 must be in [0, 1), got 1.0.": lambda: ot.adamw(0.1, b1=jnp.bfloat16(0.999)),
    "betas[1] must be in [0, 1), got 2.": lambda: torch.Adam(betas=(0.9, 2)),
    "epsilon must be a finite number, got nan.": (
        lambda: tf1.AdamOptimizer(epsilon=float("nan"))
    ),
    "beta1 must be a schedule that gives a number, got 'no' from it.": (
        lambda: tf1.AdamOptimizer(beta1=lambda count: "no").init(jnp.ones(2))
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_wrong_argument_is_named_with_its_value(sentence):
    with pytest.raises((TypeError, ValueError)) as raised:
        SENTENCES[sentence]()
    assert str(raised.value) == sentence


def test_a_traced_boolean_is_named_with_the_way_out():
    with pytest.raises(TypeError, match=r"nesterov .* traced array bool\[\]. It is deci"):
        jax.jit(lambda flag: ot.sgd(0.1, nesterov=flag).init(LOGITS))(True)


@pytest.mark.parametrize(
    "rate",
    [0, 1, 0.1, jnp.float32(0.1), jnp.bfloat16(0.1)],
    ids=repr,
)
def test_numbers_of_all_kinds_are_numbers(rate):
    updates, _ = ot.sgd(rate).update(jnp.ones(2), ot.sgd(rate).init(jnp.ones(2)))
    np.testing.assert_allclose(updates, -float(rate) * np.ones(2), rtol=1e-6)


def test_what_is_not_known_when_tracing_passes():
    rates = jnp.array([0.1, -0.1])
    made = jax.vmap(lambda rate: ot.sgd(rate).init(jnp.ones(2))[-1])(rates)
    assert jax.tree.leaves(made)


def test_every_public_function_is_checked():
    rooms = [ot, *(m for m in pkgutil.walk_packages(ot.__path__, "optix_tricks."))]
    for info in rooms[1:]:
        if not info.ispkg or "._" in info.name:
            continue
        room = importlib.import_module(info.name)
        for name in getattr(room, "__all__", ()):
            public = getattr(room, name)
            ours = getattr(public, "__module__", "").startswith("optix_tricks")
            if inspect.isfunction(public) and ours:
                assert hasattr(public, "__checked__"), f"{info.name}.{name}"


def test_a_checked_function_is_the_function():
    assert pickle.loads(pickle.dumps(ot.adam)) is ot.adam
    assert [*inspect.signature(ot.adam).parameters][:2] == ["learning_rate", "b1"]
    assert ot.adam.__doc__.startswith("Adam")
    assert isinstance(layers.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Module)


def test_annotations_of_all_forms_are_understood():
    @checking
    def function(
        a: int | None = None,
        b: tuple[float, float] = (0.0, 0.0),
        c: dict[str, int] | None = None,
        d: optax.GradientTransformation | None = None,
        *rest: int,
        e: "int" = 0,
        **more: int,
    ):
        return a, b, c, d, rest, e, more

    assert function(1, [0, 1.5], {"a": 1}, ot.sgd(0.1), "x", e="x", f="x")
    for name, value in {"a": 1.0, "b": (1.0,), "c": {"a": "b"}, "d": ot.sgd}.items():
        with pytest.raises(TypeError, match=f"^{name} must be"):
            function(**{name: value})


def test_init_takes_its_parameters_by_name_too():
    w = jnp.ones(2)
    by_name, by_place = ot.adam(0.1).init(params=w), ot.adam(0.1).init(w)
    chex.assert_trees_all_equal(by_name, by_place)

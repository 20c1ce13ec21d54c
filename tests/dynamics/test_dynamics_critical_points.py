"""Verdicts about points of known nature, over many keys: none of them may be wrong."""

import functools
import inspect

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import optix_tricks as ot
from optix_tricks.dynamics import CriticalPoint, classify_critical_point, escape_direction
from optix_tricks.dynamics.curvature._critical_points import VERDICTS

KEYS = jax.random.split(jax.random.key(0), 32)
DEGREE = 6


def polynomial(c, w):
    """Σ c_ij x^i y^j."""
    powers = [jnp.ones_like(w)]
    for _ in range(DEGREE):
        powers.append(powers[-1] * w)
    x, y = jnp.stack(powers, axis=1)
    return x @ c @ y


# Terms {(i, j): c}, a point, its nature, and whether it may stay undecided.
SURFACES = {
    "bowl": ({(2, 0): 1, (0, 2): 2}, (0, 0), "minimum", False),
    "dome": ({(2, 0): -1, (0, 2): -0.01}, (0, 0), "maximum", False),
    "strict saddle": ({(2, 0): 1, (0, 2): -0.01}, (0, 0), "saddle", False),
    "its minimum": ({(2, 0): 1, (0, 2): -1, (0, 4): 1}, (0, 0.5**0.5), "minimum", False),
    "slope": ({(1, 0): 0.002, (0, 2): 1}, (0, 0), "not critical", False),
    "Rosenbrock's minimum": (
        {(0, 0): 1, (1, 0): -2, (2, 0): 1, (0, 2): 100, (2, 1): -200, (4, 0): 100},
        (1, 1),
        "minimum",
        False,
    ),
    "Rosenbrock's start": (
        {(0, 0): 1, (1, 0): -2, (2, 0): 1, (0, 2): 100, (2, 1): -200, (4, 0): 100},
        (-1.2, 1),
        "not critical",
        False,
    ),
    "constant": ({(0, 0): 3}, (1, 2), "flat", False),
    "monkey": ({(3, 0): 1, (1, 2): -3}, (0, 0), "saddle", False),
    "monkey, nearly": ({(3, 0): 1, (1, 2): -3}, (1e-5, -2e-5), "saddle", False),
    "cubic valley": ({(2, 0): 1, (0, 3): 1}, (0, 0), "saddle", False),
    "quartic saddle": ({(2, 0): 1, (0, 4): -1}, (0, 0), "saddle", False),
    "quartic dome and bowl": ({(4, 0): 1, (0, 4): -1}, (0, 0), "saddle", True),
    "quartic valley": ({(2, 0): 1, (0, 4): 1}, (0, 0), "minimum", True),
    "quartic bowl": ({(4, 0): 1, (0, 4): 1}, (0, 0), "flat", False),
    "quartic dome": ({(4, 0): -1, (0, 4): -1}, (0, 0), "flat", False),
    "crossing valleys": ({(2, 2): 1}, (0, 0), "flat", False),
    "valley": ({(2, 2): 1}, (1, 0), "minimum", True),
    "falls along parabolas only": (
        {(2, 0): 1, (1, 2): -3, (0, 4): 2},
        (0, 0),
        "saddle",
        True,
    ),
    "bowl beside a lower basin": (
        {(4, 0): 1, (6, 0): -2, (0, 4): 1, (0, 6): -2},
        (0, 0),
        "flat",
        False,
    ),
    "almost flat minimum of a square": (
        {(2, 0): 2e-4, (4, 0): -0.02, (6, 0): 0.5, (0, 2): 1},
        (0, 0),
        "minimum",
        True,
    ),
    "small curvature": ({(2, 0): 4e-4, (0, 2): -4e-4}, (0, 0), "saddle", False),
    "too small a curvature": ({(2, 0): 1, (0, 2): -4e-5}, (0, 0), "undecided", False),
}


@functools.partial(jax.jit, static_argnames="num_matvecs")
@functools.partial(jax.vmap, in_axes=(0, 0, None))
@functools.partial(jax.vmap, in_axes=(None, None, 0))
def classify_polynomial(c, w, key, num_matvecs=40):
    return classify_critical_point(
        functools.partial(polynomial, c), w, key=key, num_matvecs=num_matvecs
    )


def surfaces(dtype):
    cs = np.zeros((len(SURFACES), DEGREE + 1, DEGREE + 1))
    for c, (terms, *_) in zip(cs, SURFACES.values(), strict=True):
        for powers, value in terms.items():
            c[powers] = value
    points = np.array([point for _, point, *_ in SURFACES.values()])
    return jnp.asarray(cs, dtype), jnp.asarray(points, dtype)


def names(verdicts):
    return [VERDICTS[i] for i in np.ravel(verdicts)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_verdict_about_a_surface_is_wrong(dtype):
    """In any unit of the loss."""
    with jax.enable_x64(dtype == "float64"):
        cs, points = surfaces(dtype)
        hessians = jax.vmap(jax.hessian(polynomial, argnums=1))(cs, points)
        for unit in (1.0, 1e-5, 1e4):
            found = classify_polynomial(unit * cs, points, KEYS)
            found = jax.tree.map(np.asarray, found)
            assert found.gradient_norm.dtype == dtype
            check_surfaces(found, unit * np.asarray(hessians), dtype)


def check_surfaces(found, hessians, dtype):
    for i, (name, (*_, nature, may_be_open)) in enumerate(SURFACES.items()):
        allowed = {nature} | ({"undecided", "flat"} if may_be_open else set())
        assert set(names(found.verdict[i])) <= allowed, name
        # The basis is the whole plane: values are those of the dense Hessian.
        low, high = np.linalg.eigvalsh(hessians[i])
        tolerance = 100 * np.finfo(dtype).eps * max(abs(low), abs(high))
        np.testing.assert_allclose(found.lambda_min[i], low, atol=tolerance)
        np.testing.assert_allclose(found.lambda_max[i], high, atol=tolerance)
        assert (found.bound_min[i] <= low + 1e-30).all()
        assert (found.bound_max[i] >= high - 1e-30).all()
        assert (found.residual_min[i] <= tolerance).all()
        least = 1e-4 * max(abs(low), abs(high))
        assert (found.negative_count[i] == sum(e < -least for e in (low, high))).all()
    assert found.exact.all()


def test_tolerances_are_absolute_where_asked():
    def small(w):
        return 4e-4 * (w[0] ** 2 - w[1] ** 2) + 2e-4 * w[2]

    find = functools.partial(classify_critical_point, small, jnp.zeros(3), key=KEYS[0])
    assert find().name == "not critical"
    assert find(gradient_tolerance=1.0).name == "saddle"
    within = {"gradient_tolerance": 1e-3, "curvature_tolerance": 1e-3, "absolute": True}
    assert find(**within).name == "flat"
    assert find(**within | {"curvature_tolerance": 1e-4}).name == "saddle"


def test_higher_derivatives_told_those_saddles_that_have_no_curvature_down():
    found = classify_polynomial(*surfaces("float32"), KEYS)
    told = dict(zip(SURFACES, np.asarray(found.degenerate).T.all(axis=0), strict=True))
    assert {name for name, yes in told.items() if yes} >= {
        "monkey",
        "cubic valley",
        "quartic saddle",
    }
    assert not told["strict saddle"]


@functools.lru_cache
def classifier(num_matvecs, n):
    """Of w'Hw / 2 + g'w, compiled once for all H and g."""
    del n

    @jax.jit
    def classify(h, g, key):
        def loss(w):
            return w @ h @ w / 2 + g @ w

        return classify_critical_point(
            loss, jnp.zeros(len(g), h.dtype), key=key, num_matvecs=num_matvecs
        )

    return classify


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)]
)
@hypothesis.given(
    eigenvalues=st.lists(
        st.floats(-10, 10).filter(lambda x: abs(x) > 5e-3), min_size=8, max_size=8
    ),
    seed=st.integers(0, 2**31 - 1),
    num_matvecs=st.sampled_from([4, 8]),
)
def test_quadratics_of_every_signature(dtype, eigenvalues, seed, num_matvecs):
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))
    h = basis @ np.diag(eigenvalues) @ basis.T
    with jax.enable_x64(dtype == "float64"):
        found = classifier(num_matvecs, 8)(
            jnp.asarray((h + h.T) / 2, dtype), jnp.zeros(8, dtype), jax.random.key(seed)
        )
        found = jax.tree.map(np.asarray, found)
    negative = sum(x < 0 for x in eigenvalues)
    truth = {0: "minimum", 8: "maximum"}.get(negative, "saddle")
    if num_matvecs == 8:
        assert found.name == truth
        assert found.negative_count == negative
    else:
        assert found.name in {truth, "undecided"}
        assert found.negative_count <= negative
        assert min(eigenvalues) <= found.lambda_min + 1e-4
        assert found.lambda_max <= max(eigenvalues) + 1e-4
    assert found.bound_min <= min(eigenvalues)
    assert found.bound_max >= max(eigenvalues)


def test_the_gradient_is_held_against_its_tolerance_and_says_how_far_to_go():
    h, key = jnp.diag(jnp.array([1.0, 2.0, *[4.0] * 6])), KEYS[0]
    g = jnp.zeros(8).at[0].set(0.01)
    found = classifier(8, 8)(h, g, key)
    assert found.name == "not critical"
    np.testing.assert_allclose(found.gradient_norm, 0.01, rtol=1e-6)
    np.testing.assert_allclose(found.distance, 0.01 / 4, rtol=1e-5)
    assert classifier(8, 8)(h, g / 100, key).name == "minimum"
    for broken in (h.at[0, 0].set(jnp.nan), jnp.full_like(h, jnp.inf)):
        assert classifier(8, 8)(broken, jnp.zeros(8), key).name == "undecided"


@pytest.mark.slow
def test_a_single_negative_curvature_among_hundreds_is_never_called_a_minimum():
    """With too few products for it the verdict is open, with enough a saddle."""
    h = jnp.concatenate([jnp.array([-0.01]), jnp.linspace(1, 2, 299)])

    def verdicts(num_matvecs):
        def classify(key):
            def loss(w):
                return w @ (h * w) / 2

            return classify_critical_point(
                loss, jnp.zeros(300), key=key, num_matvecs=num_matvecs
            )

        return names(jax.jit(jax.vmap(classify))(KEYS).verdict)

    assert set(verdicts(3)) <= {"undecided", "saddle"}
    assert set(verdicts(40)) == {"saddle"}


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [(10, "minimum"), pytest.param(1e4, "undecided", marks=pytest.mark.slow)],
)
def test_a_minimum_is_claimed_where_the_basis_reaches_far_enough(condition, verdict):
    h = jnp.geomspace(1, condition, 1000)
    find = jax.jit(
        lambda key: classify_critical_point(
            lambda w: w @ (h * w) / 2, jnp.zeros(1000), key=key
        )
    )
    points = [find(key) for key in KEYS[:4]]
    assert {point.name for point in points} == {verdict}
    assert all(point.bound_min <= 1 <= point.lambda_min for point in points)
    assert not any(point.exact for point in points)


def products(w):
    """Five hundred saddles in a thousand dimensions; minima where pairs are (1, -1)."""
    return jnp.sum(w[::2] * w[1::2]) + jnp.sum(w**4) / 4


def test_products_in_a_thousand_dimensions_from_the_saddle_to_the_minimum():
    """Two distinct eigenvalues: the basis that ends early goes on and counts copies."""
    find = jax.jit(functools.partial(classify_critical_point, products))
    start = jnp.zeros(1000)
    saddle = find(start, key=KEYS[0])
    assert saddle.name == "saddle"
    np.testing.assert_allclose([saddle.lambda_min, saddle.lambda_max], [-1, 1], rtol=1e-5)
    assert 1 < saddle.negative_count <= 500
    assert not saddle.exact
    end = descend(products, start, 400)
    assert products(end) < -500 * 0.49
    minimum = find(end, key=KEYS[1])
    assert minimum.name == "minimum"
    np.testing.assert_allclose(
        [minimum.lambda_min, minimum.lambda_max], [2, 4], rtol=1e-3
    )


def descend(loss, w, steps):
    """`escape_saddle` around gradient descent, from where the gradient is zero."""
    tx = ot.escape_saddle(optax.sgd(0.05), jax.random.key(3))

    @jax.jit
    def run(w):
        def step(carry, _):
            w, state = carry
            value, grad = jax.value_and_grad(loss)(w)
            updates, state = tx.update(
                grad, state, w, value=value, grad=grad, value_fn=loss
            )
            return (optax.apply_updates(w, updates), state), None

        return jax.lax.scan(step, (w, tx.init(w)), None, steps)[0][0]

    return run(w)


def deep_linear(w):
    """Fit y = 2x by a product of 3x3 matrices."""
    return jnp.sum((functools.reduce(jnp.matmul, w) - 2 * jnp.eye(3)) ** 2) / 2


@pytest.mark.parametrize(
    ("depth", "allowed"),
    [
        (2, {"saddle"}),
        pytest.param(3, {"saddle"}, marks=pytest.mark.slow),
        pytest.param(4, {"saddle", "flat"}, marks=pytest.mark.slow),
    ],
)
def test_a_deep_linear_network_at_zero_and_where_the_escape_from_it_ends(depth, allowed):
    """At zero the k-th derivative is the first, k layers; the end is a valley.

    Of four layers a probe of four lines finds the way down most of the time.
    """
    zeros = tuple(jnp.zeros((3, 3)) for _ in range(depth))
    find = jax.jit(functools.partial(classify_critical_point, deep_linear))
    found = [find(zeros, key=key) for key in KEYS[:8]]
    assert {point.name for point in found} <= allowed
    assert sum(point.name == "saddle" for point in found) >= 4
    assert all(
        point.degenerate == (depth > 2) for point in found if point.name == "saddle"
    )
    end = descend(deep_linear, zeros, 1200)
    assert deep_linear(end) < 1e-5
    after = find(end, key=KEYS[0])
    assert after.name == "undecided"  # layers can trade factors
    assert abs(after.lambda_min) < 1e-2
    assert after.negative_count == 0


def tiny_network(decay):
    x = np.random.default_rng(0).standard_normal((12, 2))
    y = np.sin(x[:, 0]) * x[:, 1]

    def loss(w):
        out = jnp.tanh(x @ w[:8].reshape(2, 4) + w[None, 8:12]) @ w[12:]
        return jnp.mean((out - y) ** 2) + decay * jnp.sum(w**2)

    return loss


@pytest.mark.slow
@pytest.mark.parametrize("decay", [1e-3, 0.0])
def test_a_trained_network_is_never_misjudged(decay):
    """Against all eigenvalues of the dense Hessian, in float64."""
    with jax.enable_x64(True):
        loss = tiny_network(decay)
        start = np.random.default_rng(1).standard_normal(16)
        value_and_grad = jax.jit(jax.value_and_grad(loss))
        end = jnp.asarray(
            scipy.optimize.minimize(value_and_grad, start, jac=True, tol=1e-9).x
        )
        truth = np.linalg.eigvalsh(jax.hessian(loss)(end))
        find = jax.jit(
            functools.partial(classify_critical_point, loss),
            static_argnames="num_matvecs",
        )
        whole, part = (
            [jax.tree.map(np.asarray, find(end, key=k, num_matvecs=m)) for k in KEYS[:8]]
            for m in (16, 8)
        )
    for point in whole:
        np.testing.assert_allclose(point.lambda_min, truth[0], atol=1e-10)
        assert point.name == ("minimum" if truth[0] > 1e-4 * truth[-1] else "undecided")
    assert {point.name for point in part} <= {whole[0].name, "undecided"}
    assert all(point.bound_min <= truth[0] for point in part)


def test_batches_are_averaged_by_examples_and_calls_without_jit_agree():
    x = np.random.default_rng(2).standard_normal((7, 3)).astype("float32")
    batches = [x[:3], x[3:6], x[6:]]

    def loss(w, batch):
        return jnp.mean((batch @ w["a"] + w["b"]) ** 2)

    w = {"a": jnp.zeros(3, jnp.bfloat16), "b": jnp.zeros(())}
    in_parts = classify_critical_point(loss, w, key=KEYS[0], batches=batches)
    at_once = jax.jit(
        lambda w: classify_critical_point(lambda w: loss(w, x), w, key=KEYS[0])
    )(w)
    for ours, want in zip(in_parts, at_once, strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-4, atol=1e-5)
    assert in_parts.name == "minimum"
    z = np.c_[x, np.ones(7)]
    exact = np.linalg.eigvalsh(2 * z.T @ z / 7)
    np.testing.assert_allclose(in_parts.lambda_min, exact[0], rtol=1e-4)
    np.testing.assert_allclose(in_parts.lambda_max, exact[-1], rtol=1e-4)

    way = escape_direction(loss, w, key=KEYS[0], num_matvecs=4, batches=batches)
    np.testing.assert_allclose(way.curvature, exact[0], rtol=1e-4)


def test_it_says_in_words_what_it_found():
    h = jnp.diag(jnp.array([-1.0, -0.5, *[2.0] * 6]))
    saddle = classifier(8, 8)(h, jnp.zeros(8), KEYS[0])
    assert "saddle: 2 directions of negative curvature" in saddle.describe()
    assert "at least" in saddle._replace(exact=jnp.array(False)).describe()
    for name in VERDICTS:
        point = saddle._replace(verdict=jnp.array(VERDICTS.index(name)))
        assert point.name == name
        assert point.describe().startswith(f"{name}: ")
    assert isinstance(saddle, CriticalPoint)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gradient_tolerance", -1.0, "zero or positive"),
        ("curvature_tolerance", -1.0, "zero or positive"),
        ("num_matvecs", 0, "at least 1"),
        ("failure_probability", 0.0, r"in \(0, 1\)"),
        ("failure_probability", 1.0, r"in \(0, 1\)"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, value, message):
    classify = inspect.unwrap(classify_critical_point)
    with pytest.raises(ValueError, match=f"{name} must be {message}.*{value}"):
        classify(jnp.sum, jnp.zeros(2), key=KEYS[0], **{name: value})

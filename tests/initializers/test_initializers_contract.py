"""What holds for every initialiser, whoever wrote it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import initializers
from optix_tricks.initializers import (
    constant,
    delta_orthogonal,
    dirac,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    random_uniform,
    truncated_normal,
    uniform,
    uniform_unit_scaling,
    variance_scaling,
    zeros,
)

SHAPE = (3, 3, 4, 8)
FIXED = {
    "zeros": zeros,
    "ones": ones,
    "constant": constant(0.3),
    "dirac": dirac(),
}
BY_FAN = {
    "variance_scaling": variance_scaling(1.0, "fan_avg", "normal"),
    "glorot_normal": glorot_normal(),
    "glorot_uniform": glorot_uniform(),
    "he_normal": he_normal(),
    "he_uniform": he_uniform(),
    "lecun_normal": lecun_normal(),
    "lecun_uniform": lecun_uniform(),
    "uniform_unit_scaling": uniform_unit_scaling(1.5),
}
DRAWN = BY_FAN | {
    "normal": normal(0.3),
    "truncated_normal": truncated_normal(0.3),
    "uniform": uniform(0.3),
    "random_uniform": random_uniform(-0.3, 0.1),
    "orthogonal": orthogonal(),
    "delta_orthogonal": delta_orthogonal(),
    "dirac, the rest drawn": dirac(rest=lecun_normal()),
}
ALL = DRAWN | FIXED
ALIASES = {
    "xavier_normal": "glorot_normal",
    "xavier_uniform": "glorot_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
}
PROCEDURES = {"compare_initializers", "lsuv", "patch_whitening", "variance_by_depth"}
PROCEDURES |= {"zero_gamma"}
every = pytest.mark.parametrize("name", ALL)


def test_every_public_initialiser_is_here():
    functions = {n for n in initializers.__all__ if n[0].islower()}
    assert functions - PROCEDURES - set(ALIASES) == {n for n in ALL if "," not in n}


def test_aliases_are_the_same_functions():
    for alias, name in ALIASES.items():
        assert getattr(initializers, alias) is getattr(initializers, name)


@every
def test_shape_dtype_and_default_dtype(name):
    assert isinstance(ALL[name], jax.nn.initializers.Initializer)
    for dtype in (None, jnp.float32, jnp.bfloat16, jnp.float16):
        w = jax.eval_shape(lambda k, d=dtype: ALL[name](k, SHAPE, d), jax.random.key(0))
        assert (w.shape, w.dtype) == (SHAPE, dtype or jnp.float32)
    w = ALL[name](jax.random.key(0), SHAPE)
    assert np.isfinite(w).all()


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_are_the_float32_draw_rounded(name, dtype):
    key = jax.random.key(1)
    expected = ALL[name](key, SHAPE, jnp.float32).astype(dtype)
    np.testing.assert_array_equal(ALL[name](key, SHAPE, dtype), expected)


def test_jit_and_vmap_draw_the_same():
    keys = jax.random.split(jax.random.key(2), 3)
    draw_all = jax.jit(
        jax.vmap(lambda key: {name: init(key, SHAPE) for name, init in ALL.items()})
    )
    for name, mapped in draw_all(keys).items():
        one_by_one = jnp.stack([ALL[name](key, SHAPE) for key in keys])
        np.testing.assert_allclose(mapped, one_by_one, 1e-5, 1e-6, err_msg=name)


@every
def test_a_key_is_a_draw(name):
    first, again = (ALL[name](jax.random.key(3), SHAPE) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = ALL[name](jax.random.key(4), SHAPE)
    assert bool((first != other).any()) == (name in DRAWN)


@pytest.mark.parametrize("name", ["zeros", "he_uniform", "random_uniform", "dirac"])
def test_out_sharding_places_the_array(name):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        sharding = jax.P(None, None, None, "x")
        w = ALL[name](jax.random.key(0), SHAPE, jnp.bfloat16, sharding)
    assert w.sharding.spec == sharding
    plain = ALL[name](jax.random.key(0), SHAPE, jnp.bfloat16)
    np.testing.assert_array_equal(w, plain)


def test_float64_is_drawn_as_float64():
    with jax.enable_x64(True):
        w = np.asarray(he_uniform()(jax.random.key(0), SHAPE, jnp.float64))
    assert w.dtype == np.float64
    assert (w != w.astype(np.float32)).any()


@pytest.mark.parametrize("name", BY_FAN)
def test_a_vector_has_no_fans(name):
    with pytest.raises(ValueError, match="1-dimensional weights"):
        ALL[name](jax.random.key(0), (8,))


def test_a_factory_keeps_its_dtype_where_the_call_has_none():
    w = he_normal(dtype=jnp.bfloat16)(jax.random.key(0), SHAPE)
    np.testing.assert_array_equal(
        w, he_normal()(jax.random.key(0), SHAPE).astype(jnp.bfloat16)
    )
    assert w.dtype == jnp.bfloat16
    assert dirac(dtype=jnp.float16)(jax.random.key(0), SHAPE).dtype == jnp.float16


def test_integers_are_refused_by_what_is_drawn():
    for name in ("normal", "random_uniform", "he_uniform"):
        with pytest.raises((TypeError, ValueError), match="float"):
            ALL[name](jax.random.key(0), SHAPE, jnp.int32)

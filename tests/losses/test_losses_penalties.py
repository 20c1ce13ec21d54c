import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks import (
    add_decayed_weights,
    add_l1_decay,
    mask_by_path,
    no_bias_or_norm,
)
from optix_tricks.losses import l1_penalty, l2_penalty

PENALTIES = {
    l1_penalty: (add_l1_decay, np.abs),
    l2_penalty: (add_decayed_weights, lambda w: w**2 / 2),
}
both = pytest.mark.parametrize("penalty", PENALTIES, ids=lambda f: f.__name__)
MASKS = [
    None,
    no_bias_or_norm,
    mask_by_path("bias"),
    {"dense": True, "norm": {"scale": False}, "frozen": True},
]


def parameters(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return {
        "dense": {
            "kernel": jnp.asarray(rng.normal(size=(3, 4)), dtype),
            "bias": jnp.asarray([0.0, -2.0, 3.0], dtype),
        },
        "norm": {"scale": jnp.asarray(rng.normal(size=4), dtype)},
        "frozen": None,
    }


@both
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_gradient_is_what_the_transformation_adds(penalty, mask, dtype):
    params = parameters(dtype)
    transformation, _ = PENALTIES[penalty]
    tx = transformation(1.0, mask=mask)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    gradient = jax.grad(lambda w: penalty(w, mask=mask))(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(updates)
    for ours, theirs in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(updates), strict=True
    ):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


@both
def test_matches_a_sum_over_the_leaves_that_count(penalty):
    params = parameters()
    _, term = PENALTIES[penalty]
    kernel, bias = params["dense"]["kernel"], params["dense"]["bias"]
    scale = params["norm"]["scale"]
    total = sum(term(np.asarray(w, np.float64)).sum() for w in (kernel, bias, scale))
    np.testing.assert_allclose(penalty(params), total, rtol=1e-6)
    total = term(np.asarray(kernel, np.float64)).sum()
    np.testing.assert_allclose(penalty(params, mask=no_bias_or_norm), total, rtol=1e-6)


@both
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_sums_of_many_16_bit_values_are_those_of_float32(penalty, dtype):
    """In bfloat16 a running sum of ones stands still at 256; 300² is no float16."""
    total = penalty(jnp.full(4096, 300, dtype))
    assert total.dtype == jnp.float32
    value = float(jnp.asarray(300, dtype))
    expected = 4096 * (value if penalty is l1_penalty else value**2 / 2)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@both
def test_of_nothing_it_is_zero(penalty):
    for params, mask in (({}, None), ({"a": None}, None), (jnp.ones(3), False)):
        total = penalty(params, mask=mask)
        assert total == 0
        assert total.dtype == jnp.float32


@both
def test_float64_is_kept_and_float32_is_not_made_wider(penalty):
    with jax.enable_x64(True):
        assert penalty({"a": jnp.ones(3, jnp.float32)}).dtype == jnp.float32
        mixed = {"a": jnp.ones(3, jnp.float32), "b": jnp.full(2, 0.1)}
        assert penalty(mixed).dtype == jnp.float64


@both
def test_bad_leaves_and_masks_raise(penalty):
    with pytest.raises(ValueError, match=r"must be real floating-point .* at 'count'"):
        penalty({"count": jnp.arange(3)})
    with pytest.raises(ValueError, match="mask must be a tree of bools"):
        penalty({"a": jnp.ones(3)}, mask={"b": True})
    with pytest.raises(ValueError, match="mask must hold True or False, got 2"):
        penalty({"a": jnp.ones(3)}, mask={"a": 2})

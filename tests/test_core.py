"""The core in detail: paths and masks, norms, packed buffers, the lift of a rule."""

from functools import partial
from typing import Any, NamedTuple

import chex
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optix_tricks as ot
from optix_tricks import _checks as C
from optix_tricks._leafwise import PER_LAYER, leafwise
from optix_tricks._paths import path_name
from optix_tricks._tree import (
    global_norm,
    is_inexact,
    resolve_mask,
    safe_divide,
    safe_sqrt,
    widen,
)

PARAMS = {
    "conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)},
    "head": [jnp.full((3, 1), 2.0), jnp.float32(5.0)],
}
SIZES = jnp.array([0.0, 4.0, 9.0])

# The checks.


def test_the_ends_of_every_range_are_on_their_side():
    largest, tiny = float(jnp.finfo(jnp.float32).max), 1e-30
    of = {
        C.check_number: (
            [0, -largest, largest],
            [2 * largest, np.inf, np.nan, True, "1"],
        ),
        C.check_positive: ([tiny, 0.5, 1, np.inf], [0, 0.0, -tiny, np.nan, None]),
        C.check_nonnegative: ([0, tiny, 0.5], [-tiny, np.inf]),
        C.check_decay: ([0, tiny, 0.999], [-tiny, 1, 1.0, 1.5]),
        C.check_fraction: ([0, tiny, 1, 1.0], [-tiny, 1 + 1e-9]),
        C.check_count: ([0, 1, np.int64(7)], [-1, 1.0, True]),
        partial(C.check_count, minimum=3): ([3, 4], [2]),
    }
    for check, (inside, outside) in of.items():
        for value in inside:
            check("x", value)
        for value in outside:
            with pytest.raises(ValueError, match="x must be"):
                check("x", value)
        if check is not C.check_count and not isinstance(check, partial):
            check("x", lambda count: -1.0)
            jax.vmap(lambda x, check=check: check("x", x))(jnp.array([-1.0, 2.0]))
            for value in [x for x in outside if isinstance(x, float)]:
                with pytest.raises(ValueError, match="x must be"):
                    check("x", np.array(value))
            with pytest.raises(ValueError, match=r"x must be .*got (nan|-inf)"):
                check("x", jnp.float32("nan" if check is C.check_number else "-inf"))


# Paths and masks.


def test_paths_are_written_with_slashes():
    paths = jax.tree_util.tree_flatten_with_path(PARAMS)[0]
    names = [path_name(path) for path, _ in paths]
    assert names == ["conv/bias", "conv/kernel", "head/0", "head/1"]


def test_a_mask_by_path_searches_the_whole_path():
    mask = ot.mask_by_path("kernel$|1")(PARAMS)
    assert mask == {"conv": {"kernel": True, "bias": False}, "head": [False, True]}


def test_a_mask_by_rank_counts_axes():
    mask = ot.mask_by_rank(1)(PARAMS)
    assert mask == {"conv": {"kernel": True, "bias": True}, "head": [True, False]}


@pytest.mark.parametrize("name", ["bias", "scale", "Gamma", "BETA"])
def test_a_stacked_bias_or_norm_is_known_by_its_name(name):
    tree = {name: jnp.ones((4, 8)), "kernel": jnp.ones((4, 8))}
    assert ot.no_bias_or_norm(tree) == {name: False, "kernel": True}


def test_a_b_is_a_bias_beside_a_w_or_if_it_is_no_matrix():
    tree = {
        "beside": {"w": jnp.ones((2, 3)), "b": jnp.ones((2, 3))},
        "alone": {"b": jnp.ones((2, 2))},
        "row": {"b": jnp.ones((1, 5))},
        "c": jnp.ones((1, 5)),
    }
    assert ot.no_bias_or_norm(tree) == {
        "beside": {"w": True, "b": False},
        "alone": {"b": True},
        "row": {"b": False},
        "c": True,
    }


def test_a_norm_is_what_holds_a_leaf_and_not_what_holds_that():
    held = {"norm": {"inner": {"weights": jnp.ones((2, 2))}, "weights": jnp.ones((2, 2))}}
    assert ot.no_bias_or_norm(held) == {
        "norm": {"inner": {"weights": True}, "weights": False}
    }


@pytest.mark.parametrize("names", ["abc", "abcd"])
def test_a_pattern_found_nowhere_names_three_paths(names):
    tree = {name: jnp.ones(2) for name in names}
    more = ", ..." if len(names) > 3 else ""
    message = f"the {len(names)} paths are 'a', 'b', 'c'{more}.".replace(".", "\\.")
    with pytest.warns(UserWarning, match=message + "$"):
        ot.mask_by_path("z")(tree)


def test_only_the_last_part_of_a_path_is_a_name():
    assert ot.no_bias_or_norm({"bias": {"kernel": jnp.ones((2, 2))}})["bias"]["kernel"]


@pytest.mark.parametrize(
    ("mask", "flags"),
    [
        (None, [True] * 4),
        (False, [False] * 4),
        ({"conv": False, "head": [True, False]}, [False, False, True, False]),
        (lambda tree: jax.tree.map(lambda x: x.ndim == 1, tree), [True] + [False] * 3),
        ({"conv": {"kernel": np.bool_(True), "bias": False}, "head": True}, None),
    ],
)
def test_a_mask_is_a_tree_a_prefix_or_a_function(mask, flags):
    flags = [False, True, True, True] if flags is None else flags
    assert resolve_mask(mask, PARAMS) == flags


def test_a_mask_has_a_flag_for_a_leaf_that_is_none():
    assert resolve_mask({"a": True, "b": False}, {"a": None, "b": 1.0}) == [True, False]


def test_a_callable_tree_is_a_mask_and_not_a_function():
    @jax.tree_util.register_pytree_node_class
    class Module:
        def __init__(self, w):
            self.w = w

        def __call__(self, x):
            raise AssertionError("a module of bools must not be called")

        def tree_flatten(self):
            return (self.w,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    assert resolve_mask(Module(True), Module(jnp.ones(2))) == [True]


@pytest.mark.parametrize(
    "mask",
    [
        {"conv": True},
        {"conv": True, "head": [True]},
        {"conv": True, "head": True, "more": True},
        {"conv": {"kernel": {"deeper": True}, "bias": True}, "head": True},
        [True, False],
    ],
)
def test_a_mask_of_another_structure_is_refused(mask):
    with pytest.raises(ValueError, match="mask must be a tree of bools shaped like"):
        resolve_mask(mask, PARAMS)


@pytest.mark.parametrize("flag", [0.5, 1, "x", None, jnp.ones(3, bool), jnp.int32(1)])
def test_a_mask_of_anything_but_true_and_false_is_refused(flag):
    with pytest.raises(ValueError, match="mask must hold True or False, got "):
        resolve_mask({"a": flag}, {"a": jnp.ones(3)})


def test_a_computed_flag_is_taken():
    mask = {"a": jnp.any(jnp.ones(3) > 2), "b": np.bool_(True)}
    assert resolve_mask(mask, {"a": jnp.ones(3), "b": jnp.ones(3)}) == [False, True]


# Norms.


@hypothesis.given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(["float32", "bfloat16", "float16"]),
)
def test_the_global_norm_is_summed_in_float32(x, dtype):
    low = jnp.asarray(x).astype(dtype)
    want = np.linalg.norm(np.asarray(low, np.float64))
    got = global_norm({"a": low[0], "b": [low[1:]]})
    assert got.dtype == jnp.float32
    assert float(got) == pytest.approx(want, rel=1e-6, abs=1e-15)


def test_numbers_are_those_of_sixteen_bits_and_more():
    for dtype in ("float16", "bfloat16", "float32", "complex64"):
        assert is_inexact(jnp.zeros(2, dtype))
    for dtype in ("float8_e4m3fn", "int32", "bool"):
        assert not is_inexact(jnp.zeros(2, dtype))
    assert is_inexact(0.5)
    assert not is_inexact(1)


def test_roots_and_quotients_have_their_slopes_and_none_at_zero():
    np.testing.assert_allclose(jax.vmap(jax.grad(safe_sqrt))(SIZES), [0, 0.25, 1 / 6])
    by_x, by_size = jax.vmap(jax.grad(safe_divide, (0, 1)))(jnp.full(3, 2.0), SIZES)
    np.testing.assert_allclose(by_x, [0, 1 / 4, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(by_size, [0, -2 / 16, -2 / 81], rtol=1e-6)


def test_the_global_norm_of_float64_is_float64():
    with jax.enable_x64(True):
        x = jnp.array([1.0, 1e-12])
        assert global_norm(x - jnp.array([1.0, 0.0])) == pytest.approx(1e-12, rel=1e-12)


def test_the_global_norm_of_nothing_is_zero():
    assert float(global_norm({})) == 0.0


@pytest.mark.parametrize(
    ("given", "wide"),
    [
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_only_half_precision_is_widened(given, wide):
    with jax.enable_x64(True):
        assert widen(jnp.ones(1, given)).dtype == wide


# Packed buffers.

DTYPES = ["float32", "bfloat16", "float16", "int32", "bool"]
arrays = st.builds(
    lambda shape, dtype, seed: jnp.asarray(
        np.random.default_rng(seed).integers(-50, 50, shape)
    ).astype(dtype),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    st.sampled_from(DTYPES),
    st.integers(0, 10**6),
)
names = st.sampled_from(["kernel", "bias", "scale", "w1", "w2", "x"])
trees = st.recursive(
    arrays,
    lambda children: (
        st.dictionaries(names, children, max_size=3)
        | st.lists(children, max_size=3)
        | st.tuples(children, children)
    ),
    max_leaves=6,
)


@hypothesis.given(trees, st.sampled_from([None, ot.no_bias_or_norm, False]))
def test_unpack_gives_back_what_was_packed(tree, mask):
    packed = ot.pack(tree, mask=mask)
    back = ot.unpack(packed)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, tree)
    chex.assert_trees_all_equal(back, tree)


@hypothesis.given(trees)
def test_there_is_one_buffer_for_each_dtype_and_mask_value(tree):
    packed = ot.pack(tree)
    leaves = jax.tree.leaves(tree)
    kinds = {
        (x.dtype, kept)
        for x, kept in zip(leaves, resolve_mask(ot.no_bias_or_norm, tree), strict=True)
    }
    assert len(packed.buffers) == len(kinds)
    assert {b.dtype for b in packed.buffers} == {x.dtype for x in leaves}
    assert sum(b.size for b in packed.buffers) == sum(x.size for x in leaves)
    assert all(b.ndim == 1 for b in packed.buffers)
    assert packed.layout.mask_buffers(ot.no_bias_or_norm) == [
        kept
        for _, kept in dict.fromkeys(
            (x.dtype, kept)
            for x, kept in zip(
                leaves, resolve_mask(ot.no_bias_or_norm, tree), strict=True
            )
        )
    ]


def test_large_arrays_have_a_buffer_of_their_own():
    tree = {"a": jnp.ones((3, 4)), "b": jnp.full((5, 5), 2.0), "c": jnp.zeros((2, 6))}
    packed = ot.pack(tree, mask=None, max_size=12)
    assert sorted(x.size for x in packed.buffers) == [24, 25]
    chex.assert_trees_all_equal(ot.unpack(packed), tree)
    doubled = jax.tree.map(lambda x: 2 * x, tree)
    again = ot.pack_like(doubled, packed)
    assert again.layout == packed.layout
    chex.assert_trees_all_equal(ot.unpack(again), doubled)
    tx = ot.lars(0.1, trust_coefficient=0.1, mask=None)
    updates, _ = tx.update(again, tx.init(packed), packed)
    by_tree, _ = tx.update(doubled, tx.init(tree), tree)
    chex.assert_trees_all_close(ot.unpack(updates), by_tree, rtol=1e-6)


def test_layers_of_one_size_lie_together():
    tree = {
        name: jnp.ones(size) for name, size in zip("abcde", [2, 3, 2, 3, 2], strict=True)
    }
    layout = ot.pack(tree, mask=None).layout
    held = [layout.segments[i] for i in layout.of_buffer(0)]
    sizes = [s.stop - s.start for s in held]
    assert sizes == [2, 2, 2, 3, 3]


@hypothesis.given(trees)
def test_equal_trees_have_equal_layouts_of_equal_hash(tree):
    one, other = ot.pack(tree), ot.pack(jax.tree.map(lambda x: x[...], tree))
    assert one.layout == other.layout
    assert hash(one.layout) == hash(other.layout)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    again = ot.pack_like(tree, one)
    assert again.layout is one.layout
    chex.assert_trees_all_equal(again, one)


@hypothesis.given(trees)
def test_packing_is_the_same_under_jit(tree):
    packed = ot.pack(tree)
    chex.assert_trees_all_equal(jax.jit(ot.pack)(tree), packed)
    chex.assert_trees_all_equal(jax.jit(ot.unpack)(packed), tree)


@pytest.mark.parametrize(
    "change",
    [
        {"conv": {"kernel": jnp.zeros((2, 4)), "bias": jnp.ones(3)}},
        {"conv": {"kernel": jnp.zeros((3, 2)), "bias": jnp.ones(3)}},
        {"head": (jnp.ones((3, 1)), jnp.ones(()))},
        {"head": [jnp.ones((3, 1))]},
        {"more": jnp.ones(1)},
    ],
)
def test_another_shape_or_structure_is_not_packed_alike(change):
    packed = ot.pack(PARAMS)
    with pytest.raises(ValueError, match="structure and shapes that were packed: got"):
        ot.pack_like(PARAMS | change, packed)
    assert ot.pack(PARAMS | change).layout != packed.layout


def test_gradients_of_another_dtype_keep_it():
    packed = ot.pack(PARAMS)
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    grads = ot.pack_like(low, packed)
    assert {b.dtype for b in grads.buffers} == {jnp.dtype(jnp.bfloat16)}
    chex.assert_trees_all_equal(ot.unpack(grads), low)


def test_gradients_through_unpack_are_packed():
    packed = ot.pack(PARAMS)

    def loss(packed):
        return jnp.sum(ot.unpack(packed)["conv"]["kernel"] ** 2)

    grads = jax.grad(loss)(packed)
    assert grads.layout == packed.layout
    want = jax.tree.map(jnp.zeros_like, PARAMS)
    want["conv"]["kernel"] = 2 * PARAMS["conv"]["kernel"]
    chex.assert_trees_all_equal(ot.unpack(grads), want)


def test_one_layout_compiles_once_and_another_again():
    traces = []

    @jax.jit
    def double(packed):
        traces.append(1)
        return jax.tree.map(lambda x: 2 * x, packed)

    packed = double(ot.pack(PARAMS))
    double(packed)
    double(ot.pack(jax.tree.map(lambda x: x + 1, PARAMS)))
    assert len(traces) == 1
    double(ot.pack(PARAMS, mask=None))
    assert len(traces) == 2


def by_rank_and_half(tree):
    """Three labels that no mask of this package tells apart."""
    half = {name: place % 2 for place, name in enumerate(sorted(tree))}
    return {n: f"{half[n]}" if x.ndim > 1 else "short" for n, x in tree.items()}


@pytest.mark.parametrize(
    "tx",
    [
        optax.chain(
            ot.add_decayed_weights(0.1, mask=ot.mask_by_path("[ac]")),
            ot.trace(0.9, mask=ot.mask_by_path("[ab]")),
            ot.scale_by_adam(mask=ot.mask_by_rank(2)),
        ),
        optax.partition(
            {
                "0": ot.adamw(0.1, mask=ot.mask_by_path("[ab]")),
                "1": ot.lars(0.1),
                "short": optax.set_to_zero(),
            },
            ot.per_buffer(by_rank_and_half),
        ),
        optax.chain(
            optax.masked(ot.muon(0.1), ot.mask_by_path("[abc]")),
            optax.masked(optax.scale(0.5), ot.label_by_path({"b": True, "": False})),
        ),
    ],
    ids=["masks", "partition", "masked"],
)
def test_any_chain_is_packed_by_its_own_masks_and_labels(tx):
    rng = np.random.default_rng(0)
    shapes = {"a": (3, 4), "b": (2, 5), "c": (4, 3), "d": (2, 2), "e": (5,), "f": (3,)}
    params, *grads = (
        {
            name: jnp.asarray(rng.standard_normal(s), "float32")
            for name, s in shapes.items()
        }
        for _ in range(3)
    )
    packed = ot.pack(params, tx=tx)
    assert len(packed.buffers) < len(shapes)
    state, packed_state = tx.init(params), tx.init(packed)
    for g in grads:
        updates, state = tx.update(g, state, params)
        flat = ot.pack_like(g, packed)
        flat_updates, packed_state = tx.update(flat, packed_state, packed)
        chex.assert_trees_all_close(ot.unpack(flat_updates), updates, rtol=1e-5)


def test_a_mask_that_divides_a_buffer_is_refused():
    packed = ot.pack(PARAMS, mask=None)
    for tx in (ot.trace(0.9, mask=ot.no_bias_or_norm), ot.scale_by_lars()):
        with pytest.raises(ValueError, match="mask must not divide a packed buffer"):
            tx.init(packed)


def test_links_of_several_masks_share_a_packed_tree():
    tree = {
        "conv": {"kernel": jnp.full((2, 3), 0.5), "bias": jnp.ones(3)},
        "head": {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.ones(2)},
        "mlp": {"kernel": jnp.full((3, 3), 3.0), "bias": None},
    }
    by_default = optax.chain(ot.adaptive_grad_clip(0.01), ot.lars(0.1, weight_decay=0.1))
    only_mlp = ot.mask_by_path("mlp")
    third = optax.chain(by_default, ot.add_decayed_weights(0.1, mask=only_mlp))
    masks = (ot.no_bias_or_norm, ot.no_last_layer, only_mlp)
    for tx, given in ((by_default, {}), (third, {"mask": masks})):
        packed = ot.pack(tree, **given)
        updates, _ = tx.update(packed, tx.init(packed), packed)
        want, _ = tx.update(tree, tx.init(tree), tree)
        chex.assert_trees_all_close(ot.unpack(updates), want, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"several as a tuple, mask=\(no_bias_or_norm, o"
    ):
        third.init(ot.pack(tree))


def test_a_mask_for_packed_parameters_that_are_a_tuple_is_a_tuple_of_bools():
    tree = (jnp.ones(2), jnp.ones(3))
    assert len(ot.pack(tree, mask=(True, False)).buffers) == 2
    assert len(ot.pack(tree, mask=(True, True)).buffers) == 1


def test_a_mask_for_packed_parameters_has_the_structure_of_the_tree():
    packed = ot.pack(PARAMS, mask=ot.mask_by_rank(2))
    tx = ot.trace(0.9, mask=ot.mask_by_rank(2)(PARAMS))
    state = tx.init(packed)
    kept = [not isinstance(b, optax.MaskedNode) for b in state.trace.buffers]
    assert sorted(kept) == [False, True]
    with pytest.raises(ValueError, match="mask must be a tree of bools shaped like"):
        ot.trace(0.9, mask={"conv": True}).init(packed)


def test_layers_of_a_buffer_have_their_own_norms():
    packed = ot.pack({"u": jnp.full((2, 2), 30.0), "v": jnp.full((1, 4), 0.1)})
    updates, state = ot.clip_by_norm(1.0).update(
        packed, ot.clip_by_norm(1.0).init(packed)
    )
    got = ot.unpack(updates)
    np.testing.assert_allclose(got["u"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(got["v"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(state.clip_factor.buffers[0], [1 / 60, 1.0], rtol=1e-6)


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
            elements=st.floats(-10, 10, width=32, allow_subnormal=False),
        ).map(jnp.asarray),
        min_size=1,
    )
)
def test_layers_packed_in_any_order_of_sizes_are_cut_as_in_the_tree(tree):
    tx = ot.clip_by_norm(1.0)
    want, _ = tx.update(tree, tx.init(tree))
    packed = ot.pack(tree, mask=None)
    updates, _ = tx.update(packed, tx.init(packed))
    chex.assert_trees_all_close(ot.unpack(updates), want, rtol=1e-6, atol=1e-7)


def test_packed_layers_of_zero_size_and_scalars_have_norms():
    tree = {"u": jnp.zeros((0, 3)), "v": jnp.float32(3.0), "w": jnp.full(4, 2.0)}
    packed = ot.pack(tree, mask=None)
    tx = ot.clip_by_norm(1.0)
    updates, _ = tx.update(packed, tx.init(packed))
    got = ot.unpack(updates)
    np.testing.assert_allclose(got["v"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(got["w"], 0.5, rtol=1e-6)


# The lift.


class HalfState(NamedTuple):
    count: Any
    hyperparams: Any
    seen: Any
    size: Any
    calls: Any


def half(*, prepare_calls=None, **options):
    """A rule with one slot, one report for each layer and one for the step."""

    def prepare(h, count, gs, ws):
        if prepare_calls is not None:
            prepare_calls.append(len(gs))
        return {"calls": count, "bonus": h["rate"] + 0.0}

    def rule(g, w, seen, size, *, rate, bonus, layer):
        assert g.dtype == seen.dtype == rate.dtype == bonus.dtype
        assert w is None or w.dtype == g.dtype
        return g * rate, seen + g, layer.norm(g)

    return leafwise(
        rule,
        HalfState,
        hyperparams={"rate": 0.5},
        slots={"seen": 1.0, "size": PER_LAYER},
        prepare=prepare,
        reports=["calls"],
        layerwise=True,
        **options,
    )


@pytest.mark.parametrize("of_g", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("of_w", ["float64", "float32", "bfloat16", "float16"])
def test_a_rule_sees_one_wide_dtype_whatever_comes_in(of_g, of_w):
    with jax.enable_x64(True):
        w, g = jnp.ones((2, 3), of_w), jnp.ones((2, 3), of_g)
        tx = half()
        state = tx.init(w)
        updates, after = tx.update(g, state, w)
        assert updates.dtype == of_g
        assert after.seen.dtype == state.seen.dtype == jnp.promote_types(of_w, "float32")
        assert after.size.dtype == state.size.dtype == jnp.float32


def test_slots_start_at_their_value_and_reports_at_zero():
    state = half().init({"u": jnp.zeros(2)})
    np.testing.assert_array_equal(state.seen["u"], 1.0)
    assert float(state.size["u"]) == float(state.calls) == 0.0
    assert int(state.count) == 0


def test_prepare_is_called_once_a_step_with_the_unmasked_leaves_that_have_gradients():
    calls = []
    params = {"u": jnp.ones((2, 2)), "v": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = half(prepare_calls=calls, mask=ot.no_bias_or_norm)
    state = tx.init(params)
    updates, state = tx.update(params | {"v": None}, state, params)
    assert calls == [1]
    assert float(state.calls) == 1.0
    assert updates["v"] is None
    np.testing.assert_array_equal(updates["bias"], 1.0)
    np.testing.assert_array_equal(state.seen["v"], 1.0)
    np.testing.assert_array_equal(state.seen["u"], 2.0)


def test_the_step_count_stops_at_the_largest_integer():
    tx = half()
    last = tx.init(jnp.ones(1))._replace(count=jnp.int32(np.iinfo(np.int32).max))
    _, state = tx.update(jnp.ones(1), last)
    assert int(state.count) == np.iinfo(np.int32).max


def test_parameters_are_asked_for_by_the_name_of_the_state():
    tx = half(needs_params=True)
    with pytest.raises(ValueError, match=r"params must be given.*HalfState"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.int16, jnp.uint8, bool])
def test_a_slot_dtype_that_is_not_offered_is_refused(dtype):
    with pytest.raises(ValueError, match="state_dtype must be None, bfloat16, int8"):
        half(state_dtype=dtype)


def test_state_dtype_is_for_slots_and_not_for_reports():
    state = half(state_dtype="bfloat16").init(jnp.ones((2, 2)))
    assert state.seen.dtype == jnp.bfloat16
    assert state.size.dtype == jnp.float32


@hypothesis.given(st.floats(2.0**-100, 2.0**100, width=32), st.sampled_from([1.0, -1.0]))
def test_dithered_rounding_takes_one_of_the_two_neighbours(x, sign):
    x = np.float32(sign * x)
    tx = half(state_dtype=jnp.bfloat16)
    state = tx.init(jnp.zeros(16))
    g = jnp.full(16, x) - jnp.asarray(state.seen, jnp.float32)
    wide = np.asarray(jnp.float32(state.seen) + g)
    _, after = tx.update(g, state)
    got = np.asarray(after.seen, np.float32)
    bits = wide.view(np.uint32)
    inner = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    outer = ((bits & np.uint32(0xFFFF0000)) + np.uint32(0x10000)).view(np.float32)
    assert ((got == inner) | ((got == outer) & (inner != wide))).all()


@pytest.mark.parametrize("bits", [0, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7FFFFFFF])
def test_dithered_rounding_keeps_zero_infinity_and_nan(bits):
    """The last is a NaN in whose bits a carry would make minus zero."""
    value = np.uint32(bits).view(np.float32)
    tx = half(state_dtype=jnp.bfloat16)
    state = tx.init(jnp.zeros(4))._replace(seen=jnp.zeros(4, jnp.bfloat16))
    _, after = tx.update(jnp.full(4, value), state)
    np.testing.assert_array_equal(np.asarray(after.seen, np.float32), value)


def test_dithered_rounding_averages_to_the_value_over_the_steps():
    """1 + 1/3 of a bfloat16 unit is rounded up in a third of the steps."""
    x = 1 + 2**-7 / 3
    tx = half(state_dtype=jnp.bfloat16)

    def step(state, _):
        _, after = tx.update(jnp.full(8, x), state)
        return after._replace(seen=state.seen), after.seen.astype(jnp.float32)

    state = tx.init(jnp.zeros(8))._replace(seen=jnp.zeros(8, jnp.bfloat16))
    _, stored = jax.lax.scan(step, state, None, length=300)
    ups = np.asarray(stored > 1).mean(axis=0)
    np.testing.assert_allclose(ups, 1 / 3, atol=0.01)


def test_a_state_that_init_did_not_make_is_refused():
    tx = ot.trace(0.9)
    with pytest.raises(ValueError, match=r"state must be a TraceState, got NoneType"):
        tx.update(jnp.ones(2), None)


def test_updates_of_another_structure_are_refused():
    tx, tree = ot.add_decayed_weights(0.1), {"a": jnp.ones(2), "b": jnp.ones(2)}
    with pytest.raises(ValueError, match="updates must have the structure of params"):
        tx.update(None, tx.init(tree), tree)


def test_a_packed_tree_may_hold_none():
    tree = {"a": None, "b": jnp.ones((2, 2)), "c": jnp.ones(3)}
    packed, tx = ot.pack(tree), ot.lars(0.1, momentum=0.9)
    updates, _ = tx.update(packed, tx.init(packed), packed)
    want, _ = tx.update(tree, tx.init(tree), tree)
    chex.assert_trees_all_close(ot.unpack(updates), want, rtol=1e-6)


def test_a_packed_tree_inside_another_is_refused():
    with pytest.raises(ValueError, match="a packed tree must stand alone"):
        ot.sgd(0.1).init({"inside": ot.pack({"a": jnp.ones(3)})})


def test_under_x64_float32_gradients_see_one_rounded_decay():
    with jax.enable_x64(True):
        g = jnp.ones(1, jnp.float32)
        for tx in (ot.scale_by_adam(eps=0.0), ot.ema(0.999)):
            updates, _ = tx.update(g, tx.init(g))
            assert abs(float(updates[0]) - 1) < 3e-7

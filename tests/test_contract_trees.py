"""One network, one answer: masks, groups, draws and updates in every form of its tree."""

import dataclasses
import re
import typing

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict
from nnx_trees import Node

import optix_tricks as ot
from optix_tricks._paths import named_leaves, unbox

RNG = np.random.default_rng(0)


def vector():
    return jnp.asarray(RNG.normal(size=2), jnp.bfloat16)


def matrix():
    return jnp.asarray(RNG.normal(size=(2, 2)), jnp.bfloat16)


# `value` is a layer's name here, as in any attention, and `norm2` spans two axes.
PLAIN = {
    "attention": {"value": {"bias": matrix(), "kernel": matrix()}},
    "blocks": {0: {"bias": vector(), "kernel": matrix()}},
    "head": {"bias": vector(), "kernel": matrix()},
    "norm": {"bias": vector(), "scale": vector()},
    "norm2": {"weight": matrix()},
}
NAMED = PLAIN | {"blocks": {"0": PLAIN["blocks"][0]}}
DECAYED = {"attention/value/kernel", "blocks/0/kernel", "head/kernel"}


def nodes(tree, make):
    """Dicts become what `make` gives, dicts with numbers for keys lists of it."""
    if not isinstance(tree, dict):
        return tree
    below = {name: nodes(x, make) for name, x in tree.items()}
    return list(below.values()) if 0 in below else make(below)


def as_dataclass(fields):
    made = dataclasses.make_dataclass("Layer", fields)
    return jax.tree_util.register_dataclass(made)(**fields)


def as_named_tuple(fields):
    return typing.NamedTuple("Layer", [(name, typing.Any) for name in fields])(**fields)


def partitioned(x):
    kind = nn.Partitioned if x.ndim > 1 else nn.LogicallyPartitioned
    return kind(x, (None,) * x.ndim)


STATE = nnx.state(Node(PLAIN), nnx.Param)
FORMS = {
    "frozen": flax.core.freeze(PLAIN),
    "lists": nodes(PLAIN, dict),
    "dataclass": nodes(PLAIN, as_dataclass),
    "named_tuple": nodes(PLAIN, as_named_tuple),
    "nnx_module": Node(PLAIN),
    "nnx_state": STATE,
    "nnx_pure": nnx.as_pure(STATE),
    "nnx_flat": nnx.to_flat_state(STATE),
    "nnx_flat_dict": dict(nnx.to_flat_state(STATE)),
    "flat_dict": flatten_dict(PLAIN),
    "flat_names": flatten_dict(NAMED, sep="/"),
    "linen_boxes": jax.tree.map(partitioned, PLAIN),
    "packed": ot.pack(PLAIN),
}
KEY = jax.random.key(0)
LABELS = ot.label_by_path({"^attention": 0, "^blocks": 1, "": 2})
LINKS = {
    "adamw": ot.adamw(0.1, weight_decay=0.5, mask=ot.no_bias_or_norm),
    "clip": ot.adaptive_grad_clip(0.1),
    "lars": ot.lars(0.1, weight_decay=0.5),
    "muon": ot.muon(0.1, weight_decay=0.5, ns_steps=1),
    "noise": ot.add_noise(0.1, 0.5, key=KEY),
    "depth": ot.layerwise_learning_rate_decay(0.5, LABELS),
    "rounding": ot.round_stochastically(KEY),
}


def by_name(tree):
    tree = ot.unpack(tree) if isinstance(tree, ot.Packed) else tree
    return {leaf.name: leaf.value for leaf in named_leaves(tree)}


@pytest.mark.parametrize("form", [name for name in FORMS if name != "packed"])
def test_masks_labels_and_tables_are_those_of_the_plain_tree(form):
    tree = FORMS[form]
    assert by_name(tree).keys() == by_name(PLAIN).keys()
    rules = [ot.no_bias_or_norm, ot.no_last_layer, ot.mask_by_rank(2), LABELS]
    rules += [
        ot.hidden_matrices,
        ot.mask_by_path("kernel$"),
        ot.mask_by_path("^attention/value/"),
    ]
    for rule in rules:
        found = rule(tree)
        assert jax.tree.structure(found) == jax.tree.structure(tree)
        assert by_name(found) == by_name(rule(PLAIN))
    assert {name for name, x in by_name(ot.no_bias_or_norm(tree)).items() if x} == DECAYED
    assert ot.group_table(LABELS, tree) == ot.group_table(LABELS, PLAIN)


@pytest.mark.parametrize("form", FORMS)
def test_updates_are_those_of_the_plain_tree(form):
    tree = FORMS[form]
    for name, tx in LINKS.items():
        updates, state = tx.update(tree, tx.init(tree), tree)
        want, plain_state = tx.update(PLAIN, tx.init(PLAIN), PLAIN)
        found = by_name(updates)
        assert found.keys() == by_name(want).keys()
        for path, x in by_name(want).items():
            np.testing.assert_array_equal(found[path], x, err_msg=f"{name} {path}")
        if form != "packed":
            assert ot.report(state) == ot.report(plain_state)


def test_a_mask_of_the_boxed_tree_serves_the_pure_one_and_the_other_way_around():
    pure = unbox(STATE)
    assert jax.tree.structure(pure) == jax.tree.structure(nnx.as_pure(STATE))
    for one, other in ((STATE, pure), (pure, STATE)):
        tx = ot.add_decayed_weights(0.5, mask=ot.no_bias_or_norm(one))
        updates, _ = tx.update(other, tx.init(other), other)
        want, _ = ot.add_decayed_weights(0.5, mask=ot.no_bias_or_norm).update(
            PLAIN, tx.init(other), PLAIN
        )
        for name, x in by_name(want).items():
            np.testing.assert_array_equal(by_name(updates)[name], x)


def test_haikus_names_say_what_is_a_bias_and_what_a_norm():
    """The names and shapes of `haiku.transform(...).init`, stacked layers included."""
    w = jnp.ones
    params = {
        "conv2_d": {"b": w((3, 1, 1)), "w": w((3, 3, 2, 3))},  # channels first
        "batch_norm": {"offset": w((1, 3)), "scale": w((1, 3))},
        "group_norm/~/create": {"offset": w((2, 1, 3)), "scale": w((2, 1, 3))},
        "layer_stack/linear": {"b": w((6, 3)), "w": w((6, 3, 3))},
        "mlp/~/logits": {"b": w(3), "w": w((3, 3))},
        "a_matrix": {"a": w((3, 2)), "b": w((2, 3))},
    }
    decayed = {name for name, x in by_name(ot.no_bias_or_norm(params)).items() if x}
    weights = {"conv2_d/w", "layer_stack/linear/w", "mlp/~/logits/w"}
    assert decayed == weights | {"a_matrix/a", "a_matrix/b"}
    assert not any(ot.no_last_layer(params)["mlp/~/logits"].values())


def test_no_norm_and_no_bias_of_equinox_decays():
    """Norms are known by their class where the path does not say it."""
    eqx = pytest.importorskip("equinox")
    layers = eqx.nn

    def make():
        conv = layers.Conv2d(2, 3, 1, key=KEY)
        return [
            layers.Linear(3, 2, key=KEY),
            layers.LayerNorm((3, 2)),
            layers.Sequential([conv, layers.LayerNorm((3, 4, 4))]),
            layers.MultiheadAttention(2, 4, use_query_bias=True, key=KEY),
            layers.WeightNorm(layers.Linear(3, 2, key=KEY)),
            {
                "ln": {"weight": jnp.ones((2, 3))},
                "table": layers.Embedding(3, 4, key=KEY),
            },
            layers.GRUCell(3, 4, key=KEY),
        ]

    params = eqx.filter(eqx.filter_eval_shape(make), lambda x: hasattr(x, "dtype"))
    decayed = {name for name, x in by_name(ot.no_bias_or_norm(params)).items() if x}
    attention = {f"3/{part}_proj/weight" for part in ("query", "key", "value", "output")}
    assert decayed == attention | {
        "0/weight",
        "2/layers/0/weight",
        "4/layer/weight",
        "5/table/weight",
        "6/weight_hh",
        "6/weight_ih",
    }


NORMS = ["norm", "norm1", "layer_norm", "LayerNorm_0", "bn2", "ln_1", "RMSNorm", "Norm2d"]


@pytest.mark.parametrize("name", NORMS)
def test_what_lies_in_a_norm_does_not_decay(name):
    tree = {name: {"weight": jnp.ones((2, 3))}}
    assert ot.no_bias_or_norm(tree) == {name: {"weight": False}}


@pytest.mark.parametrize("name", ["normal", "NormLinear", "abnormal", "columns", "lnet"])
def test_a_name_that_only_looks_like_a_norm_is_none(name):
    tree = {name: {"weight": jnp.ones((2, 3))}}
    assert ot.no_bias_or_norm(tree) == {name: {"weight": True}}


@pytest.mark.parametrize("tree", [PLAIN, STATE], ids=["plain", "boxed"])
def test_a_pattern_that_is_found_nowhere_is_told(tree):
    few = "the 9 paths are 'attention/value/bias', 'attention/value/kernel', 'blocks/0"
    tx = ot.add_decayed_weights(0.1, mask=ot.mask_by_path("kernels$"))
    with pytest.warns(UserWarning, match=f"'kernels\\$'.*no parameter's path: {few}"):
        tx.init(tree)
    labels = ot.label_by_path({"^haed/": 0, "^block": 1, "bais$": 2, "": 3})
    with pytest.warns(UserWarning, match=re.escape("'^haed/', 'bais$' is found in no")):
        labels(tree)


def test_a_rule_that_sees_a_part_or_no_names_keeps_silent():
    rule = ot.mask_by_path("head")  # warnings are errors here
    parts = {"a": ot.add_decayed_weights(0.1, mask=rule), "b": optax.identity()}
    tx = optax.partition(parts, ot.label_by_path({"^norm": "a", "": "b"}))
    tx.update(PLAIN, tx.init(PLAIN), PLAIN)
    for tree in (jnp.ones(2), {}, None, {"head": None, "norm": jnp.ones(2)}):
        rule(tree)

"""Partial restoring: what is loaded, what is kept, what is refused, and at what rate."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optix_tricks as ot
from optix_tricks.training import (
    CheckpointError,
    Checkpoints,
    ResNet9,
    create_state,
    functional,
    load_params,
    restore_partially,
)


def tree(fill, *, classes=3, dtype=np.float32):
    return {
        "body": {"conv": np.full((2, 2), fill, dtype), "bias": np.full(2, fill, dtype)},
        "head": [np.full((2, classes), fill, dtype), np.full(classes, fill, dtype)],
    }


def model(**options):
    return jax.tree.map(jnp.asarray, tree(0, **options))


def test_all_is_loaded_where_all_fits():
    params, report = restore_partially(model(), tree(1), strict=True)
    chex.assert_trees_all_equal(params, tree(1))
    assert report.loaded == ("body/bias", "body/conv", "head/0", "head/1")
    assert not any(report[1:])


def test_a_head_of_other_classes_is_kept_and_said_so():
    params, report = restore_partially(model(classes=5), tree(1))
    chex.assert_trees_all_equal(params["body"], tree(1)["body"])
    chex.assert_trees_all_equal(params["head"], model(classes=5)["head"])
    assert report.loaded == ("body/bias", "body/conv")
    assert report.mismatched == {"head/0": "(2, 3) to (2, 5)", "head/1": "(3,) to (5,)"}


def test_missing_unexpected_and_skipped():
    loaded = tree(1)
    loaded["extra"] = loaded["body"].pop("bias")
    params, report = restore_partially(model(), loaded, skip="^head/")
    assert report.loaded == ("body/conv",)
    assert report.missing == ("body/bias",)
    assert report.skipped == ("head/0", "head/1")
    assert report.unexpected == ("extra",)
    assert params["body"]["conv"].all()
    assert not params["body"]["bias"].any()
    assert not params["head"][0].any()


def test_renamed_paths_and_dicts_in_place_of_lists():
    """A checkpoint read without its model has names "0" and "1" for a list."""
    loaded = {"net.0": tree(1)["body"], "top": dict(enumerate(tree(1)["head"]))}
    rename = {r"^net\.0/": "body/", "^top/": "head/"}
    params, report = restore_partially(model(), loaded, rename=rename, strict=True)
    chex.assert_trees_all_equal(params, tree(1))
    assert not report.unexpected


def test_the_model_keeps_its_dtypes_and_the_report_says_what_was_cast():
    params, report = restore_partially(model(dtype=jnp.bfloat16), tree(1 / 3))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    np.testing.assert_array_equal(params["head"][1], jnp.full(3, 1 / 3, jnp.bfloat16))
    assert report.cast == dict.fromkeys(report.loaded, "float32 to bfloat16")


def test_the_report_is_a_table():
    loaded = tree(1, dtype=np.float16)
    loaded["extra"] = loaded["body"].pop("bias")
    _, report = restore_partially(model(classes=5), loaded, skip="head/1")
    assert str(report).splitlines() == [
        "body/conv  loaded            float16 to float32",
        "body/bias  kept: not there",
        "head/1     kept: skipped",
        "head/0     kept: shapes      (2, 3) to (2, 5)",
        "extra      not in the model",
    ]


def test_loaded_arrays_are_copied_and_take_the_models_sharding():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    params = {"w": jax.device_put(jnp.zeros(8), sharding), "b": jnp.zeros(2)}
    loaded = {"w": jnp.ones(8), "b": jnp.ones(2)}
    new, _ = restore_partially(params, loaded)
    assert new["w"].sharding == sharding
    assert not new["b"].committed
    jax.tree.map(lambda x: x.delete(), new)  # as a step that donates them does
    assert jax.tree.map(np.sum, loaded) == {"w": 8, "b": 2}


@pytest.mark.parametrize(
    ("loaded", "options", "message"),
    [
        ({"other": np.ones(2)}, {}, r"got none; .* rename:\n(.*\n)*other +not in the m"),
        ({}, {}, "must share a path and its shape with params, got none"),
        (tree(1), {"skip": ""}, "must share a path and its shape with params, got none"),
        (
            tree(1, classes=5),
            {"strict": True},
            r"strict is True, got:(.*\n)*head/0 +kept",
        ),
        (tree(1) | {"more": np.ones(1)}, {"strict": True}, "more +not in the model"),
        ({"body": tree(1)["body"]}, {"strict": True}, "head/0 +kept: not there"),
        (
            tree(1),
            {"rename": {"(conv|bias)": "x"}},
            "rename must .* two called 'body/x', the second from 'body/conv'",
        ),
    ],
)
def test_what_does_not_fit_raises(loaded, options, message):
    with pytest.raises(ValueError, match=message):
        restore_partially(model(), loaded, **options)


def test_no_statistics_are_nothing_to_restore():
    assert restore_partially({}, {})[0] == {}


def resnet9(classes, seed):
    """Parameters and batch statistics, drawn by NumPy."""
    model = nnx.eval_shape(lambda: ResNet9(classes, width=4, rngs=nnx.Rngs(0)))
    _, *shapes = functional(model)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory with two checkpoints, of a network of ten classes."""
    path = tmp_path_factory.mktemp("pretrained")
    params, stats = resnet9(10, seed=1)
    state = create_state(params, stats, optax.adam(0.1), jax.random.key(0))
    with Checkpoints(path / "checkpoints") as checkpoints:
        checkpoints.save(9, state._replace(params=jax.tree.map(jnp.zeros_like, params)))
        checkpoints.save(10, state)
    (path / "checkpoints" / "11.orbax-checkpoint-tmp").mkdir()  # what a crash leaves
    return path, params, stats


def test_a_run_is_read_without_its_model(run):
    path, params, stats = run
    for given in (path, str(path), path / "checkpoints", path / "checkpoints" / "10"):
        loaded = load_params(given)
        chex.assert_trees_all_equal(loaded, {"params": params, "batch_stats": stats})
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(loaded))
    before = load_params(path / "checkpoints" / "9")
    assert not any(x.any() for x in jax.tree.leaves(before["params"]))


def test_relative_paths_dtypes_and_lists(tmp_path, monkeypatch):
    params = {"blocks": [jnp.full(2, 1 / 3, jnp.bfloat16)], "w": jnp.arange(3.0)}
    state = create_state(params, {}, optax.sgd(0.1), jax.random.key(0))
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        checkpoints.save(1, state)
    monkeypatch.chdir(tmp_path)
    loaded = load_params("run")
    assert loaded["batch_stats"] == {}
    start = jax.tree.map(jnp.zeros_like, params)
    restored, _ = restore_partially(start, loaded["params"], strict=True)
    chex.assert_trees_all_equal(restored, params)
    assert restored["blocks"][0].dtype == jnp.bfloat16


def test_no_checkpoint_raises(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(
            CheckpointError, match=f"no complete checkpoint in {path}: gi"
        ):
            load_params(path)


DEPTH = {"^prep/": 0, "^layer1": 1, "^layer2": 2, "^layer3": 3, "^head/": 4}


def test_fine_tuning_at_rates_that_fall_from_a_new_head_down(run):
    """A pretrained body, a head of three classes; each leaf's rate is read off."""
    path, pretrained, pretrained_stats = run
    fresh, stats = resnet9(3, seed=2)
    loaded = load_params(path)
    params, report = restore_partially(fresh, loaded["params"])
    stats, _ = restore_partially(stats, loaded["batch_stats"], strict=True)
    assert report.mismatched == {"head/kernel": "(32, 10) to (32, 3)"}
    assert not report.missing
    assert not report.unexpected
    chex.assert_trees_all_equal(stats, pretrained_stats)
    chex.assert_trees_all_equal(params["head"], fresh["head"])
    assert pretrained.keys() == params.keys()
    for name in params.keys() - {"head"}:
        chex.assert_trees_all_equal(params[name], pretrained[name])

    tx = optax.chain(
        ot.sgd(0.1), ot.layerwise_learning_rate_decay(0.5, ot.label_by_path(DEPTH))
    )
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params), params)
    seen = set()
    for name, branch in updates.items():
        depth = next(d for pattern, d in DEPTH.items() if pattern.strip("^/") in name)
        for update in jax.tree.leaves(branch):
            np.testing.assert_allclose(update, -0.1 * 0.5 ** (4 - depth), rtol=1e-6)
        seen.add(depth)
    assert seen == {0, 1, 2, 3, 4}


def test_values_that_do_not_fit_raise_and_numpy_trees_are_taken():
    params = {"w": jnp.zeros(2, jnp.float16)}
    with pytest.raises(ValueError, match=r"'w' must fit into float16, .* up to 1e\+06"):
        restore_partially(params, {"w": np.array([1.0, 1e6])})
    restored, _ = restore_partially({"w": np.zeros(2, np.float32)}, {"w": np.ones(2)})
    np.testing.assert_array_equal(restored["w"], np.ones(2))

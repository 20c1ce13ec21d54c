"""Checkpoints: of which model they are, how many there are, and whether they fit."""

import json

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from optix_tricks.training import CheckpointError, Checkpoints, RunError, create_state
from optix_tricks.training import _checkpoint as checkpoint
from tests.training.toy_runs import changed, run_whole, toy_dataset


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"width": 4}, "params/head/kernel"), ({"momentum": 0.5}, None)],
)
def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path, changes, name):
    state, _ = run_whole(tmp_path / "run")
    other = changed(**changes).job(toy_dataset())
    like = state._replace(params=other.params, batch_stats=other.batch_stats)
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        if name is None:
            restored = checkpoints.restore(3, like)
            chex.assert_trees_all_equal(restored.params, state.params)
            return
        with pytest.raises(CheckpointError, match=r"another model: .* there and .* here"):
            checkpoints.restore(3, like)


def test_a_checkpoint_that_does_not_fit_is_one_sentence(tmp_path, monkeypatch):
    usage = checkpoint.shutil.disk_usage(tmp_path)
    small = usage._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: small)
    with pytest.raises(RunError, match=r"a checkpoint needs .* MiB and 0\.0 are free"):
        run_whole(tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["kind"] == "test"


def test_the_newest_are_kept(tmp_path):
    state = create_state({"w": jnp.ones(2)}, {}, optax.sgd(0.1), jax.random.key(0))
    with Checkpoints(tmp_path / "a", keep=2) as checkpoints:
        for epoch in (1, 2, 5):
            checkpoints.save(epoch, state._replace(step=jnp.asarray(epoch)))
    with Checkpoints(tmp_path / "a", read_only=True) as checkpoints:
        assert checkpoints.epochs() == [2, 5]
        assert checkpoints.newest_sound() == 5
        assert checkpoints.restore(2, state).step == 2


def test_there_must_be_room_for_two_and_a_megabyte(tmp_path, monkeypatch):
    state = create_state(
        {"w": jnp.ones(2**18)}, {}, optax.sgd(0.1), jax.random.key(0)
    )  # 1 MiB
    rest = 2 * (4 + state.key.size * 8)  # bytes of two steps and keys
    needed = 3 * 2**20 + rest
    usage = checkpoint.shutil.disk_usage(tmp_path)
    with Checkpoints(tmp_path / "a") as checkpoints:
        for free in (needed - 1, needed):
            there = usage._replace(free=free)
            monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _, x=there: x)
            if free == needed:
                checkpoints.save(1, state)
                continue
            with pytest.raises(RunError, match=r"needs 3\.0 MiB and 3\.0 are free"):
                checkpoints.save(1, state)
    assert (tmp_path / "a" / "1").exists()

"""Damaged checkpoints: none is restored, and an older one ends in the same bits."""

import json
import shutil
import threading
import time
import warnings

import chex
import jax
import numpy as np
import optax
import pytest

from optix_tricks.training import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpoint,
    RunDirectory,
    create_state,
    load_params,
    train,
)
from optix_tricks.training._checksums import (
    CHECKSUMS,
    COMMIT,
    METADATA,
    damaged,
    write_checksums,
)
from tests.training.toy_runs import linear_job, start, toy_dataset


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = {x.__name__: x for x in (truncate, empty, flip)} | {
    "delete": lambda p: p.unlink()
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "run"
    with start(path) as run:
        train(linear_job(), toy_dataset(), run)
    return path


def files(directory):
    return sorted(p for p in directory.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", DAMAGES)
def test_any_damage_to_any_file_is_found_and_named(trained, tmp_path, kind):
    """A bit of the list of checksums itself may name the file whose checksum it is."""
    whole = trained / "checkpoints" / "3"
    assert damaged(whole) is None
    names = [path.relative_to(whole) for path in files(whole)]
    assert len(names) > 10
    for i, name in enumerate(names):
        if str(name) == COMMIT:  # Orbax writes it last, and nothing reads it
            continue
        copy = tmp_path / str(i)
        shutil.copytree(whole, copy)
        DAMAGES[kind](copy / name)
        found = damaged(copy)
        assert found is not None, name
        if name.name != CHECKSUMS:
            assert found == name.name


def test_a_run_goes_on_from_an_older_one_to_the_same_end(trained, tmp_path):
    wanted = load_params(trained)
    result = (trained / "result.json").read_text()
    rng = np.random.default_rng(0)
    for i, kind in enumerate(DAMAGES):
        path = tmp_path / str(i)
        shutil.copytree(trained, path)
        broken = files(path / "checkpoints" / "3" / "default")
        DAMAGES[kind](broken[rng.integers(len(broken))])
        said = r"^checkpoint 3 is damaged \(.+\); going on from 2$"
        with pytest.warns(DamagedCheckpoint, match=said):
            assert not np.array_equal(
                load_params(path)["params"]["kernel"], wanted["params"]["kernel"]
            )
        run, *_ = RunDirectory.reopen(path)
        with run, pytest.warns(DamagedCheckpoint, match=said):
            train(linear_job(), toy_dataset(), run, resume=True)
        chex.assert_trees_all_equal(load_params(path), wanted)
        assert damaged(path / "checkpoints" / "3") is None
        without = [
            [line for line in text.splitlines() if "seconds" not in line]
            for text in (result, (path / "result.json").read_text())
        ]
        assert without[0] == without[1]


def test_where_all_are_damaged_each_is_named(trained, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    for epoch in ("2", "3"):
        flip(path / "checkpoints" / epoch / "default" / "manifest.ocdbt")
    wanted = (
        r"no checkpoint .*: 3 is damaged \(manifest.ocdbt\);"
        r" 2 is damaged \(manifest.ocdbt\)\. Put back"
    )
    with pytest.raises(CheckpointError, match=wanted):
        load_params(path)
    with pytest.raises(CheckpointError, match=r"is damaged .*: give another"):
        load_params(path / "checkpoints" / "3")


def test_what_orbax_writes_late_is_waited_for(trained, tmp_path):
    """Its thread may come to the metadata after the rest is there, and by halves."""
    copy = tmp_path / "3"
    shutil.copytree(trained / "checkpoints" / "3", copy)
    whole = (copy / METADATA).read_text()
    early = json.loads(whole) | {"custom_metadata": {}}

    def write_late():
        time.sleep(0.2)
        (copy / METADATA).write_text(whole[: len(whole) // 2])
        time.sleep(0.2)
        (copy / METADATA).write_text(whole)

    (copy / METADATA).write_text(json.dumps(early))
    thread = threading.Thread(target=write_late)
    thread.start()
    write_checksums(copy)
    thread.join()
    assert damaged(copy) is None


def test_one_asked_for_by_number_is_not_exchanged(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    flip(tmp_path / "run" / "checkpoints" / "3" / METADATA)
    job = linear_job()
    like = create_state(job.params, {}, job.tx, jax.random.key(0))
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.is_sound(2)
        assert not checkpoints.is_sound(3)
        assert not checkpoints.is_sound(4)
        with pytest.raises(CheckpointError, match=r"checkpoint 3 is damaged \(_CHECK"):
            checkpoints.restore(3, like)


def test_what_an_earlier_version_wrote_is_read_unchecked(trained, tmp_path):
    """It has neither checksums nor a word of them."""
    copy = tmp_path / "3"
    shutil.copytree(trained / "checkpoints" / "3", copy)
    (copy / CHECKSUMS).unlink()
    assert damaged(copy) == CHECKSUMS
    said = (copy / METADATA).read_text().replace('"checksums"', '"other"')
    (copy / METADATA).write_text(said)
    assert damaged(copy) is None


def test_a_sharded_state_has_checksums_too(tmp_path):
    mesh = jax.make_mesh((8,), ("data",))
    place = jax.NamedSharding(mesh, jax.P("data"))
    params = {"w": jax.device_put(np.arange(64.0, dtype=np.float32), place)}
    state = create_state(params, {}, optax.adam(0.1), jax.random.key(0))
    with Checkpoints(tmp_path / "a") as checkpoints:
        checkpoints.save(1, state)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert checkpoints.newest_sound() == 1
        chex.assert_trees_all_equal(checkpoints.restore(1, state).params, params)
    flip(max(files(tmp_path / "a" / "1" / "default"), key=lambda p: p.stat().st_size))
    assert damaged(tmp_path / "a" / "1") is not None

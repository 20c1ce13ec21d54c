"""Several processes over loopback: they train as one, end together, and go on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optix_tricks.training import RunDirectory, load_dataset, sweep, train
from optix_tricks.training import _hosts as hosts
from optix_tricks.training._checksums import damaged
from optix_tricks.training._hosts import HostsError, connect, differences
from tests.cli.command import run as run_command
from tests.training.pictures import SIZE, picture_job, write_folder
from tests.training.toy_runs import start, toy_dataset
from tests.training.wide import calm_job, numbers

ROOT = Path(__file__).parents[2]
EPOCHS = 12


def begun(path, *words, each=2, processes=2):
    """Start processes of `each` devices that train together; words of the last differ."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [x for x in os.environ["XLA_FLAGS"].split() if "device_count" not in x]
    flags.append(f"--xla_force_host_platform_device_count={each}")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": " ".join(flags)}
    words, last = [x for x in words if "!" not in x], [x for x in words if "!" in x]
    started = []
    for i in range(processes):
        of_it = [x.replace("!", "") for x in last] if i == processes - 1 else []
        address = f"127.0.0.1:{port}"
        command = ["tests.training.hosts", path, address, processes, i, *words, *of_it]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def ended(processes, timeout=120):
    """Exit codes and what was said, once all have ended."""
    said = [process.communicate(timeout=timeout)[1] for process in processes]
    return [process.returncode for process in processes], said


def rows_of(path):
    return [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]


def wait_for_epochs(path, number, processes):
    checkpoints = path / "checkpoints"
    for _ in range(12000):
        if (checkpoints / str(number)).exists():
            return
        assert all(process.poll() is None for process in processes), ended(processes)
        time.sleep(0.01)
    raise AssertionError(f"no epoch {number} within two minutes")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    with start(path) as run:
        train(calm_job(epochs=EPOCHS), toy_dataset(), run)
    return rows_of(path)


def same(path, alone):
    for ours, theirs in zip(numbers(rows_of(path)), numbers(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)


def resumed(path, **places):
    with RunDirectory.reopen(path)[0] as run:
        train(calm_job(epochs=EPOCHS), toy_dataset(), run, resume=True, **places)


def test_two_processes_are_one_end_together_and_go_on_in_one(tmp_path, alone):
    """A signal reaches one of them; both save after the same step, one writes a trace."""
    path = tmp_path / "run"
    processes = begun(path, f"epochs={EPOCHS}", "layout=fsdp", "profile=1")
    wait_for_epochs(path, 1, processes)
    processes[1].send_signal(signal.SIGTERM)
    codes, said = ended(processes)
    ends = [text.strip().splitlines()[-1] for text in said]
    assert all("Stopped:  after step" in end and "is saved" in end for end in ends), said
    assert ends[0] == ends[1]
    assert codes == [1, 1]  # of Python, for an exception; the command's is 143
    step = int(ends[0].partition("after step ")[2].partition(",")[0])
    saved = path / "checkpoints-within" / str(step)
    assert damaged(saved) is None
    listed = json.loads((saved / "checksums.json").read_text())["files"]
    on_disk = {str(x.relative_to(saved)) for x in saved.rglob("d/*")}
    assert on_disk
    assert on_disk <= listed.keys()
    assert len([*path.glob("profile/**/*.xplane.pb")]) == 1
    resumed(path, devices=8, layout="zero1")
    same(path, alone)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "each"), [(2, 2), (4, 1)])
def test_processes_that_lose_one_end_soon_and_start_again(
    tmp_path, alone, processes, each
):
    path = tmp_path / "run"
    started = begun(path, f"epochs={EPOCHS}", each=each, processes=processes)
    wait_for_epochs(path, 1, started)
    started[-1].kill()
    begin = time.monotonic()
    codes, said = ended(started)
    assert time.monotonic() - begin < 3 * hosts.HEARTBEAT
    assert 0 not in codes
    assert any("another process of the run is gone" in text for text in said), said
    assert any(f"--resume {path}" in text for text in said)
    codes, said = ended(begun(path, f"epochs={EPOCHS}", each=each, processes=processes))
    assert codes == [0] * processes, said
    same(path, alone)
    assert (path / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stream", [1, 0])
def test_two_processes_read_their_parts_of_pictures_and_are_one(tmp_path, stream):
    folder = write_folder(tmp_path / "pictures")
    path, one = tmp_path / "run", tmp_path / "one"
    job = picture_job(batch_size=8)
    data = load_dataset(folder, stream=bool(stream), image_size=SIZE)
    with start(one) as run:
        train(job, data, run)
    words = [f"folder={folder}", f"stream={stream}", "batch_size=8"]
    codes, said = ended(begun(path, *words))
    assert codes == [0, 0], said
    for mine, theirs in zip(rows_of(path), rows_of(one), strict=True):
        named = mine.keys() - {"kind", "seconds", "input_wait"}
        ours, theirs = ([row[name] for name in sorted(named)] for row in (mine, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)


def test_processes_that_were_started_otherwise_do_not_begin(tmp_path):
    codes, said = ended(begun(tmp_path / "run", "seed=1", "seed=2!"))
    assert 0 not in codes
    for text in said:
        match = (
            "process 1 was started otherwise than process 0: seed is 2 and not 1. Start"
        )
        assert match in text
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_what_differs_is_named_field_by_field():
    first = {"jax": "0.10.2", "seed": 0, "data.train.inputs": "[80], CRC 1"}
    other = {"jax": "0.11.2", "seed": 0, "width": 4}
    assert differences(first, other) == [
        "data.train.inputs is absent and not [80], CRC 1",
        "jax is 0.11.2 and not 0.10.2",
        "width is 4 and not absent",
    ]


def test_a_coordinator_that_is_not_there_or_no_address():
    begin = time.monotonic()
    match = r"no process listens at the coordinator 127\.0\.0\.1:9 after 1 s"
    with pytest.raises(HostsError, match=match):
        connect("127.0.0.1:9", 2, 1, wait=1)
    with pytest.raises(HostsError, match="must be HOST:PORT, got 'here'"):
        connect("here", 2, 1)
    assert time.monotonic() - begin < 10


def test_processes_that_come_in_vain_end_in_a_sentence(tmp_path):
    code = "from optix_tricks.training._hosts import connect; connect(*{}, wait=1)"
    for where, said in (
        ("('127.0.0.1:0', 2, 0)", "error: not all of 2 processes came within 1 s: start"),
        ("()", "HostsError: no cluster is found here (Slurm, Open MPI, Kubernetes, a"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(where)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stderr


def test_what_wants_one_process_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    match = r"a sweep runs in one process, which may have several devices, got 2: start"
    options = {"settings": jnp.ones(1), "seeds": [0], "data": toy_dataset().train}
    with pytest.raises(HostsError, match=match):
        sweep(lambda *x: x, lambda *x: x, epochs=1, batch_size=1, **options)
    for command in ("lr-find", "diagnose run", "evaluate"):
        code, _, err = run_command(capsys, *command.split(), "x", "--distributed")
        assert code == 2
        said = f"{command} runs in one process, which may have several devices: leave"
        assert said in err


def test_the_command_over_hosts_wants_a_cluster_or_all_three_words(capsys):
    words = ["train", "digits", "--coordinator", "127.0.0.1:9"]
    code, _, err = run_command(capsys, *words)
    assert code == 2
    assert "--coordinator, --processes and --process stand together" in err

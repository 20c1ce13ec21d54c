"""Several processes, one a host, that train together: they meet, agree and part.

Nothing here does more than `jax.distributed`, but to say in a sentence what went wrong.
"""

import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from optix_tricks.training._run_directory import RunError

WAIT = 60  # seconds for the others to come, at the start
HEARTBEAT = 20  # seconds after which a process that says nothing is taken for dead
PARTING = 60  # seconds for the others to end, once one has


class HostsError(RunError):
    """Processes that do not meet, or do not agree; one sentence with the way out."""


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    wait: int = WAIT,
) -> None:
    """Join the other processes; before any other use of JAX.

    Args:
      coordinator: HOST:PORT of process 0, which opens it; None asks the cluster: Slurm,
        Open MPI, Kubernetes' JobSet or a TPU pod.
      processes: how many; of the cluster if None.
      process: this one's number, from 0; of the cluster if None.
      wait: seconds for all to come.

    Raises:
      HostsError: if there is no cluster, or nobody listens at the coordinator in time. A
        process that waits for others in vain ends with exit code 1 and a sentence: JAX
        would abort it, at length.
    """
    if coordinator is not None and process:
        _reach(coordinator, wait)
    late = threading.Timer(wait, _give_up, [processes, wait])
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=wait + PARTING,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PARTING,
        )
    except ValueError as error:
        raise HostsError(
            "no cluster is found here (Slurm, Open MPI, Kubernetes, a TPU pod): give"
            " --coordinator HOST:PORT, --processes N and --process I on each host"
            f" ({str(error).rstrip('.')})."
        ) from error
    finally:
        late.cancel()


def is_first() -> bool:
    """Whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


def together(name: str) -> None:
    """Wait for all processes to come to this place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first(x: Any) -> Any:
    """Return the first process's numbers, of all who give some of the same shape."""
    return x if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(x)


def told_by_first(text: str) -> str:
    """Return the first process's text."""
    if jax.process_count() == 1:
        return text
    size = int(from_first(np.int32(len(text.encode()))))
    sent = text.encode().ljust(size)[:size]
    return bytes(from_first(np.frombuffer(sent, np.uint8))).decode()


def check_agreement(said: Mapping[str, Any]) -> None:
    """Raise in every process unless all say the same.

    Args:
      said: by field; what JSON can hold.

    Raises:
      HostsError: names the first process that differs from process 0 and each field.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(said, sort_keys=True, default=str).encode()
    digest = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)
    digests = multihost_utils.process_allgather(digest)
    if (digests == digests[0]).all():
        return
    sizes = multihost_utils.process_allgather(np.int32(len(text)))
    padded = np.frombuffer(text.ljust(int(sizes.max())), np.uint8)
    texts = multihost_utils.process_allgather(padded)
    all_said = [json.loads(bytes(each)) for each in texts]
    for number, theirs in enumerate(all_said):
        if found := differences(all_said[0], theirs):
            raise HostsError(
                f"process {number} was started otherwise than process 0: "
                f"{'; '.join(found)}. Start all with the same words, files and versions."
            )


def differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Say of each field that differs what it is there and here.

    >>> differences({"jax": "0.10.2", "seed": 0}, {"jax": "0.10.2", "seed": 1})
    ['seed is 1 and not 0']
    """
    names = sorted(first.keys() | other.keys())
    pairs = [(x, first.get(x, "absent"), other.get(x, "absent")) for x in names]
    return [f"{name} is {b} and not {a}" for name, a, b in pairs if a != b]


def refuse_hosts(what: str) -> None:
    """Raise unless this process is alone.

    Raises:
      HostsError: names what wants one process.
    """
    if (n := jax.process_count()) > 1:
        raise HostsError(
            f"{what} runs in one process, which may have several devices, got {n}: start"
            " it on one host, without --distributed."
        )


@contextmanager
def lost_explained(path: Any) -> Iterator[None]:
    """Say so where another process is gone, as far as JAX lets this one say it.

    Raises:
      HostsError: with the way to go on.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        first = str(error).splitlines()[0]
        raise HostsError(
            f"another process of the run is gone ({first[:160]}): start all of them again"
            f" with --resume {path}."
        ) from error


def _give_up(processes: int | None, wait: int) -> None:
    sys.stderr.write(
        f"error: not all{f' of {processes}' if processes else ''} processes came within"
        f" {wait} s: start all, with the same --coordinator and --processes, and see that"
        " its port is open.\n"
    )
    sys.stderr.flush()
    os._exit(1)


def _reach(coordinator: str, wait: int) -> None:
    """See that somebody listens there, since JAX says it late and at length."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise HostsError(f"--coordinator must be HOST:PORT, got {coordinator!r}.")
    until = time.monotonic() + wait
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise HostsError(
                    f"no process listens at the coordinator {coordinator} after {wait} s"
                    f" ({error.strerror or error}): start process 0 there, and see that"
                    " the port is open."
                ) from error
            time.sleep(0.2)

"""The collectives of a compiled program: how many, and the bytes that devices send."""

import re
from math import prod
from typing import NamedTuple

from optix_tricks.ahead._program import Instruction, Program, arrays

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
CONTEXT = "u32[]"  # in that of a collective-permute-start


class Collective(NamedTuple):
    """Those of one kind."""

    kind: str
    number: int
    bytes: int  # of their results, on one device
    sent: int  # by one device, where each goes around a ring; see `ring_bytes`


def collectives(program: Program) -> tuple[Collective, ...]:
    """Count those of all computations; one in a loop's body counts once.

    A TPU hides a collective behind a chain of fusions, each of which has it in its text:
    what is of one channel is one.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    seen = set()
    for each in (each for lines in program.computations.values() for each in lines):
        kind = each.opcode.removesuffix("-start")
        channel = re.search(r"channel_id=(\d+)", each.rest)
        name = channel[1] if channel else each.name
        if kind in KINDS and name not in seen:
            seen.add(name)
            size = _size(each, kind)
            sent = ring_bytes(kind, size, _group(each, program.devices))
            found.setdefault(kind, []).append((size, sent))
    return tuple(
        Collective(kind, len(pairs), *map(sum, zip(*pairs, strict=True)))
        for kind, pairs in found.items()
    )


def ring_bytes(kind: str, size: int, devices: int) -> int:
    """Return what a device sends, of a collective over n devices around a ring.

        all-reduce            2 (n - 1) / n · size
        all-gather            (n - 1) / n · size
        reduce-scatter        (n - 1) · size, of the piece that a device is left with
        all-to-all            (n - 1) / n · size
        collective-permute    size

    No algorithm lets a device send less for the first three.

    Args:
      kind: of these.
      size: bytes of the result on one device.
      devices: n.

    Source: "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    Patarasuk and Yuan, 2009.
    """
    if kind == "collective-permute":
        return size
    if kind == "reduce-scatter":
        return (devices - 1) * size
    rounds = 2 if kind == "all-reduce" else 1
    return rounds * (devices - 1) * size // devices


def _size(each: Instruction, kind: str) -> int:
    """Bytes of the results; of a -start's tuple the second half, where operands lead."""
    sizes = [size for *_, size in arrays(each.shape.replace(CONTEXT, ""))]
    if each.opcode.endswith("-start") and kind != "all-reduce":
        sizes = sizes[len(sizes) // 2 :]
    return sum(sizes)


def _group(each: Instruction, devices: int) -> int:
    """How many devices exchange with each other, in any of XLA's three notations."""
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", each.rest):
        return int(found[1])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", each.rest):
        return found[1].count(",") + 1
    if found := re.search(r"replica_groups=mesh\[(.*?)\] *\{(.*?)\}", each.rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])
        return prod(int(part or sizes[axis]) for axis, part in parts)
    return devices

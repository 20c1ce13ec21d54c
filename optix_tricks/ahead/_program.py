"""XLA's text of a compiled program, read: its kernels, and the bytes that they move."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

BITS = {
    **dict.fromkeys(("pred", "s8", "u8", "f8e4m3fn", "f8e5m2"), 8),
    **dict.fromkeys(("s16", "u16", "f16", "bf16"), 16),
    **dict.fromkeys(("s32", "u32", "f32"), 32),
    **dict.fromkeys(("s64", "u64", "f64", "c64"), 64),
}
ARRAY = re.compile(rf"\b({'|'.join(BITS)})\[([0-9,]*)\](\{{[^}}]*\}})?")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all"}
MOVES = {"copy-start", "slice-start"}  # between memories, while something else runs
SLICES = {"slice", "dynamic-slice", "gather"}
ON_CHIP = "S(1)"  # of a layout: vector memory


class Instruction(NamedTuple):
    """A line of a computation."""

    name: str
    shape: str
    opcode: str
    rest: str  # after the opening bracket

    @property
    def operands(self) -> list[str]:
        """Names of the arguments."""
        return re.findall(r"%([\w.\-]+)", re.split(r"\), |metadata=", self.rest)[0])

    @property
    def called(self) -> str | None:
        """The computation that a fusion stands for."""
        found = re.search(r"calls=%?([\w.\-]+)", self.rest)
        return found[1] if found else None


class Kernel(NamedTuple):
    """What the host launches, or the chip runs in turn."""

    name: str
    opcode: str
    bytes: int  # read and written in main memory
    shape: str


class Program(NamedTuple):
    """The computations of a module by name, which of them is run, and on how many."""

    computations: dict[str, list[Instruction]]
    entry: str
    devices: int


def read_program(text: str) -> Program:
    """Read what `compiled.as_text()` returns."""
    found: dict[str, list[Instruction]] = {}
    lines, entry = [], ""
    for line in text.splitlines():
        if line[:1].strip() and line.rstrip().endswith("{"):
            head = re.match(r"(ENTRY )?%?([\w.\-]+)", line)
            assert head is not None
            lines = found[head[2]] = []
            entry = head[2] if head[1] else entry
        elif match := INSTRUCTION.match(line):
            lines.append(Instruction(*match.groups()))
    split = re.search(r"num_partitions=(\d+)", text.partition("\n")[0])
    return Program(found, entry, int(split[1]) if split else 1)


def main_memory(shape: str) -> Iterator[tuple[str, int, int]]:
    """Type, axes and bytes of each array in a piece of text, but those on the chip."""
    return arrays(shape, without=ON_CHIP)


def arrays(shape: str, *, without: str | None = None) -> Iterator[tuple[str, int, int]]:
    """Type, axes and bytes of each array in a piece of text."""
    for dtype, given, layout in ARRAY.findall(shape):
        if without is None or without not in layout:
            sizes = [int(size) for size in given.split(",") if size]
            yield dtype, len(sizes), math.prod(sizes) * BITS[dtype] // 8


def size_of(shape: str) -> int:
    """Bytes in main memory of all arrays in a piece of the text."""
    return sum(size for *_, size in main_memory(shape))


def kernels(program: Program) -> list[Kernel]:
    """Return the instructions of the entry computation that do something.

    A kernel's bytes are its operands' and its results'; of an operand that a fusion only
    slices, the slices'. A loop's body counts once.
    """
    entry = program.computations[program.entry]
    sizes = {each.name: size_of(each.shape) for each in entry}
    return [
        Kernel(each.name, each.opcode, _moved(program, each, sizes), each.shape)
        for each in entry
        if each.opcode not in FREE and not each.opcode.endswith("-done")
    ]


def _moved(program: Program, each: Instruction, sizes: dict[str, int]) -> int:
    if each.opcode in MOVES:
        return max((size for *_, size in main_memory(each.shape)), default=0)
    sliced = _slices(program.computations.get(each.called or "", []))
    read = sum(
        min(sliced.get(i, sizes[name]), sizes[name])
        for i, name in enumerate(each.operands)
        if name in sizes
    )
    return size_of(each.shape) + read


def _slices(fused: list[Instruction]) -> dict[int, int]:
    """Bytes of the slices of those parameters that are only sliced."""
    users = defaultdict(list)
    for each in fused:
        for name in each.operands:
            users[name].append(each)
    found = {}
    for each in fused:
        if each.opcode != "parameter":
            continue
        number = int(each.rest.split(")")[0])
        of_it = users[each.name]
        if of_it and all(user.opcode in SLICES for user in of_it):
            found[number] = sum(size_of(user.shape) for user in of_it)
    return found

"""What a compiled program costs, as far as the compiler's own text tells."""

from typing import Any, NamedTuple

import jax

from optix_tricks.ahead._collectives import Collective, collectives
from optix_tricks.ahead._program import Kernel, kernels, main_memory, read_program

SMALL = 200_000  # bytes: of a kernel that takes no longer than its launch
ACTIVATION = 10_000_000  # bytes: more than parameters and statistics have


class Facts(NamedTuple):
    """Of one device's program. Nothing has run."""

    kernels: int
    small_kernels: int  # under 200 kB
    fusions: int
    bytes: int  # that kernels read and write in main memory
    float32_activations: int  # arrays of four axes, over 10 MB, written by fusions
    collectives: tuple[Collective, ...]
    arguments: int  # bytes
    outputs: int
    aliased: int  # of the outputs, in place of donated arguments
    temporaries: int

    @property
    def memory(self) -> int:
        """Bytes that the program needs at once."""
        return self.arguments + self.outputs - self.aliased + self.temporaries


def compiled_facts(compiled: jax.stages.Compiled) -> Facts:
    """Read a compiled program: its kernels, their bytes, collectives and memory.

    Bytes are the operands and results of each kernel, counted from XLA's text; of what a
    kernel only slices, the slices. A loop's body counts once.

    Args:
      compiled: what `jax.jit(f).lower(...).compile()` returns, for any platform.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> x = jnp.ones((512, 512))
      >>> facts = compiled_facts(jax.jit(lambda x: 2 * x + 1).lower(x).compile())
      >>> facts.kernels, facts.bytes == 2 * x.nbytes, facts.memory == 2 * x.nbytes
      (1, True, True)
    """
    program = read_program(compiled.as_text() or "")
    found = kernels(program)
    memory: Any = compiled.memory_analysis()
    return Facts(
        kernels=len(found),
        small_kernels=sum(each.bytes < SMALL for each in found),
        fusions=sum(each.opcode == "fusion" for each in found),
        bytes=sum(each.bytes for each in found),
        float32_activations=sum(map(_written_in_float32, found)),
        collectives=collectives(program),
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
    )


def _written_in_float32(kernel: Kernel) -> int:
    if kernel.opcode != "fusion":
        return 0
    return sum(
        dtype == "f32" and axes == 4 and size > ACTIVATION
        for dtype, axes, size in main_memory(kernel.shape)
    )

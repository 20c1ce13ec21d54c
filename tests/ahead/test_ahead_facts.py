"""Kernels, bytes, memory and collectives of small programs, against counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from optix_tricks.ahead import Collective, compiled_facts

N = 1 << 16


def compiled(function, *arguments, **options):
    return jax.jit(function, **options).lower(*arguments).compile()


def test_one_fused_loop_reads_its_operand_and_writes_its_result():
    x = jax.ShapeDtypeStruct((N,), jnp.float32)
    facts = compiled_facts(compiled(lambda x: jnp.sin(x) * 2 + 1, x))
    assert (facts.kernels, facts.bytes, facts.small_kernels) == (1, 2 * 4 * N, 0)
    assert (facts.arguments, facts.outputs, facts.aliased) == (4 * N, 4 * N, 0)
    assert facts.memory == 2 * 4 * N + facts.temporaries
    assert facts.collectives == ()


def test_a_donated_argument_counts_once():
    x = jax.ShapeDtypeStruct((N,), jnp.float32)
    facts = compiled_facts(compiled(lambda x: x + 1, x, donate_argnums=0))
    assert facts.aliased == 4 * N
    assert facts.memory == 4 * N + facts.temporaries


def test_of_a_slice_only_the_slice_is_read():
    x = jax.ShapeDtypeStruct((16, N), jnp.float32)
    facts = compiled_facts(compiled(lambda x: jnp.sin(x[3]) + 1, x))
    assert facts.bytes == 2 * 4 * N


def test_all_reduces_of_a_mesh_are_counted_with_their_bytes():
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((8, N), jnp.float32, sharding=split)
    whole = NamedSharding(mesh, PartitionSpec())
    facts = compiled_facts(compiled(lambda x: x.sum(0), x, out_shardings=whole))
    assert facts.collectives == (Collective("all-reduce", 1, 4 * N, 7 * N),)
    assert facts.arguments == 4 * N  # of one device


def test_what_is_gathered_is_sent_once_around_the_ring():
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((4 * N,), jnp.float32, sharding=split)
    whole = NamedSharding(mesh, PartitionSpec())
    facts = compiled_facts(compiled(lambda x: x + 1, x, out_shardings=whole))
    assert facts.collectives == (Collective("all-gather", 1, 16 * N, 12 * N),)

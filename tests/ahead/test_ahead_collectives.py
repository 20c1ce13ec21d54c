"""Collectives in XLA's text as CPUs, GPUs and TPUs have it, against sums by hand."""

import pytest

from optix_tricks.ahead._collectives import collectives, ring_bytes
from optix_tricks.ahead._program import read_program

TEXT = """\
HloModule jit_step, is_scheduled=true, num_partitions=8

%wrapped (x: f32[64]) -> f32[8] {
  %x = f32[64]{0} parameter(0)
  ROOT %rs = f32[8]{0} reduce-scatter(%x), replica_groups=[1,8]<=[8], dimensions={0}
}

ENTRY %main (x: f32[64], y: bf16[8]) -> f32[64] {
  %x = f32[64]{0} parameter(0)
  %y = bf16[8]{0} parameter(1)
  %sum = (f32[64]{0}, f32[]) all-reduce(%x, %c), replica_groups={}, to_apply=%add
  %two = f32[64]{0} all-reduce-start(%x), replica_groups={{0,1},{2,3},{4,5},{6,7}}
  %done = f32[64]{0} all-reduce-done(%two)
  %begun = (bf16[8]{0}, bf16[32]{0}) all-gather-start(%y), replica_groups=[2,4]<=[8]
  %ab = ((f32[4], f32[2]), (f32[8], f32[4])) all-gather-start(%a), replica_groups={{0,1}}
  %mesh = f32[16]{0} all-gather(%y), channel_id=7, replica_groups=mesh['a'=4,'b'=2] {'b'}
  %again = f32[16]{0} all-gather(%y), channel_id=7, replica_groups=mesh['a'=4,'b'=2] {'b'}
  %part = f32[16]{0} all-gather(%y), channel_id=8, replica_groups=mesh['a'=8] {'a':(1)4}
  %sent = (f32[64]{0}, f32[64]{0}, u32[], u32[]) collective-permute-start(%x)
  %piece = ((f32[64]{0}), f32[8]{0}) reduce-scatter-start(%x), replica_groups={}
  %parts = ((f32[64]{0}), f32[8]{0}, s32[]) async-start(%x), calls=%wrapped
  ROOT %end = f32[64]{0} copy(%done)
}
"""


def test_each_kind_is_counted_with_its_result_and_what_a_ring_sends():
    assert collectives(read_program(TEXT)) == (
        ("reduce-scatter", 2, 2 * 32, 2 * 7 * 32),
        ("all-reduce", 2, 260 + 256, 2 * 260 * 7 // 8 + 256),
        ("all-gather", 4, 64 + 48 + 2 * 64, 48 + 24 + 32 + 48),
        ("collective-permute", 1, 256, 256),
    )


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(devices):
    size = 4096
    halves = (
        ring_bytes("reduce-scatter", size // devices, devices),
        ring_bytes("all-gather", size, devices),
    )
    assert ring_bytes("all-reduce", size, devices) == sum(halves)
    assert ring_bytes("all-to-all", size, devices) == halves[1]
    assert ring_bytes("all-reduce", size, 1) == 0

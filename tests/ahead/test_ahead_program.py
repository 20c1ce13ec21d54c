"""The reader of XLA's text on text written by hand, with what only accelerators have."""

from optix_tricks.ahead._program import arrays, kernels, read_program, size_of

TEXT = """\
HloModule jit_step, is_scheduled=true

%fused (param_0: f32[8,128], param_1: s32[]) -> f32[1,128] {
  %param_0 = f32[8,128]{1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  ROOT %slice = f32[1,128]{1,0} dynamic-slice(%param_0, %param_1, %param_1), metadata={}
}

ENTRY %main (x: f32[8,128], i: s32[]) -> (f32[1,128], bf16[8,128]) {
  %x = f32[8,128]{1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %fusion.1 = f32[1,128]{1,0:T(1,128)} fusion(%x, %i), kind=kLoop, calls=%fused
  %fast = f32[8,128]{1,0:T(8,128)S(1)} copy(%x)
  %start = (f32[8,128]{1,0:S(1)}, f32[8,128]{1,0}, u32[]{:S(2)}) copy-start(%x)
  %done = f32[8,128]{1,0:S(1)} copy-done(%start)
  %convert = bf16[8,128]{1,0:T(8,128)(2,1)} convert(%fast)
  ROOT %out = (f32[1,128]{1,0}, bf16[8,128]{1,0}) tuple(%fusion.1, %convert)
}
"""


def test_sizes_leave_out_what_is_on_the_chip():
    assert size_of("(f32[2,3]{1,0}, bf16[4]{0:S(1)}, pred[], s8[5])") == 24 + 1 + 5


def test_arrays_are_those_on_the_chip_too():
    found = [*arrays("(f32[2,3]{1,0}, bf16[4]{0:S(1)})")]
    assert found == [("f32", 2, 24), ("bf16", 1, 8)]


def test_kernels_have_the_bytes_of_main_memory():
    found = {each.name: each.bytes for each in kernels(read_program(TEXT))}
    assert found == {
        "fusion.1": 512 + 512 + 4,  # the slice, not the array
        "fast": 4096,  # read; what is written lies on the chip
        "start": 4096,
        "convert": 2048,
    }

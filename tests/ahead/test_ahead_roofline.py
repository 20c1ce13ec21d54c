"""The bound, by hand."""

from optix_tricks.ahead import Facts, roofline
from optix_tricks.training import CHIPS, Chip, chip_of

FACTS = Facts(1, 0, 1, 600, 0, (), 0, 0, 0, 0)


def test_the_slower_of_arithmetic_and_memory_decides():
    chip = Chip(flops=100.0, bandwidth=200.0, memory=1e3)
    found = roofline(FACTS, 200.0, chip)
    assert (found.arithmetic, found.transfer) == (2.0, 3.0)
    assert (found.seconds, found.bound) == (3.0, "memory")
    found = roofline(FACTS, 400.0, chip)
    assert (found.seconds, found.bound) == (4.0, "arithmetic")


def test_a_device_is_known_by_the_name_of_its_kind_or_not_at_all():
    assert chip_of("TPU v5 lite") == CHIPS["v5e"]
    assert chip_of("cpu") is None

"""The bound, by hand."""

import pytest

from optix_tricks.ahead import Collective, Facts, roofline, target_chip
from optix_tricks.training import CHIPS, Chip, chip_of

FACTS = Facts(1, 0, 1, 600, 0, (), 0, 0, 0, 0)


CHIP = Chip(flops=100.0, bandwidth=200.0, memory=1e3, links=10.0)


def test_the_slowest_of_arithmetic_memory_and_network_decides():
    found = roofline(FACTS, 200.0, CHIP)
    assert found == (2.0, 3.0, 0.0)
    assert (found.seconds, found.bound, found.serial) == (3.0, "memory", 5.0)
    found = roofline(FACTS, 400.0, CHIP)
    assert (found.seconds, found.bound) == (4.0, "arithmetic")
    sent = Collective("all-reduce", 3, 40, 60), Collective("all-gather", 1, 20, 15)
    found = roofline(FACTS._replace(collectives=sent), 400.0, CHIP)
    assert (found.exchange, found.bound, found.serial) == (7.5, "network", 14.5)


@pytest.mark.parametrize(
    ("target", "gigabytes"),
    [
        ("v5e:2x2", 100),  # two of four ports
        ("v5e:8x8", 100),
        ("v5e:8x16", 150),
        ("v5e:16x16", 200),
        ("v6e:16x16", 400),
        ("v5p:2x2x1", 200),  # two of six
        ("v5p:2x2x2", 300),
        ("v5p:4x4x4", 600),
        ("v5p:4x4x2", 300),
        ("v5e", 100),
        ("h100:8", 450),
        ("h100:16", 400),
        ("h100", 450),
    ],
)
def test_a_target_uses_the_links_of_its_shape(target, gigabytes):
    chip = target_chip(target)
    assert chip.links == pytest.approx(gigabytes * 1e9)
    assert chip._replace(links=0) == CHIPS[target.partition(":")[0]]._replace(links=0)


def test_a_target_that_is_none_has_no_chip():
    with pytest.raises(ValueError, match=r"target must be h100, .*got 'a100'\.$"):
        target_chip("a100")


def test_a_device_is_known_by_the_name_of_its_kind_or_not_at_all():
    assert chip_of("TPU v5 lite") == CHIPS["v5e"]
    assert chip_of("cpu") is None

"""The chip of a target, with as many of its links as the target's shape uses."""

from optix_tricks.ahead._devices import SMALLEST, kind_and_shape
from optix_tricks.training import CHIPS, Chip

AXES = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2}  # of the torus; two ports each
MACHINE = 8  # GPUs that NVLink joins
NETWORK = MACHINE * 50e9  # bytes/s of a machine's eight adapters of 400 Gbit/s


def target_chip(target: str) -> Chip:
    """Return what a target's chip does, `links` being those that can be used at once.

    A ring over all chips goes at the pace of a corner's. Along an axis that closes, each
    chip has two ports, and along one that does not those at its ends have one: axes of 16
    of a v5e or v6e close, and of a v4 or v5p all where each is a multiple of 4. More than
    eight H100 are machines of eight, with an adapter of 400 Gbit/s for each: eight rings
    leave a machine by one of them each, at the pace of all eight together.

    Args:
      target: as in `compile_only_devices`, which says what there is.

    Raises:
      ValueError: if there is no such target.

    Examples:
      >>> target_chip("v5e:4x4").links / target_chip("v5e:16x16").links
      0.5

    Source: "System architecture" of each version, cloud.google.com/tpu/docs; "NVIDIA DGX
    H100 User Guide".
    """
    kind, shape = kind_and_shape(target)
    chip = CHIPS[kind]
    if kind not in AXES:
        count = int(shape or 1)
        return chip._replace(links=NETWORK) if count > MACHINE else chip
    sizes = [int(size) for size in (shape or SMALLEST[kind]).split("x")]
    ports = sum(_ports(kind, sizes, size) for size in sizes)
    return chip._replace(links=chip.links * max(ports, 1) / (2 * AXES[kind]))


def _ports(kind: str, sizes: list[int], size: int) -> int:
    if size == 1:
        return 0
    is_flat = AXES[kind] == 2
    closes = size == 16 if is_flat else all(n % 4 == 0 for n in sizes)
    return 2 if closes else 1

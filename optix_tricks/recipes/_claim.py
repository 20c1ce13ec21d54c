"""What every recipe says of its result."""

from typing import NamedTuple


class Claim(NamedTuple):
    """A result that was measured, where it comes from, and what it costs."""

    result: str  # number, spread, n
    source: str  # author, title, year
    cost: str  # time and device

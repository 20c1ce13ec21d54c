"""`optix-tricks tricks`."""

import dataclasses

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._options import UsageError, parsed
from optix_tricks.cli._positional import Name


@dataclasses.dataclass(frozen=True)
class TricksOptions:
    """Which."""

    name: Name = None
    """of one trick, whose card is shown; all if not given"""
    debug: bool = False
    """show the traceback of an error"""


CAPTION = (
    "By the slot that they fill. Points: change in test accuracy by the trick alone, with"
    " its 95 % interval; optix-tricks tricks NAME says on what it was measured."
)


def tricks(arguments: list[str]) -> None:
    """List all tricks by slot, or show the card of one."""
    name = parsed(TricksOptions, "tricks", tricks.__doc__, arguments).name
    from optix_tricks.tricks import (
        SLOTS,
        TRICKS,
        card,
        find_trick,
        measured_effects,
        summary,
    )

    if name is not None:
        try:
            print(card(find_trick(name)))
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        return
    effects = measured_effects()
    table = Table("trick", "what it does", "points", "numbers", caption=CAPTION)
    for slot in SLOTS:
        those = [each for each in TRICKS.values() if each.slots[0] == slot]
        if those:
            table.add_row(f"[italic]{slot}")
        for each in those:
            numbers = ", ".join(f"{name} {x}" for name, x in each.numbers)
            name = f"[bold]{each.name}"
            points = effects[each.name].interval if each.name in effects else ""
            table.add_row(name, summary(each), points, numbers)
        if those:
            table.add_section()
    Console().print(table)

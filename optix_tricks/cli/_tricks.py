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


def tricks(arguments: list[str]) -> None:
    """List all tricks by slot, or show the card of one."""
    name = parsed(TricksOptions, "tricks", tricks.__doc__, arguments).name
    from optix_tricks.tricks import SLOTS, TRICKS, card, find_trick, summary

    if name is not None:
        try:
            print(card(find_trick(name)))
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        return
    table = Table("slot", "trick", "what it does", "numbers")
    for slot in SLOTS:
        those = [each for each in TRICKS.values() if each.slots[0] == slot]
        for i, each in enumerate(those):
            numbers = ", ".join(f"{name} {x}" for name, x in each.numbers)
            name = f"[bold]{each.name}"
            table.add_row("" if i else slot, name, summary(each), numbers)
        if those:
            table.add_section()
    Console().print(table)

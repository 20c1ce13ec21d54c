"""`optix-tricks tricks`."""

from rich.console import Console
from rich.table import Table

from optix_tricks.cli._options import UsageError


def tricks(arguments: list[str]) -> None:
    """List all tricks by slot, or show the card of one."""
    from optix_tricks.tricks import SLOTS, TRICKS, card, find_trick, summary

    names = [argument for argument in arguments if argument != "--debug"]
    if len(names) > 1:
        raise UsageError(f"tricks takes one name or none, got {' '.join(names)}.")
    if names:
        try:
            print(card(find_trick(names[0])))
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

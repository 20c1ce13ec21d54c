"""`optix-tricks show`."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ShowOptions:
    """What is shown."""

    debug: bool = False
    """show the traceback of an error"""


def show(arguments: list[str]) -> None:
    """Print what a recipe and flags come to."""
    from optix_tricks.cli._settings import settings_of

    settings, _ = settings_of("show", arguments, ShowOptions)
    print(settings.setup.describe())

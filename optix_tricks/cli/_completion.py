"""`optix-tricks completion`: the script by which a shell completes commands and flags."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import tyro

from optix_tricks.cli._options import parsed


@dataclasses.dataclass(frozen=True)
class CompletionOptions:
    """For which shell."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """bash:  source <(optix-tricks completion bash)
    zsh:  source <(optix-tricks completion zsh)
    fish:  optix-tricks completion fish | source"""
    debug: bool = False
    """show the traceback of an error"""


def completion(arguments: list[str]) -> None:
    """Print the script that lets a shell complete commands, flags, choices and tricks."""
    options = parsed(CompletionOptions, "completion", completion.__doc__, arguments)
    with contextlib.suppress(SystemExit):  # once it is printed
        tyro.extras.subcommand_cli_from_dict(
            {name: _taking(kind) for name, kind in _kinds().items()},
            prog="optix-tricks",
            args=["--tyro-print-completion", options.shell],
        )


def _kinds() -> dict[str, Any]:
    """The options of each command; a recipe's own numbers are not known here."""
    from optix_tricks.cli import COMMANDS
    from optix_tricks.cli._settings import Changes, any_recipe
    from optix_tricks.tricks import TRICKS

    trick: Any = Literal[tuple(TRICKS)]
    changes = _choosing(Changes, added=tuple[trick, ...], removed=tuple[trick, ...])
    kinds: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        kind = command.load(command.options)
        first, _, second = name.partition(" ")
        if second:
            kind = Annotated[kind, tyro.conf.subcommand(second)]
            kind = kinds[first] | kind if first in kinds else kind
        kinds[first] = any_recipe(kind, changes) if command.of_recipe else kind
    return kinds


def _choosing(kind: Any, **choices: Any) -> Any:
    """The same options, some of them from a list."""
    fields = []
    for each in dataclasses.fields(kind):
        said = getattr(each.type, "__metadata__", ())
        chosen = choices.get(each.name)
        of_list = Annotated[(chosen, *said)] if chosen else each.type
        fields.append((each.name, of_list, dataclasses.field(default=each.default)))
    return dataclasses.make_dataclass(kind.__name__, fields)


def _taking(kind: Any) -> Callable[..., None]:
    def command(options: Any) -> None:
        del options

    command.__annotations__["options"] = Annotated[kind, tyro.conf.arg(name="")]
    return command

"""The page of the command line: each command has its heading, and each option is one."""

import dataclasses
import re
from pathlib import Path

import pytest

from optix_tricks import cli
from optix_tricks.cli._settings import OF_DATA
from optix_tricks.studies._weight_norm import Config
from optix_tricks.tricks import TRICKS
from optix_tricks.tricks._setup import OF_RUN

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"
SECTIONS = dict(
    re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", PAGE.read_text(), re.MULTILINE)
)
LINE = re.compile(r"optix-tricks ((?:diagnose )?[a-z-]+)")
OPTION = re.compile(r"(?<![\w-])--([a-z][\w.-]*)")

CHANGES = {"with", "without", "from", "config"}
NUMBERS = {number for each in TRICKS.values() for number, _ in each.numbers}
DOTTED = {f"{each.name}.{n}" for each in TRICKS.values() for n, _ in each.numbers}
BESIDE = {  # what a command reads by itself, or a card says of `train`
    "tricks": {"with"},
    "compile": {"for"},
    "ablate": {"resume", "no_costs"},
    "sweep": {"resume"},
    "diagnose weight-norm": {"resume", *(x.name for x in dataclasses.fields(Config))},
}


def options_of(name):
    command = cli.COMMANDS[name]
    own = {field.name for field in dataclasses.fields(command.load(command.options))}
    if command.of_recipe:
        own |= CHANGES | NUMBERS | DOTTED | {*OF_RUN, *OF_DATA}
    return {x.replace("_", "-") for x in own | BESIDE.get(name, set())}


def test_each_command_has_its_heading_and_a_line_that_gives_it():
    assert [*SECTIONS] == [*cli.COMMANDS]
    for name, text in SECTIONS.items():
        assert re.search(rf"^\$ optix-tricks {name}\b", text, re.MULTILINE), name


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_option_of_the_page_exists(name):
    for line in SECTIONS[name].splitlines():
        given = LINE.search(line)
        of = given[1] if given and given[1] in cli.COMMANDS else name
        for option in OPTION.findall(line):
            assert option in options_of(of), (of, line)


def test_an_option_that_is_none_is_found():
    assert "validation" in options_of("train")
    assert "validatoin" not in options_of("train")
    assert OPTION.findall("`--run-dir DIR` -x --a.b=1 a--c") == ["run-dir", "a.b"]

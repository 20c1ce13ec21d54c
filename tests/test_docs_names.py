"""The documents name everything that is public.

Which name has to stand where:

- every name of a room's `__all__`: an entry in docs/api;
- a transformation or a schedule: a docstring with equation, example, source and when it
  helps, which its entry shows;
- a function of losses, augmentation, layers and initialisers: the same and its cost;
- a trick: a card, made when the site is built from the docstring behind it;
- a recipe: a heading of docs/recipes.md;
- a command and its own options: docs/api/commands.md. What a recipe or a study adds is
  told by `--help`.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import optix_tricks
from optix_tricks import (
    augment,
    cli,
    initializers,
    layers,
    losses,
    schedules,
    training,
    transforms,
)
from optix_tricks.cli._settings import OF_DATA
from optix_tricks.recipes import RECIPES
from optix_tricks.studies._weight_norm import Config
from optix_tricks.tricks import TRICKS
from optix_tricks.tricks._registry import FAMILIES
from optix_tricks.tricks._setup import OF_RUN

ROOT = Path(__file__).parents[1]


SHELF = [losses, augment, layers, initializers]
PACKAGES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(optix_tricks.__path__, "optix_tricks.")
    if found.ispkg and "._" not in found.name
]
ROOMS = [optix_tricks, *(room for room in PACKAGES if hasattr(room, "__all__"))]


def test_a_package_without_public_names_is_one_of_two():
    without = {room.__name__ for room in PACKAGES} - {room.__name__ for room in ROOMS}
    assert without == {f"optix_tricks.{name}" for name in ("cli", "compat")}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(room):
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "api").glob("*.md"))
    entries = set(re.findall(r"^::: (.*)$", pages, re.MULTILINE))
    for name in room.__all__:
        where = room.__name__
        # dynamics and the package itself show what their inner rooms have
        shown = {f"{where}.{name}", f"{where.rpartition('.')[0]}.{name}"}
        assert shown & entries, name


def test_the_reference_names_nothing_that_is_gone():
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for entry in re.findall(r"^::: (.*)$", page.read_text(), re.MULTILINE):
            room, _, name = entry.rpartition(".")
            assert name in importlib.import_module(room).__all__, entry


def test_every_recipe_has_a_heading():
    headings = re.findall(
        r"^## (.*)$", (ROOT / "docs" / "recipes.md").read_text(), re.MULTILINE
    )
    named = {name for heading in headings for name in heading.split(", ")}
    assert named >= RECIPES.keys()


COMMANDS = {  # as typed, and whose fields --help shows beside the command's own options
    "show digits": None,
    "compile digits": None,
    "train digits": None,
    "train --resume run": None,
    "runs": None,
    "report": None,
    "lr-find digits": None,
    "evaluate": None,
    "predict": None,
    "export": None,
    "diagnose run": None,
    "diagnose curvature": None,
    "diagnose weight-norm": Config,
    "diagnose weight-norm --resume run": None,
}


CHANGES = ("with", "without", "from", "config")  # of `Changes`; stand with train


def options_of(command, capsys):
    """The flags that `--help` shows."""
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    flag = r"^[ │]+(--[a-z][a-z-]*)(?![.\w-])"  # a trick's number has a dot
    shown = re.findall(flag, capsys.readouterr().out, re.MULTILINE)
    assert "--debug" in shown
    return set(shown)


def test_every_command_has_its_usage_and_its_options(capsys):
    text = (ROOT / "docs" / "api" / "commands.md").read_text()
    cli.main(["--help"])
    assert f"```\n{capsys.readouterr().out}```\n" in text
    sections = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", text, re.MULTILINE))
    assert {*sections} == {*cli.COMMANDS}
    for command, settings in COMMANDS.items():
        name = next(name for name in sections if command.startswith(name))
        fields = [] if settings is None else dataclasses.fields(settings)
        of_run = (*OF_RUN, *OF_DATA, *CHANGES) if "digits" in command else ()
        names = [*(field.name for field in fields), *of_run]
        shown = {f"--{name.replace('_', '-')}" for name in names}
        for option in options_of(command, capsys) - shown:
            assert f"`{option}" in sections[name], (command, option)


FACTORIES = [getattr(schedules, name) for name in schedules.__all__]
for name in transforms.__all__:
    public = getattr(transforms, name)
    is_function = inspect.isfunction(public)
    if is_function and "GradientTransformation" in str(inspect.signature(public)):
        FACTORIES.append(public)


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_docstring_has_equation_example_source_and_when_it_helps(factory):
    doc = inspect.getdoc(factory)
    head, args, rest = doc.partition("\n\nArgs:\n")
    equation = r":math:|math::|^    .*[=:] "  # a schedule's stands indented, as text
    assert args
    assert re.search(equation, head, re.MULTILINE)
    assert re.search(r"\b(Helps|Hurts|Does little)\b", head)
    assert ">>> " in rest
    assert re.search(r"^(References:\n|Source: )", rest, re.MULTILINE)


# Tools to read a model, and named tuples of results, need no equation and no source.
TOOLS = {"layer_outputs", "named_layers"}
SHELF_NAMES = [
    (room, name)
    for room in SHELF
    for name in room.__all__
    if name not in TOOLS and not hasattr(getattr(room, name), "_fields")
]


@pytest.mark.parametrize(("room", "name"), SHELF_NAMES, ids=lambda x: str(x))
def test_what_is_on_a_shelf_says_when_it_helps_its_cost_and_its_source(room, name):
    public = getattr(room, name)
    if not public.__module__.startswith("optix_tricks"):
        return  # JAX's own: zeros, ones and constant
    doc = inspect.getdoc(public)
    assert re.search(r"\b(Helps|Hurts|Does little)\b", doc)
    for part in ("Cost:", "Args:\n", ">>> ", "Source: "):
        assert part in doc, part
    assert "\n\n    " in doc.partition("\n\nArgs:\n")[0]  # the equation


def test_around_a_training_what_helps_says_whose_it_is():
    docs = {name: inspect.getdoc(getattr(training, name)) for name in training.__all__}
    for name in ("early_stopping", "policy", "hint_loss", "refresh_batch_statistics"):
        for part in ("Helps", "Cost:", "Beside others: ", "Source: "):
            assert part in docs[name], (name, part)


@pytest.fixture(scope="module")
def cards():
    """The text of each card, by the name of its trick."""
    spec = importlib.util.spec_from_file_location("cards", ROOT / "docs" / "cards.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    links = made.Links()
    pages = {family: made.page_of(family, links) for family in FAMILIES}
    pattern = r"^## `(\w+)`\n\n(.*?)(?=^## |\Z)"
    found = [
        card
        for page in pages.values()
        for card in re.findall(pattern, page, re.MULTILINE | re.DOTALL)
    ]
    assert len(found) == len(dict(found))
    return dict(found)


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_has_a_card_with_all_its_fields(name, cards):
    card = cards[name]
    line, *_ = card.splitlines()
    assert len(line) > 10
    assert "```text\n" in card or ".. math::" in card or ":math:" in line
    rows = re.findall(r"^- \*\*(.*?)\*\* \S", card, re.MULTILINE)
    assert {"Take", "Fills", "Cost", "Source"} <= {*rows}
    assert {"Helps", "Hurts", "Does little"} & {*rows}
    numbers = re.findall(r"^    - `(\w+)=.*`: \S", card, re.MULTILINE)
    assert numbers == [number for number, _ in TRICKS[name].numbers]


def test_every_family_of_tricks_is_in_the_menu():
    menu = (ROOT / "docs" / "mkdocs.yml").read_text()
    in_it = re.findall(r": cards/(\w+)\.md$", menu, re.MULTILINE)
    assert in_it == list(FAMILIES)

"""The documents name everything that is public.

Which name has to stand where:

- every name of a room's `__all__`: an entry in docs/api;
- a transformation or a schedule: a docstring with equation, example, source and when it
  helps, which its entry shows;
- a trick of losses, augmentation, layers and initialisers, and what of training says when
  it helps and has a source: a card in docs/cards with all its fields;
- a recipe: a heading of docs/recipes.md;
- a command and its own options: docs/api/commands.md. What a recipe or a study adds is
  told by `--help`.
"""

import dataclasses
import importlib
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
from optix_tricks.recipes import RECIPES
from optix_tricks.studies._weight_norm import Config

ROOT = Path(__file__).parents[1]


SHELF = [losses, augment, layers, initializers]
PACKAGES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(optix_tricks.__path__, "optix_tricks.")
    if found.ispkg and "._" not in found.name
]
ROOMS = [optix_tricks, *(room for room in PACKAGES if hasattr(room, "__all__"))]


def test_a_package_without_public_names_is_one_of_three():
    without = {room.__name__ for room in PACKAGES} - {room.__name__ for room in ROOMS}
    assert without == {f"optix_tricks.{name}" for name in ("cli", "compat", "recipes")}


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
    "train digits": RECIPES["digits"].Config,
    "lr-find digits": RECIPES["digits"].Config,
    "diagnose run": None,
    "diagnose curvature": None,
    "diagnose weight-norm": Config,
    "diagnose weight-norm --resume run": None,
}


def options_of(command, capsys):
    """The flags that `--help` shows."""
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    shown = re.findall(r"^[ │]+(--[a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE)
    assert "--debug" in shown
    return set(shown)


def test_every_command_has_its_usage_and_its_options(capsys):
    text = (ROOT / "docs" / "api" / "commands.md").read_text()
    cli.main(["--help"])
    assert f"```\n{capsys.readouterr().out}```\n" in text
    sections = dict(re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", text, re.MULTILINE))
    assert {name.partition(" ")[0] for name in sections} == cli.COMMANDS.keys()
    for command, settings in COMMANDS.items():
        name = next(name for name in sections if command.startswith(name))
        fields = [] if settings is None else dataclasses.fields(settings)
        shown = {f"--{field.name.replace('_', '-')}" for field in fields}
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


# Tools to read a model, and named tuples of results, are no tricks and need no card.
TOOLS = {"layer_outputs", "named_layers"}
SHELF_NAMES = [
    (room, name)
    for room in SHELF
    for name in room.__all__
    if name not in TOOLS and not hasattr(getattr(room, name), "_fields")
]
FIELDS = [
    "Equation",
    "Source",
    "Defaults",
    "Cost",
    "Helps",
    "Does nothing or hurts",
    "Interactions",
    "Measured effect",
]


def cards():
    """The text under each heading of the pages of cards, by the names in it."""
    found = {}
    for page in (ROOT / "docs" / "cards").glob("*.md"):
        for heading, text in re.findall(
            r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            for name in re.findall(r"`(\w+)`", heading):
                assert name not in found, f"{name} has two cards"
                found[name] = text
    return found


def around_training():
    """Functions of `training` that say when they help and whose they are."""
    found = {name: getattr(training, name) for name in training.__all__}
    docs = {n: inspect.getdoc(x) for n, x in found.items() if inspect.isfunction(x)}
    return {n for n, doc in docs.items() if "Source: " in doc and "Helps" in doc}


def test_every_trick_has_a_card_with_all_its_fields():
    there = cards()
    assert around_training() >= {"early_stopping", "policy", "hint_loss"}
    wrappers = {"dynamic_loss_scale", "master_weights"}  # what a precision needs
    assert {name for _, name in SHELF_NAMES} | around_training() <= there.keys()
    assert wrappers <= there.keys()
    for name, text in there.items():
        fields = re.findall(r"^- \*\*(.*?)\*\*:", text, re.MULTILINE)
        assert fields == FIELDS, name


@pytest.mark.parametrize(("room", "name"), SHELF_NAMES, ids=lambda x: str(x))
def test_a_trick_of_ours_says_when_it_helps_its_cost_and_its_source(room, name):
    public = getattr(room, name)
    if not public.__module__.startswith("optix_tricks"):
        return  # flax's or JAX's own
    doc = inspect.getdoc(public)
    assert re.search(r"\b(Helps|Hurts|Does little|Useless)\b", doc)
    for part in ("Cost: ", "Args:\n", ">>> ", "Source: "):
        assert part in doc, part

"""The documents: their code runs, and they name everything that is public."""

import inspect
import re
from pathlib import Path

import jax
import pytest

import optix_tricks
from benchmarks import readme_table
from optix_tricks import (
    augment,
    dynamics,
    initializers,
    layers,
    losses,
    reports,
    schedules,
    studies,
    testing,
    training,
    transforms,
)
from optix_tricks.compat import tf1
from optix_tricks.compat import torch as torch_names

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/how-to-choose.md",
    "docs/contract.md",
    "docs/numerics.md",
    "docs/porting.md",
    "docs/speed.md",
    "docs/cards/precision.md",
    "docs/diagnostics/diagnosis.md",
    "docs/diagnostics/learning-rate.md",
    "docs/diagnostics/critical-points.md",
    "docs/diagnostics/curvature.md",
    "docs/diagnostics/layers.md",
    "docs/diagnostics/batch-size.md",
    "docs/diagnostics/weight-norms.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as readers have it
        for block in blocks:
            exec(compile(block, page, "exec"), names)


SHELF = [losses, augment, layers, initializers]


ROOMS = [optix_tricks, schedules, *SHELF, dynamics, torch_names, tf1]
ROOMS += [training, reports, studies, testing]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(room):
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "api").glob("*.md"))
    for name in room.__all__:
        assert f"::: {room.__name__}.{name}\n" in pages, name


@pytest.mark.parametrize("page", readme_table.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_results(page):
    text = page.read_text()
    assert "<!-- " in text
    assert text == readme_table.filled(text)


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tree_of_the_readme_is_the_tree_of_the_package():
    readme = (ROOT / "README.md").read_text()
    package = ROOT / "optix_tricks"
    rooms = [p for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"]
    for path in [*rooms, *(p for p in package.glob("*.py") if p.name != "__main__.py")]:
        assert path.name in readme, path.name


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


AROUND_TRAINING = {
    "policy",
    "dynamic_loss_scale",
    "master_weights",
    "early_stopping",
    "refresh_batch_statistics",
    "greedy_layerwise",
    "hint_loss",
    "restore_partially",
}


def test_every_trick_has_a_card_with_all_its_fields():
    there = cards()
    assert {name for _, name in SHELF_NAMES} | AROUND_TRAINING <= there.keys()
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

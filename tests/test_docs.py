"""The documents: their code runs, and they name everything that is public."""

import re
from pathlib import Path

import pytest

import optix_tricks
from benchmarks import readme_table
from optix_tricks import augment, losses, schedules

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/index.md", "docs/numerics.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("room", [optix_tricks, schedules, losses, augment])
def test_every_public_name_is_in_the_reference(room):
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "api").glob("*.md"))
    for name in room.__all__:
        assert f"::: {room.__name__}.{name}\n" in pages, name


def test_the_tables_of_the_readme_are_those_of_the_results():
    readme = (ROOT / "README.md").read_text()
    assert readme == readme_table.filled(readme)


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tree_of_the_readme_is_the_tree_of_the_package():
    readme = (ROOT / "README.md").read_text()
    package = ROOT / "optix_tricks"
    rooms = [p for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"]
    for path in [*rooms, *(p for p in package.glob("*.py") if p.name != "__main__.py")]:
        assert path.name in readme, path.name

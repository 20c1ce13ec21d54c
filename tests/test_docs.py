"""The documents: their code runs block by block, tables and links are what they say."""

import re
import textwrap
import tomllib
from pathlib import Path

import jax
import pytest
import yaml

import optix_tricks
from benchmarks import readme_table
from optix_tricks.tricks._registry import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
MADE = [ROOT / "docs" / "cards" / f"{family}.md" for family in FAMILIES]  # with the site
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_of_a_page_runs_by_itself(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    for block in BLOCK.finditer(text):
        above = text[: block.start(2)].count("\n")  # so that a traceback names the line
        code = compile("\n" * above + textwrap.dedent(block[2]), page, "exec")
        with jax.numpy_rank_promotion("allow"):  # as readers have it
            exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize("page", readme_table.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_results(page):
    text = page.read_text()
    assert "<!-- " in text
    assert text == readme_table.filled(text)


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                path = (page.parent / target).resolve()
                assert path.exists() or path in MADE, f"{page.name}: {target}"


def test_the_tree_of_the_readme_is_the_tree_of_the_package():
    readme = (ROOT / "README.md").read_text()
    package = ROOT / "optix_tricks"
    rooms = [p for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"]
    for path in [*rooms, *(p for p in package.glob("*.py") if p.name != "__main__.py")]:
        assert path.name in readme, path.name


def test_the_citation_and_the_newest_entry_of_the_changelog_are_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (.+)$", (ROOT / "docs/changelog.md").read_text(), re.M)[1]
    cited = yaml.safe_load((ROOT / "docs/CITATION.cff").read_text())
    assert newest == project["version"] == optix_tricks.__version__ == cited["version"]
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # required
    assert cited["authors"] == project["authors"]
    assert cited["license"] == project["license"]

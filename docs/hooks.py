"""What mkdocs makes of this site beyond its pages: cards, formulas, names to search."""

from cards import Links, page_of
from everyday import everyday_names
from formulas import FormulasOfDocstrings, in_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from optix_tricks.tricks._registry import FAMILIES


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let Markdown read the formulas of docstrings."""
    config.markdown_extensions.append(FormulasOfDocstrings())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page of cards for each family of tricks."""
    links = Links()
    for family in FAMILIES:
        page = f"cards/{family}.md"
        files.append(File.generated(config, page, content=page_of(family, links)))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the formulas."""
    return in_mathml(html, page.file.src_path)


@event_priority(50)  # before the search writes its index
def on_post_build(config: MkDocsConfig) -> None:
    """Let the search lead from everyday names to where they lead in the glossary."""
    index = config.plugins["material/search"].search_index
    index.entries = everyday_names(index.entries)

"""Figures as files, written whole and through no link."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from optix_tricks._files import own_directory, replace_file


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure as a PNG; its directory is made if it is absent.

    Args:
      figure: what is drawn.
      path: of the file; neither it nor its directory may lead elsewhere by a link.
      **options: of `Figure.savefig`, such as `dpi`.

    Raises:
      OSError: if it cannot be written.

    Examples:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_figure(Figure(), Path(folder, "figures", "none.png"), dpi=50)
      ...     print(*(path.name for path in Path(folder).rglob("*.png")))
      none.png
    """
    own_directory(path.parent)
    content = io.BytesIO()
    figure.savefig(content, format="png", **options)
    replace_file(path, content.getvalue())

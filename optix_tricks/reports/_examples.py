"""The test images that a run was most wrong about, and those that it was surest of."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from optix_tricks.reports._read import Run

_BEST = 8  # at the end, where there are more than twice as many
_WIDEST = 112  # pixels
_COARSE = 64  # below which pixels stay squares


def examples(run: Run) -> str:
    """Rows of images with the true class, the one that was told, and the loss."""
    if run.examples is None or not len(run.examples["images"]):
        return ""
    names = [] if run.confusion is None else run.confusion["classes"]
    found = run.examples
    kind = "examples pixels" if max(found["images"].shape[1:3]) < _COARSE else "examples"
    figures = [
        _figure(image, _named(names, is_), _named(names, told), float(loss))
        for image, is_, told, loss in zip(
            found["images"], found["is"], found["told"], found["loss"], strict=True
        )
    ]
    count = len(figures)
    cut = count - _BEST if count > 2 * _BEST else count
    parts = ["<h2>Test images of the highest loss</h2>", _grid(kind, figures[:cut])]
    if figures[cut:]:
        parts += ["<h2>Test images of the lowest loss</h2>", _grid(kind, figures[cut:])]
    return "\n".join(parts)


def _grid(kind: str, figures: list[str]) -> str:
    return f'<div class="{kind}">{"".join(figures)}</div>'


def _named(names: list[str], number: np.integer) -> str:
    i = int(number)
    return names[i] if 0 <= i < len(names) else str(i)


def _figure(image: np.ndarray, is_: str, told: str, loss: float) -> str:
    right = is_ == told
    said = escape(f"is {is_}, told {told}")
    return (
        f'<figure{"" if right else " class=wrong"}><img alt="{said}" src="data:image/png;'
        f'base64,{_png(image)}"><figcaption>{said}<br>loss {loss:.3g}</figcaption>'
        "</figure>"
    )


def _png(image: np.ndarray) -> str:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((_WIDEST, _WIDEST))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()

"""The switches above a page's curves; the script shows them once it has drawn."""

from typing import Any

from optix_tricks.reports._charts import AXES

HELP = (
    "Drag over a stretch to zoom, double-click for the whole run. On a chart:"
    " arrow keys move the cursor (with Shift by ten rows), + and - zoom, 0 shows all. A"
    " name below a chart hides its line."
)
SMOOTHING = {"none": 0, "medium": 80, "strong": 16}  # a window is two of so many parts


def live(charts: dict[str, Any]) -> str:
    """The place of the charts, with switches for axis and smoothing."""
    axes = "".join(
        f'<option value="{name}">{said}</option>'
        for name, said in AXES.items()
        if name in charts["axes"]
    )
    windows = "".join(
        f'<option value="{parts}"{" selected" * (said == "medium")}>{said}</option>'
        for said, parts in SMOOTHING.items()
    )
    return (
        '<div id="live" hidden><div class="tools">'
        f'<label>axis <select id="axis">{axes}</select></label>'
        f'<label>smoothing <select id="smooth">{windows}</select></label>'
        '<span><button id="in" aria-label="zoom in">+</button> '
        '<button id="out" aria-label="zoom out">−</button> '
        '<button id="all">whole run</button></span></div>'
        f'<div class="charts" id="charts"></div><p class="help">{HELP}</p></div>'
    )

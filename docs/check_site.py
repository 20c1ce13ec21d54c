"""Whether the built site is whole: it fetches nothing, and its search finds names.

`python docs/check_site.py`, after `mkdocs build`; `make docs` does both.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from site_search import Search

SITE = Path(__file__).parents[1] / "site"
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
REMOTE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
FIRST = {  # what one types, and the place that is found first
    "reduce on plateau": "cards/gradients.html#plateau",
    "ReduceLROnPlateau": "cards/gradients.html#plateau",
    "no bias decay": "cards/decays.html#no_bias_decay",
    "weight decay": "cards/decays.html#l2",
    "decoupled weight decay": "cards/decays.html#decoupled_decay",
    "gradient clipping": "cards/gradients.html#clip_global_norm",
    "clip by global norm": "cards/gradients.html#clip_global_norm",
    "clip by value": "cards/gradients.html#clip_value",
    "lr finder": "diagnostics/learning-rate.html",
    "range test": "diagnostics/learning-rate.html",
    "ema": "cards/averages.html#ema",
    "swa": "cards/averages.html#swa",
    "stochastic weight averaging": "cards/averages.html#swa",
    "warm-up": "cards/rates.html#warm_up",
    "warmup": "cards/rates.html#warm_up",
    "cosine annealing": "cards/rates.html#cosine",
    "one cycle": "cards/rates.html#onecycle",
    "cyclic learning rate": "cards/rates.html#cyclical",
    "label smoothing": "cards/losses.html#label_smoothing",
    "mixup": "cards/mixing.html#mixup",
    "cutmix": "cards/mixing.html#cutmix",
    "cutout": "cards/augmentation.html#cutout",
    "random erasing": "cards/augmentation.html#erasing",
    "auto augment": "cards/augmentation.html#rand_augment",
    "drop path": "cards/starts.html#drop_path",
    "stochastic depth": "cards/starts.html#drop_path",
    "early stopping": "cards/epochs.html#early_stopping",
    "batch size": "diagnostics/batch-size.html",
    "noise scale": "diagnostics/batch-size.html",
    "gradient accumulation": "cards/gradients.html#accumulation",
    "mixed precision": "cards/precision.html#bfloat16",
    "loss scale": "cards/precision.html#float16",
    "sharpness aware minimisation": "cards/gradients.html#sam",
    "lars": "cards/optimisers.html#lars",
    "lamb": "cards/optimisers.html#lamb",
    "muon": "cards/optimisers.html#muon",
    "nesterov": "cards/optimisers.html#nesterov",
    "momentum": "cards/optimisers.html#momentum",
    "zero gamma": "cards/starts.html#zero_gamma",
    "batch norm": "cards/norms.html#batch_norm",
    "ghost batch norm": "cards/norms.html#ghost_batch_norm",
    "layer norm": "cards/norms.html#layer_norm",
    "weight standardisation": "cards/kernels.html#weight_standardization",
    "spectral norm": "cards/kernels.html#spectral_norm",
    "critical point": "diagnostics/critical-points.html",
    "hessian": "diagnostics/curvature.html",
    "curvature": "diagnostics/curvature.html",
    "test-time augmentation": "cards/augmentation.html#flip_views",
    "fine-tuning": "after-the-run.html#as-a-beginning",
    "freezing": "cards/functions.html#freeze",
    "multi GPU": "scaling.html#all-devices-of-a-machine",
    "kaiming init": "api/initializers.html#optix_tricks.initializers.kaiming_normal",
    "xavier": "api/initializers.html#optix_tricks.initializers.xavier_uniform",
}
AMONG = {  # and the page that is among the first three
    "checkpoints": "reliability.html",
    "resume": "reliability.html",
    "seeds": "reliability.html",
    "pmap": "api/training-devices.html",
    "tensorboard": "api/training-runs.html",
    "data loading": "speed.html",
    "adam": "api/transforms-adam.html",
    "pytorch": "porting.html",
    "loss stopped falling": "diagnostics.html",
}


class Fetched(HTMLParser):
    """The addresses that a browser loads for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep those of what is loaded."""
        given = dict(attrs)
        if tag in LOADED and given.get("rel") != "canonical":
            self.addresses.append(given.get(LOADED[tag]) or "")


def remote() -> list[str]:
    """Return what pages and styles fetch from elsewhere."""
    found = []
    for page in sorted(SITE.rglob("*.html")):
        fetched = Fetched()
        fetched.feed(page.read_text())
        found += [f"{page.name}: {x}" for x in fetched.addresses if REMOTE.match(x)]
    for style in sorted(SITE.rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import )\s*[\"']?([^\"')]+)", style.read_text()
        ):
            found += [f"{style.name}: {address}"] if REMOTE.match(address) else []
    return found


def lost() -> list[str]:
    """Return the questions whose answer is not where it should be."""
    search, found = Search(SITE), []
    for query, place in FIRST.items():
        places = search.pages(query)
        found += [f"{query}: {places[:3]}"] if places[:1] != [place] else []
    for query, page in AMONG.items():
        pages = [place.partition("#")[0] for place in search.pages(query)[:3]]
        found += [f"{query}: {pages}"] if page not in pages else []
    return found


def main() -> None:
    """Print what is wrong and end with 1, or say what was looked at."""
    wrong = [f"fetched from elsewhere: {each}" for each in remote()]
    wrong += [f"not found: {each}" for each in lost()]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"fetches nothing; {len(FIRST) + len(AMONG)} names found where they stand")


if __name__ == "__main__":
    main()

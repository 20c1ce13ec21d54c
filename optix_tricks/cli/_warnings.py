"""What a run passed over or went back on is said in one sentence, as errors are."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# They are known by their sentences and names: their modules take long to import.
SAID = (
    r"checkpoint .* is damaged",
    r".*: going on from step \d+ with",
    r"no training example is of ",
)
PLAIN = ("DamagedCheckpoint", "RestoredRun", "AbsentClass")


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Write what is said of checkpoints and data to standard error, without its place."""
    with warnings.catch_warnings():
        before: Any = warnings.showwarning
        for said in SAID:
            warnings.filterwarnings("always", said)

        def show(message: Any, category: type[Warning], *where: Any) -> None:
            if category.__name__ in PLAIN:
                print(f"warning: {message}", file=sys.stderr)
            else:
                before(message, category, *where)

        setattr(warnings, "showwarning", show)  # noqa: B010
        yield

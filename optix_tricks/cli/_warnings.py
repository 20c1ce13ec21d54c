"""What a run passed over or went back on is said in one sentence, as errors are."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# They are known by their sentences and names: their modules take long to import.
SAID = {
    "DamagedCheckpoint": r"checkpoint .* is damaged",
    "RestoredRun": r".*: going on from step \d+ with",
    "LostRows": r".*metrics\.jsonl .*are lost",
    "AbsentClass": r"no training example is of ",
    "SlowStatistics": r"tests see norms that lag",
}
CACHE = r"Error (reading|writing) persistent compilation cache entry for '.*': (.*)"
CACHED = "{} kept compiled programs fails ({}): what is needed is compiled again"


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Write what is said of runs and data to standard error, without its place.

    What JAX says of each program that it cannot keep or read is said once.
    """
    told = set[str]()
    with warnings.catch_warnings():
        before: Any = warnings.showwarning
        for said in SAID.values():
            warnings.filterwarnings("always", said)

        def show(message: Any, category: type[Warning], *where: Any) -> None:
            if category.__name__ in SAID:
                print(f"warning: {message}", file=sys.stderr)
            elif cached := re.match(CACHE, str(message)):
                if cached[1] not in told:
                    told.add(cached[1])
                    print(f"warning: {CACHED.format(*cached.groups())}", file=sys.stderr)
            else:
                before(message, category, *where)

        setattr(warnings, "showwarning", show)  # noqa: B010
        yield

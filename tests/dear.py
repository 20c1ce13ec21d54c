"""Which tests `make test` leaves to CI, as they take long: dear.txt, measured.

TIMES=times.txt python -m pytest -n 2 -m "not slow and not thorough"
python -m tests.dear times.txt
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

LIMIT = 2.5  # seconds of the processors, the mean over parameter sets
PLACE = Path(__file__).with_name("dear.txt")


def dear(lines):
    """Rows of seconds and name from those of `TIMES`, the dearest first."""
    took = defaultdict(list)
    for line in lines:
        seconds, _, name = line.partition(" ")
        took[name.partition("[")[0]].append(float(seconds))
    rows = [(mean(each), test) for test, each in took.items() if mean(each) > LIMIT]
    return [f"{seconds:.1f} {test}\n" for seconds, test in sorted(rows, reverse=True)]


if __name__ == "__main__":
    PLACE.write_text("".join(dear(Path(sys.argv[1]).read_text().splitlines())))

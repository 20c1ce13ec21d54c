"""The ledger: what each trick buys, with an interval, and what it costs.

choose, added, removed          a run with, or without, one trick: the arms
measure_effects                 trains both sides, paired by seed, until it is settled
tuned                           gives each side its own best learning rate first
measure_costs, step_cost        time of a step, of compiling, and memory
axis, grid, measure_grid        a run at every combination of some numbers, and
best_point                      which is best, and how sure that is
paired_effect, looks, holm      the statistics of it
read_rows, write_summary        every training that was done; all in one file
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.ledger._arm import Arm, added, digest_of, removed
from optix_tricks.ledger._choice import Choice, choose
from optix_tricks.ledger._cost import Cost, step_cost
from optix_tricks.ledger._effect import Effect, holm, looks, paired_effect
from optix_tricks.ledger._grid import (
    Axis,
    Best,
    Point,
    axis,
    best_point,
    grid,
    measure_grid,
)
from optix_tricks.ledger._measure import measure_costs, measure_effects
from optix_tricks.ledger._rows import read_rows
from optix_tricks.ledger._summary import write_summary
from optix_tricks.ledger._table import Measured, corrected
from optix_tricks.ledger._trainings import Turn
from optix_tricks.ledger._tuned import tuned

__all__ = [
    "Arm",
    "Axis",
    "Best",
    "Choice",
    "Cost",
    "Effect",
    "Measured",
    "Point",
    "Turn",
    "added",
    "axis",
    "best_point",
    "choose",
    "corrected",
    "digest_of",
    "grid",
    "holm",
    "looks",
    "measure_costs",
    "measure_effects",
    "measure_grid",
    "paired_effect",
    "read_rows",
    "removed",
    "step_cost",
    "tuned",
    "write_summary",
]

check_arguments(__name__)

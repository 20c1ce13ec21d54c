"""A step compiled ahead of time, for accelerators that are not there, and what it costs.

compile_only_devices, target_chip       targets by name: "h100:8", "v5e:4x4"
lower_step                              a job's step for them, of shapes alone
compiled_facts, matrix_flops            what a compiled program does
roofline                                the time below which no step can come
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.ahead._collectives import Collective
from optix_tricks.ahead._devices import compile_only_devices
from optix_tricks.ahead._facts import Facts, compiled_facts
from optix_tricks.ahead._links import target_chip
from optix_tricks.ahead._lowering import lower_step
from optix_tricks.ahead._roofline import Estimate, roofline

__all__ = [
    "Collective",
    "Estimate",
    "Facts",
    "compile_only_devices",
    "compiled_facts",
    "lower_step",
    "roofline",
    "target_chip",
]

check_arguments(__name__)

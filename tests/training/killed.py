"""The command in a process of its own, to be killed; imported before it is forked."""

import multiprocessing
import os
import sys

from optix_tricks.cli import main
from optix_tricks.training import train

RECIPE = """\
from tests.tricks.toys import Linears, base, dataset

def setup():
    return base(Linears, checkpoint_every="8steps")

def data():
    return dataset()
"""


def run(words, said):
    """Run a command, what it writes going into a file."""
    assert train  # is imported, with what it needs
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    main(words)


def begun(words, said):
    """Start it: a process forked from one that has imported all that takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run, args=(words, str(said)))
    process.start()
    return process

"""A command as a user runs it."""

from optix_tricks.cli import main

FAST = ["--width", "2", "--epochs", "1", "--batch-size", "128"]


def run(capsys, *argv):
    """Run a command; return its exit code, output and errors."""
    code = 0
    try:
        main(list(argv))
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return code, out.out, out.err

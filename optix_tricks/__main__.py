"""Run the command line as `python -m optix_tricks`."""

from optix_tricks.cli import main

main()

"""Run the command line: `optix-tricks`, and `python -m optix_tricks`."""

import sys

from optix_tricks._extras import absence


def main() -> None:
    """Run it, or say what is not installed."""
    try:
        from optix_tricks import cli
    except ModuleNotFoundError as error:
        sys.exit(f"error: {absence(error)}")
    cli.main()


if __name__ == "__main__":
    main()

"""Entry point of the command ``soxspipe`` and of ``python -m soxspipe``."""

import sys

from . import cl_utils

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the program with its exit code."""
    sys.exit(cl_utils.main())


if __name__ == "__main__":
    main()

"""Entry point of the command ``soxspipe`` and of ``python -m soxspipe``."""

import gc
import sys

from . import cl_utils

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the program with its exit code."""
    code = cl_utils.main()
    # at its end Python looks for garbage among all that was imported: a tenth of the time of ten frames
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()

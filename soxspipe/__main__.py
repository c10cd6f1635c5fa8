"""Entry point of the command ``soxspipe`` and of ``python -m soxspipe``."""

import signal

# until the command line listens, an interruption ends the program without a word, as any other stop does
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import gc
import sys

from .cli import command_line

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the program with its exit code."""
    code = command_line.main()
    # at its end Python looks for garbage among all that was imported: a tenth of the time of ten frames
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()

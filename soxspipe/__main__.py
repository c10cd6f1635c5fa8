"""Entry point of the command ``soxspipe`` and of ``python -m soxspipe``: sets up the process."""

import signal

# until signals are handled, an interruption ends the program without a traceback, as other signals do
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
import warnings

from .cli import command_line
from .run_log import log_warning
from .signals import STOP_SIGNALS, signals_as_exceptions

__all__ = ["main", "run"]


def run() -> int:
    """Set the process up, run the command line and return the exit code; later signals are ignored."""
    # other threads of BLAS double the time to import NumPy, and no matrix here is large
    for library in ("OPENBLAS", "OMP", "MKL", "BLIS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    home = os.environ.get("HOME", "")
    if os.path.isdir(home) and not os.access(home, os.X_OK):  # sudo may leave another user's: astropy would fail
        del os.environ["HOME"]
    warnings.showwarning = log_warning
    with signals_as_exceptions():
        code = command_line.main()
    for number in STOP_SIGNALS:  # all is done, and the exit code is known
        signal.signal(number, signal.SIG_IGN)
    if processes := sys.modules.get("soxspipe.execution.local_processes"):
        processes.stop_helpers()
    return code


def main() -> None:
    """Run the command line and leave the program with its exit code."""
    sys.exit(run())


if __name__ == "__main__":
    main()

"""The command line: from arguments to an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ..parallel import require_libraries
from ..run_log import collect_log
from ..signals import Terminated, raise_stop_request
from .terminal import Terminal, write_result
from .usage import COMMANDS, UsageError, parse

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    It leaves signals, warnings and logging of the process as they are: the entry point of the program sets these up.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of this process when left out.

    Returns
    -------
    int
        The exit code; the usage text lists them.
    """
    terminal = Terminal()
    try:
        try:
            with collect_log(terminal.show):
                return _run(sys.argv[1:] if argv is None else argv, terminal)
        except Exception:
            raise_stop_request()  # then this exception took the place of that of the signal
            raise
    except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 - one line and an exit code for each
        code = terminal.show_exception(error)
        if isinstance(error, UsageError):
            terminal.write(error.usage)
        return code
    finally:
        terminal.close()


def _run(argv: Sequence[str], terminal: Terminal) -> int:
    parsed = parse(argv)
    if isinstance(parsed, str):
        write_result(parsed)
        return 0
    command, options = parsed
    terminal.set_verbosity(options["--quiet"], options["--verbose"])
    require_libraries()
    return int(import_module(f"..{COMMANDS[command]}", __name__).run(command, options, terminal))

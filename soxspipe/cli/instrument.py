"""The command that writes a first instrument table."""

from __future__ import annotations

from typing import Any

from ..instruments.first_table import first_table
from ..text import escape
from .run_options import write_output
from .terminal import Terminal
from .usage import path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write the table to standard output, or to a new file, and its questions as messages; return the exit code."""
    table = first_table(path_argument(options["--from"], "--from"))
    write_output(options, table.text)
    for question in table.questions:
        terminal.inform(escape(question))
    return 0

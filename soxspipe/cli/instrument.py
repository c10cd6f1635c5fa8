"""The command that writes a first instrument table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..instruments.first_table import first_table
from ..products.atomic_files import AtomicFiles
from ..text import escape
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write the table to standard output, or to a new file, and its questions as messages; return the exit code."""
    table = first_table(path_argument(options["--from"], "--from"))
    if options["--output"] is None:
        write_result(table.text.rstrip("\n"))
    else:
        path = Path(path_argument(options["--output"], "--output"))
        with AtomicFiles(path.parent, [path.name], remedy="choose another name or remove it") as files:
            files.write(path.name, [table.text.encode()])
            files.commit()
        write_result(str(path))
    for question in table.questions:
        terminal.inform(escape(question))
    return 0

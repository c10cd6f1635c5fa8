"""The command that writes the default settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..instruments.keywords import table_path
from ..products.atomic_files import AtomicFiles
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write the default settings or their schema to standard output, or to a new file; return the exit code."""
    from ..settings import Settings, default_settings_text

    text = default_settings_text()
    if options["--schema"]:
        instrument = options["--instrument"]
        table = None if instrument is None else table_path(path_argument(instrument, "--instrument"))
        text = f"{json.dumps(Settings.json_schema(table), indent=2, allow_nan=False)}\n"
    if options["--output"] is None:
        write_result(text.rstrip("\n"))
        return 0
    path = Path(path_argument(options["--output"], "--output"))
    with AtomicFiles(path.parent, [path.name], remedy="choose another name or remove it") as files:
        files.write(path.name, [text.encode()])
        files.commit()
    write_result(str(path))
    return 0

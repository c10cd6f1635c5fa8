"""The command that writes the default settings."""

from __future__ import annotations

import json
from typing import Any

from ..instruments.keywords import table_path
from .run_options import write_output
from .terminal import Terminal
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
    write_output(options, text)
    return 0

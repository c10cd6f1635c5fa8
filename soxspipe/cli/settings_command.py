"""The command that writes the default settings."""

from __future__ import annotations

import json
import os
from typing import Any

from ..exceptions import ProductExistsError
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write the default settings or their schema to standard output, or to a new file; return the exit code."""
    from ..settings import Settings, default_settings_text

    text = default_settings_text()
    if options["--schema"]:
        text = f"{json.dumps(Settings.json_schema(), indent=2)}\n"
    if options["--output"] is None:
        write_result(text.rstrip("\n"))
        return 0
    path = path_argument(options["--output"], "--output")
    folder, created = os.path.dirname(path) or ".", False
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ProductExistsError(f"{folder}: a file stands where the folder should be: choose another") from error
    try:
        try:
            with open(path, "x", encoding="utf-8") as stream:
                created = True
                stream.write(text)
        except BaseException:
            if created:
                os.unlink(path)
            raise
    except FileExistsError as error:
        raise ProductExistsError(f"{path}: is already there: choose another name or remove it") from error
    except OSError as error:
        from ..products.product_files import storage_fault

        raise storage_fault(path, error, "choose another name") from error
    write_result(path)
    return 0

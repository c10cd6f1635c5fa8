"""The command that makes reports again."""

from __future__ import annotations

import json
from typing import Any

from ..exceptions import SoxspipeError
from ..execution.job import failed
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Make the report of each product again, write its path, and return the exit code."""
    from ..report import write_report

    records: list[dict[str, Any]] = []
    codes = []
    for path in [path_argument(path, "product") for path in options["<product>"]]:
        try:
            report = str(write_report(path))
        except SoxspipeError as error:
            result = failed(error)
            codes.append(terminal.show_errors(result))
            records.append({"product": path, "report": None, "errors": list(result.errors)})
            continue
        codes.append(0)
        records.append({"product": path, "report": report, "errors": []})
        if not options["--json"]:
            write_result(report)
    if options["--json"]:
        write_result(json.dumps(records if len(records) > 1 else records[0], indent=2, allow_nan=False))
    return codes[0] if len(codes) == 1 else int(any(codes))

"""Commands that simulate raw frames."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ..instruments.keywords import shipped_instruments, table_path
from ..run_log import get_logger
from ..simulation import DarkSimulation, simulate_darks
from .reduce import run_and_report
from .run_options import RunOptions
from .terminal import Terminal, write_result
from .usage import RECIPES, CommandHelp, path_argument

__all__ = ["run"]

_log = get_logger(__name__)
#: Options that are names, in capitals.
NAMES = ("--instrument", "--arm", "--kind")


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write simulated frames; for the demo, reduce them too. Return the exit code."""
    given = options["<directory>"]
    directory = "soxspipe-demo" if given is None else path_argument(given, "directory")
    if command == "simulate":
        _simulate(directory, _parameters(options), options["--overwrite"], terminal)
        return 0
    sof = _simulate(directory, {}, options["--overwrite"], terminal)
    run_options = RunOptions.of(options, None, output=os.path.join(directory, "reduced"))
    return run_and_report("demo", [run_options.job(RECIPES["mdark"][0], [sof])], run_options, terminal)


def _parameters(options: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the simulation that the options name; the simulation checks them."""
    values = {}
    for option in CommandHelp("simulate").options:
        # a parameter may have its unit in its name
        names = (option[2:].replace("-", "_") + unit for unit in ("", "_s", "_e"))
        name = next((name for name in names if name in DarkSimulation.model_fields), None)
        if name is not None and (text := options[option]) is not None:
            values[name] = text.upper() if option in NAMES else _value(text)
    instrument = options["--instrument"]
    if instrument is not None and values["instrument"] not in (one.name for one in shipped_instruments()):
        values["instrument_table"] = table_path(path_argument(instrument, "--instrument"))
        del values["instrument"]
    return values


def _value(text: str) -> Any:
    """Return a number, a pair of numbers such as 128x128, or the text."""
    for number in (int, float):
        with contextlib.suppress(ValueError):
            pair = tuple(map(number, text.lower().split("x")))
            return pair if len(pair) > 1 else pair[0]
    return text


def _simulate(directory: str, parameters: dict[str, Any], overwrite: bool, terminal: Terminal) -> str:
    """Write simulated frames, then the path of their set of files to standard output, and return this path."""
    simulation = DarkSimulation(**parameters)
    _log.info("%s", simulation)
    frames = simulate_darks(directory, simulation, overwrite=overwrite, progress=terminal.progress("simulate"))
    write_result(str(frames.sof))
    return str(frames.sof)

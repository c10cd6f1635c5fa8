"""Commands that simulate raw frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..exceptions import CommandLineError
from ..execution.job import ReductionJob
from ..run_log import get_logger
from ..text import escape
from .reduce import run_and_report
from .terminal import Terminal, write_result
from .usage import RECIPES, path_argument, workers_argument

__all__ = ["run"]

_log = get_logger(__name__)


def _size(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in text.lower().split("x"))


#: Options of ``simulate``: the parameter of each, how its text is read, and what is expected.
PARAMETERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "--instrument": ("instrument", str.upper, "a name"),
    "--arm": ("arm", str.upper, "a name"),
    "--kind": ("kind", str.upper, "a name"),
    "--frames": ("frames", int, "a whole number"),
    "--exptime": ("exptime_s", float, "a number of seconds"),
    "--ndit": ("ndit", int, "a whole number"),
    "--shape": ("shape", _size, "rows x columns, such as 128x128"),
    "--binning": ("binning", _size, "y x x, such as 2x1"),
    "--start": ("start", str, "a date and time"),
    "--seed": ("seed", int, "a whole number"),
    "--detector-seed": ("detector_seed", int, "a whole number"),
}


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Write simulated frames; for the demo, reduce them too. Return the exit code."""
    given = options["<directory>"]
    directory = "soxspipe-demo" if given is None else path_argument(given, "directory")
    if command == "simulate":
        _simulate(directory, _parameters(options), options["--overwrite"], terminal)
        return 0
    sof = _simulate(directory, {}, options["--overwrite"], terminal)
    recipe, _ = RECIPES["mdark"]
    job = ReductionJob(recipe, [sof], None, os.path.join(directory, "reduced"), options["--overwrite"])
    return run_and_report("mdark", [job], workers_argument(None), terminal)


def _parameters(options: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the simulation that the options name."""
    values, faults = {}, []
    for option, (name, read, expected) in PARAMETERS.items():
        text = options[option]
        if text is not None:
            try:
                values[name] = read(text)
            except ValueError:
                faults.append(f"{option} is '{escape(text)}', expected {expected}")
    if faults:
        raise CommandLineError(faults)
    return values


def _simulate(directory: str, parameters: dict[str, Any], overwrite: bool, terminal: Terminal) -> str:
    """Write simulated frames, then the path of their set of files to standard output, and return this path."""
    from ..simulation import DarkSimulation, simulate_darks

    simulation = DarkSimulation(**parameters)
    _log.info("%s", simulation)
    frames = simulate_darks(directory, simulation, overwrite=overwrite, progress=terminal.progress("simulate"))
    write_result(str(frames.sof))
    return str(frames.sof)

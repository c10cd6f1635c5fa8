"""The command that subtracts a master dark from frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..exceptions import CommandLineError
from ..inputs.reductions import require_distinct
from ..text import escape
from .reduce import run_and_report
from .run_options import RunOptions, settings_option
from .terminal import Terminal
from .usage import RECIPES, path_argument

__all__ = ["run"]


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Subtract a master dark from each frame, one job a frame, and return the exit code."""
    given = [options["--dark"], options["--bias"], options["--map"]]
    products = [path_argument(path, "input") for path in given if path is not None]
    settings = settings_option(options)
    if options["--scale"]:
        settings = settings.with_values("subtract_dark", scale=True)
    recipe, argument = RECIPES[command]
    paths = [path_argument(path, "input") for path in options[argument]]
    frames = list(_frames(paths))
    require_distinct(frames)
    run_options = RunOptions.of(options, settings, [*paths, *frames, *products])
    jobs = [run_options.job(recipe, [frame, *products]) for frame in frames]
    return run_and_report(command, jobs, run_options, terminal)


def _frames(paths: Sequence[str]) -> Iterator[str]:
    """Yield the frames of the command line and of its set-of-files files."""
    for path in paths:
        if path.lower().endswith(".sof"):
            from ..inputs.set_of_files import parse_sof

            yield from (str(entry.path) for entry in parse_sof(path))
        elif os.path.isdir(path):
            raise CommandLineError(f"{escape(path)}: is a folder, expected frames: give its files, or a .sof file")
        else:
            yield path

"""Usage text of the command line, and how its arguments are read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from ..exceptions import CommandLineError
from ..text import escape, nearest
from ..version import __version__

__all__ = ["COMMANDS", "RECIPES", "USAGE", "USAGE_LINES", "UsageError", "parse", "path_argument", "workers_argument"]

USAGE = """\
soxspipe: from raw darks of SOXS and X-shooter to master darks that can be trusted.

Usage:
  soxspipe mdark <inputFrames>... [--output=DIR] [--settings=FILE] [--overwrite] [--json]
                                  [--workers=N] [-q | -v...]
  soxspipe mdark --rerun=PRODUCT [--raw=DIR] [--output=DIR] [--overwrite] [--json]
                                 [--workers=N] [-q | -v...]
  soxspipe dark-current <master>... [--output=DIR] [--settings=FILE] [--overwrite] [--json]
                                    [--workers=N] [-q | -v...]
  soxspipe simulate <directory> [--instrument=NAME] [--arm=ARM] [--kind=KIND] [--frames=N]
                                [--exptime=S] [--ndit=N] [--shape=SIZE] [--binning=SIZE]
                                [--start=TIME] [--seed=N] [--detector-seed=N] [--overwrite]
                                [-q | -v...]
  soxspipe demo [<directory>] [--overwrite] [-q | -v...]
  soxspipe settings [--output=FILE] [--schema]
  soxspipe (--help | --version)

Commands:
  mdark         reduce raw darks to a master dark
  dark-current  fit the dark rate of every pixel to master darks of different exposures
  simulate      write seeded raw darks, with a truth file
  demo          simulate ten NIR darks of SOXS and reduce them
  settings      print or write the default settings, ready to edit

Arguments:
  <inputFrames>  set-of-files files (.sof) and directories, each a reduction of its own, or the FITS
                 files of one reduction
  <master>       likewise: the master darks of a fit, at least two
  <directory>    where simulated frames go; for the demo, the product too (soxspipe-demo)

Options:
  --output=DIR       folder of the products, made when missing (the working directory);
                     for the command settings, a new file
  --settings=FILE    settings that differ from the defaults
  --rerun=PRODUCT    make a master dark again, of what its header names, and say what differs
  --raw=DIR          where the input of a rerun is looked for, subfolders too; after it beside the
                     product and in the working directory
  --overwrite        replace files that are there already
  --json             print one JSON document: product, files, qc, warnings
  --schema           of the command settings: the JSON schema of the settings file, for editors
  --workers=N        threads or processes for the pixels, or of several reductions one for each
                     (2, where there are two processors)
  -q, --quiet        errors only
  -v, --verbose      parameters and a line for each step; -v -v also shows tracebacks
  -h, --help         print this text
  --version          print the version

Options of simulate:
  --instrument=NAME  SOXS or XSHOOTER (SOXS)
  --arm=ARM          NIR, VIS, UVB or ACQ (NIR)
  --kind=KIND        DARK or BIAS (DARK)
  --frames=N         number of frames (10)
  --exptime=S        exposure time of one integration, second (300)
  --ndit=N           integrations averaged in a frame, NIR only (1)
  --shape=SIZE       rows x columns of a raw frame, e.g. 128x128 (the whole detector)
  --binning=SIZE     binning in y and x, CCDs only, e.g. 2x1 (1x1)
  --start=TIME       start of the first frame, UTC (2026-03-01T10:00:00)
  --seed=N           same seed, same pixels (20260301)
  --detector-seed=N  with another --seed: the same detector at another time (that of --seed)

Exit codes:
  0    done
  1    a recipe failed, of several reductions at least one, and the others are finished; or a rerun
       has other pixels
  2    the command line, the settings or the input was wrong, or the product is already there
  129  terminated: its terminal was closed
  130  interrupted
  143  terminated

Results go to standard output; log lines, progress and errors to standard error.
"""

#: The part of it that shows after an error.
USAGE_LINES = USAGE.split("\n\n")[1]

#: The module of each command.
COMMANDS = {
    "mdark": "reduce",
    "dark-current": "reduce",
    "simulate": "simulate",
    "demo": "simulate",
    "settings": "settings_command",
}

#: Commands that run a recipe: its class, and the argument that holds its input.
RECIPES = {
    "mdark": ("soxspipe.recipes:soxs_mdark", "<inputFrames>"),
    "dark-current": ("soxspipe.recipes:soxs_dark_current", "<master>"),
}

#: Each worker holds a band of all frames; no machine has more processors.
MOST_WORKERS = 1024


class UsageError(CommandLineError):
    """The arguments do not fit the usage text."""


def parse(argv: Sequence[str]) -> dict[str, Any] | str:
    """Read the arguments.

    Parameters
    ----------
    argv : sequence of str
        Arguments after the program's name.

    Returns
    -------
    dict or str
        Values by the names in the usage text; or the text that ``--help`` or ``--version`` asks for.

    Raises
    ------
    UsageError
        When the arguments do not fit the usage text.
    """
    words = argv[: argv.index("--")] if "--" in argv else argv
    if any(re.fullmatch(r"--help|-[qv]*h[hqv]*", word) for word in words):
        return USAGE.rstrip("\n")
    if "--version" in words:
        return f"soxspipe {__version__}"
    from docopt import DocoptExit, docopt

    try:
        options = dict(docopt(USAGE, list(argv), help=False))
    except DocoptExit as error:
        reason = str(error.code).removesuffix(error.usage).strip()
        raise UsageError(reason or _misfit(words)) from error
    for value in options.values():
        if isinstance(value, list) and "--" in value:  # docopt 0.6.2 leaves it among the arguments
            value.remove("--")
    return options


def _misfit(words: Sequence[str]) -> str:
    """Return the reason why arguments do not fit the usage text."""
    known = sorted(set(re.findall(r"--[a-z-]+", USAGE)))
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        if not any(option.startswith(name) for option in known):
            return f"unknown option '{name}': {nearest(name, known)}"
    command = next((word for word in words if not word.startswith("-")), None)
    if command in COMMANDS:
        return f"{command}: an argument is missing, or one too many: expected the usage below"
    found = "no command" if command is None else f"unknown command '{command}'"
    return f"{found}: {nearest(command or '', COMMANDS)}"


def path_argument(text: str, name: str) -> str:
    """Return a path of the command line; a shell leaves the ``~`` in ``--output=~/dir`` as it is."""
    if not text:
        raise CommandLineError(f"{name} is empty: expected the name of a file or folder")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise CommandLineError(f"{name} '{escape(text)}' has control characters: rename it")
    return os.path.expanduser(text)


def workers_argument(text: str | None) -> int:
    """Return the number of workers; without one, the default for this machine."""
    if text is None:
        from ..parallel import default_workers

        return default_workers()
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise CommandLineError(f"--workers is '{escape(text)}', expected a whole number from 1 to {MOST_WORKERS}")
    return int(text)

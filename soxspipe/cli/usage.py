"""Usage text of the command line, and how its arguments are read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..exceptions import CommandLineError
from ..text import escape, nearest
from ..version import __version__

__all__ = ["COMMANDS", "RECIPES", "USAGE", "USAGE_LINES", "UsageError", "parse", "path_argument", "workers_argument"]

#: The usage text, from which docopt reads the arguments.
USAGE = Path(__file__).with_name("usage.txt").read_text(encoding="utf-8")
#: The part of it that shows after an error.
USAGE_LINES = USAGE.split("\n\n")[1]

#: The module of each command.
COMMANDS = {
    "reduce": "reduce_night",
    "mdark": "reduce",
    "mbias": "reduce",
    "dark-current": "reduce",
    "watch": "watch",
    "prep": "prep",
    "simulate": "simulate",
    "demo": "simulate",
    "settings": "settings_command",
}

#: Commands that run a recipe: its class, and the argument that holds its input.
RECIPES = {
    "mdark": ("soxspipe.recipes:soxs_mdark", "<inputFrames>"),
    "mbias": ("soxspipe.recipes:soxs_mbias", "<inputFrames>"),
    "dark-current": ("soxspipe.recipes:soxs_dark_current", "<master>"),
}

#: Each worker holds a band of all frames; no machine has more processors.
MOST_WORKERS = 1024


#: Python makes missing folders by recursion.
MOST_FOLDERS = 250


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
    if text.count("/") > MOST_FOLDERS:
        raise CommandLineError(f"{name} has more than {MOST_FOLDERS} folders: choose a shorter path")
    return os.path.expanduser(text)


def workers_argument(text: str | None) -> int:
    """Return the number of workers; without one, the default for this machine."""
    if text is None:
        from ..parallel import default_workers

        return default_workers()
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise CommandLineError(f"--workers is '{escape(text)}', expected a whole number from 1 to {MOST_WORKERS}")
    return int(text)

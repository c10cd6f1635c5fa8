"""The command that prints completions for shells, and the man page, from the usage texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..exceptions import CommandLineError
from ..templates import fill
from ..text import escape, nearest
from ..version import __version__
from .terminal import Terminal, write_result
from .usage import COMMANDS, CommandHelp, overview

__all__ = ["run"]

#: Words that the command takes; each has a template in the folder ``completions``.
SHELLS = ("bash", "zsh", "fish", "man")


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Print completions for a shell, or the man page, and return the exit code."""
    shell = options["<shell>"]
    if shell not in SHELLS:
        raise CommandLineError(f"unknown shell '{escape(shell)}': {nearest(shell, SHELLS)}")
    title, _, text = overview().partition("\n\n")
    commands = [CommandHelp(name) for name in COMMANDS]
    facts = {"commands": commands, "shells": SHELLS, "title": title, "overview": text, "version": __version__}
    template = Path(__file__).with_name("completions") / f"{shell}.jinja"
    write_result(fill(template, facts).rstrip("\n"))
    return 0

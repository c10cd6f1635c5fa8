"""The usage text of each command, and how arguments are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..exceptions import CommandLineError
from ..text import escape, nearest
from ..version import __version__

__all__ = ["COMMANDS", "RECIPES", "CommandHelp", "UsageError", "overview", "parse", "path_argument", "workers_argument"]

#: The module of each command, in the order of the overview.
COMMANDS = {
    "demo": "simulate",
    "reduce": "reduce_night",
    "watch": "watch",
    "prep": "prep",
    "mdark": "reduce",
    "mbias": "reduce",
    "dark-current": "reduce",
    "subtract-dark": "subtract_dark",
    "verify": "verify",
    "compare": "compare",
    "report": "report",
    "qc": "qc",
    "trend": "trend",
    "pixel": "pixel",
    "settings": "settings_command",
    "instrument": "instrument",
    "simulate": "simulate",
    "completion": "completion",
}

#: Commands that run a recipe: its class, and the argument that holds its input.
RECIPES = {
    "mdark": ("soxspipe.recipes:soxs_mdark", "<inputFrames>"),
    "mbias": ("soxspipe.recipes:soxs_mbias", "<inputFrames>"),
    "dark-current": ("soxspipe.recipes:soxs_dark_current", "<master>"),
    "subtract-dark": ("soxspipe.recipes:soxs_subtract_dark", "<frame>"),
}

#: Options that exclude each other.
EXCLUSIVE = (
    ("--workers", "--scheduler"), ("--quiet", "--verbose"), ("--rerun", "--settings"), ("--rerun", "--resume"),
    ("--database", "--no-database"), ("--rerun", "--products-sof"), ("--dry-run", "--products-sof"),
    ("--rerun", "--instrument"),
)  # fmt: skip
#: Options that mean something only with another one.
REQUIRED = {"--raw": "--rerun"}

#: Words that stand for several options in the usage texts: those of every command, and of every command that reduces.
GROUPS = {
    "common": "quiet verbose help",
    "reduction": "output settings instrument overwrite resume compress no-report products-sof database no-database "
    "json strict workers scheduler",
}

#: Each worker holds a band of all frames; no machine has more processors.
MOST_WORKERS = 1024
#: Python makes missing folders by recursion.
MOST_FOLDERS = 250


class UsageError(CommandLineError):
    """The arguments do not fit the usage text.

    Parameters
    ----------
    message : str
        What does not fit.
    usage : str
        Part of the usage text that shows below it.
    """

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class OptionHelp:
    """An option of a command.

    Attributes
    ----------
    name : str
        Its name, such as ``--output``.
    short : str
        Its letter, such as ``-o``; empty where there is none.
    value : str
        Name of its value in the usage text; empty for a switch.
    text : str
        Its lines in the usage text.
    """

    name: str
    short: str
    value: str
    text: str

    @property
    def words(self) -> str:
        """Its description in one line."""
        return " ".join(self.text.split("  ", 2)[2].split())


class CommandHelp:
    """The usage text of a command.

    The text of a command names the options that it shares with others in braces; ``options.txt`` has their lines.

    Parameters
    ----------
    command : str
        A name in `COMMANDS`.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        shared = _shared_options()

        def lines(match: re.Match[str]) -> str:
            names = " ".join(GROUPS.get(name, name) for name in match[1].split()).split()
            return "".join(shared[f"--{name}"].text for name in names)

        #: The whole text.
        self.text = _aligned(re.sub(r"^  \{(.*)\}\n", lines, _text(command), flags=re.MULTILINE).rstrip())
        #: One line about the command.
        self.summary = self.text.partition("\n")[0]
        #: The lines that show after an error.
        self.usage = self.text.split("\n\n")[1]
        #: Its options by name.
        self.options = {option.name: option for option in _options(self.text)}
        #: Its arguments, such as ``<frame>``; those in brackets may be missing.
        self.arguments = re.findall(r"\[?<\w+>\]?(?:\.\.\.)?", self.usage.splitlines()[1])

    def check_options(self, words: Sequence[str]) -> None:
        """Raise UsageError where options are unknown, or do not go together."""
        given = [name for word in words for name in self._named_options(word)]
        for pair in EXCLUSIVE:
            if set(pair) <= set(given):
                raise UsageError(f"{' and '.join(pair)} do not go together: choose one of them", self.usage)
        for name, other in REQUIRED.items():
            if name in given and other not in given:
                raise UsageError(f"{name} is an option of {other}: leave it out, or add {other}", self.usage)

    def _named_options(self, word: str) -> Iterator[str]:
        """Yield the options that a word of the command line names; raise UsageError where one is unknown."""
        if word.startswith("--"):
            name = word.partition("=")[0]
            fits = [option for option in self.options if option.startswith(name)]
            if not fits:
                raise self._unknown(name)
            yield from [name] if name in fits else fits
        elif word.startswith("-") and len(word) > 1:
            letters = {option.short: option for option in self.options.values()}
            for letter in word[1:]:
                option = letters.get(f"-{letter}")
                if option is None:
                    raise self._unknown(f"-{letter}")
                yield option.name
                if option.value:  # the other letters are its value
                    return

    def _unknown(self, name: str) -> UsageError:
        return UsageError(
            f"unknown option '{escape(name)}' of {self.command}: {nearest(name, self.options)}", self.usage
        )

    def count_misfit(self, words: Sequence[str]) -> str:
        """Return which argument is missing, or which is one too many."""
        values = {
            name for option in self.options.values() if option.value for name in (option.name, option.short) if name
        }
        free = [
            word
            for word, before in zip(words, ["", *words], strict=False)
            if before not in values and not re.match("-.", word)
        ]
        required = [name for name in self.arguments if not name.startswith("[")]
        if len(free) < len(required):
            return f"{self.command}: {required[len(free)].removesuffix('...')} is missing"
        if len(free) > len(self.arguments) and not any(name.endswith("...") for name in self.arguments):
            return f"{self.command}: '{escape(free[len(self.arguments)])}' is an argument too many"
        _, *lines = self.usage.splitlines()
        for name in re.findall(r"(--[\w-]+)=", lines[0]) if len(lines) == 1 else ():
            if not any(word.partition("=")[0] == name for word in words):
                return f"{self.command}: {name} is missing"
        return f"{self.command}: these arguments and options do not go together: expected the usage below"


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name("usage").joinpath(f"{name}.txt").read_text(encoding="utf-8")


def _aligned(text: str) -> str:
    """Return a text whose options have their descriptions in one column in each block."""
    blocks = []
    for block in text.split("\n\n"):
        pairs = [re.fullmatch(r"(  -.*?)  +(\S.*)", line) for line in block.splitlines()]
        width = max((len(pair[1]) for pair in pairs if pair), default=0)
        lines = []
        in_option = False
        for line, pair in zip(block.splitlines(), pairs, strict=True):
            in_option = bool(pair) or (in_option and line.startswith("    "))
            if pair:
                line = f"{pair[1]:{width}}  {pair[2]}"
            elif in_option:
                line = " " * (width + 2) + line.lstrip()
            lines.append(line)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _options(text: str) -> Iterator[OptionHelp]:
    """Yield the options whose lines a text holds."""
    for block in re.findall(r"^  -.*\n(?:   .*\n)*", f"{text}\n", re.MULTILINE):
        match = re.match(r"  (?:(-\w)(?: [A-Z]+)?, )?(--[\w-]+)(?:=(\w+))?", block)
        if match is not None:
            yield OptionHelp(match[2], match[1] or "", match[3] or "", block)


@cache
def _shared_options() -> dict[str, OptionHelp]:
    return {option.name: option for option in _options(_text("options"))}


def overview() -> str:
    """Return the text of ``soxspipe --help``: all commands, and the exit codes."""
    width = max(map(len, COMMANDS))
    summaries = {command: CommandHelp(command).summary.rstrip(".") for command in COMMANDS}
    lines = [f"  {name:{width}}  {summary[0].lower()}{summary[1:]}" for name, summary in summaries.items()]
    return _text("soxspipe").replace("{commands}", "\n".join(lines)).rstrip()


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]] | str:
    """Read the arguments.

    Parameters
    ----------
    argv : sequence of str
        Arguments after the program's name.

    Returns
    -------
    tuple of (str, dict) or str
        The command and its values by the names in its usage text; or the text that ``--help`` or ``--version`` asks
        for.

    Raises
    ------
    UsageError
        When the arguments do not fit the usage text.
    """
    words = argv[: argv.index("--")] if "--" in argv else argv
    wants_help = any(re.fullmatch(r"--help|-[qv]*h[hqv]*", word) for word in words)
    command = next((word for word in words if not word.startswith("-")), None)
    if wants_help:
        return CommandHelp(command).text if command in COMMANDS else overview()
    if "--version" in words:
        return f"soxspipe {__version__}"
    if command not in COMMANDS:
        found = "no command" if command is None else f"unknown command '{escape(command)}'"
        raise UsageError(f"{found}: {nearest(command or '', COMMANDS)}", _usage_lines(overview()))
    page = CommandHelp(command)
    page.check_options(words)
    from docopt import DocoptExit, docopt

    text = page.text.replace("[options]", "[options] [-v...]")  # docopt counts only what stands in the usage lines
    try:
        options = dict(docopt(text, list(argv), help=False))
    except DocoptExit as error:
        reason = str(error.code).removesuffix(error.usage).strip()
        after = words[words.index(command) + 1 :]
        raise UsageError(reason or page.count_misfit(after), page.usage) from error
    for value in options.values():
        if isinstance(value, list) and "--" in value:  # docopt 0.6.2 leaves it among the arguments
            value.remove("--")
    return command, options


def _usage_lines(text: str) -> str:
    return text.split("\n\n")[1]


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

"""The command that prints completions for shells, and the man page, from the usage texts."""

from __future__ import annotations

from typing import Any

from ..exceptions import CommandLineError
from ..text import escape, nearest
from ..version import __version__
from .terminal import Terminal, write_result
from .usage import COMMANDS, CommandHelp, OptionHelp, overview

__all__ = ["run"]

#: Words that the command takes.
SHELLS = "bash zsh fish man"


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Print completions for a shell, or the man page, and return the exit code."""
    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish, "man": _man}
    shell = options["<shell>"]
    if shell not in writers:
        raise CommandLineError(f"unknown shell '{escape(shell)}': {nearest(shell, writers)}")
    write_result(writers[shell]([CommandHelp(name) for name in COMMANDS]))
    return 0


def _words(option: OptionHelp) -> str:
    """Return an option as a shell offers it; one with a value ends with '='."""
    return f"{option.name}=" if option.value else option.name


def _bash(commands: list[CommandHelp]) -> str:
    cases = "\n".join(
        f"        {one.command}) words='{' '.join(map(_words, one.options.values()))}' ;;" for one in commands
    )
    return f"""# completions of soxspipe for bash
_soxspipe() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=''
    [ "$word" = = ] && word=''  # bash splits --output=DIR at the sign
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W '{" ".join(COMMANDS)} --help --version' -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    case ${{COMP_WORDS[1]}}$word in
        completion[!-]* | completion) COMPREPLY=($(compgen -W '{SHELLS}' -- "$word")); return ;;
    esac
    case $word in
        -*) compopt -o nospace; COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
        *) compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -F _soxspipe soxspipe"""


def _zsh(commands: list[CommandHelp]) -> str:
    def quoted(text: str) -> str:
        return text.replace("'", "'\\''").replace(":", "\\:").replace("[", "\\[").replace("]", "\\]")

    names = "\n".join(f"        '{one.command}:{quoted(one.summary)}'" for one in commands)
    cases = []
    for one in commands:
        options = " ".join(
            f"'{option.name}{'=' if option.value else ''}[{quoted(option.words)}]"
            f"{f':{option.value.lower()}:_files' if option.value else ''}'"
            for option in one.options.values()
        )
        cases.append(f"        {one.command}) _arguments {options} '*:file:_files' ;;")
    case_lines = "\n".join(cases)
    return f"""#compdef soxspipe
# completions of soxspipe for zsh
_soxspipe() {{
    local -a commands=(
{names}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{case_lines}
    esac
}}
if [ "$funcstack[1]" = _soxspipe ]; then _soxspipe "$@"; else compdef _soxspipe soxspipe; fi"""


def _fish(commands: list[CommandHelp]) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace("'", "\\'")

    lines = ["# completions of soxspipe for fish"]
    for one in commands:
        lines.append(
            f"complete -c soxspipe -n __fish_use_subcommand -f -a {one.command} -d '{quoted(one.summary.rstrip('.'))}'"
        )
        for option in one.options.values():
            short = f" -s {option.short[1:]}" if option.short else ""
            value = " -r" if option.value else ""
            lines.append(
                f"complete -c soxspipe -n '__fish_seen_subcommand_from {one.command}'{short} -l {option.name[2:]}"
                f"{value} -d '{quoted(option.words)}'"
            )
    return "\n".join(lines)


def _man(commands: list[CommandHelp]) -> str:
    def literal(text: str) -> str:
        lines = (f"\\&{line}" for line in text.replace("\\", "\\e").replace("-", "\\-").splitlines())
        return "\n".join([".nf", *lines, ".fi"])

    title, _, text = overview().partition("\n\n")
    pages = [f'.SS "soxspipe {one.command}"\n{literal(one.text)}' for one in commands]
    return "\n".join(
        [
            f'.TH SOXSPIPE 1 "" "soxspipe {__version__}" "User commands"',
            ".SH NAME",
            f"soxspipe \\- {title.partition(': ')[2].rstrip('.')}",
            ".SH SYNOPSIS",
            literal(text),
            ".SH COMMANDS",
            *pages,
        ]
    )

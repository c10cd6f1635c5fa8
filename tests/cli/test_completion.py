"""Completions are tried in the shells that are installed, the man page with groff."""

import shutil
import subprocess

import pytest

from soxspipe.cli import usage
from soxspipe.cli.command_line import main

BASH = """
source completions
compopt() { :; }
COMP_WORDS=(soxspipe md); COMP_CWORD=1; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe mdark --sch); COMP_CWORD=2; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe prep --sch); COMP_CWORD=2; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe mdark --output = ); COMP_CWORD=4; COMP_WORDS[4]=comp; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe mdark --output = ); COMP_CWORD=3; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe completion ''); COMP_CWORD=2; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe completion f); COMP_CWORD=2; _soxspipe; echo "${COMPREPLY[@]}"
COMP_WORDS=(soxspipe completion --h); COMP_CWORD=2; _soxspipe; echo "${COMPREPLY[@]}"
"""
ZSH = "autoload -U compinit; compinit -u -D; source ./completions; echo $_comps[soxspipe]"
FISH = "source completions; complete -C 'soxspipe md'; complete -C 'soxspipe mdark --sch'"


def printed(shell, capsys):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("shell", "program", "expected"),
    [
        ("bash", BASH, "mdark\n--scheduler=\n\ncompletions\ncompletions\nbash zsh fish man\nfish\n--help\n"),
        ("zsh", ZSH, "_soxspipe\n"),
        ("fish", FISH, "mdark\tReduce raw darks to a master dark\n--scheduler\treduce on "),
    ],
)
def test_a_shell_completes_commands_and_options(shell, program, expected, capsys, tmp_path):
    text = printed(shell, capsys)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "completions").write_text(text)
    run = subprocess.run([shell, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    assert run.stdout.startswith(expected)


def test_the_man_page_has_each_command_and_option(capsys, tmp_path):
    text = printed("man", capsys)
    for name in usage.COMMANDS:
        assert f'.SS "soxspipe {name}"' in text
        for option in usage.CommandHelp(name).options:
            assert option.replace("-", "\\-") in text
    if shutil.which("groff") is not None:
        run = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww"], input=text, capture_output=True, text=True, timeout=60
        )
        assert run.stderr == ""
        assert "reduce raw darks" in run.stdout


def test_an_unknown_shell_is_refused(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "unknown shell 'tcsh'" in capsys.readouterr().err

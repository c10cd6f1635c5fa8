"""Pages whose examples a reader tries: each is walked from top to bottom, and what it shows must come.

Blocks are Python code, ``>>>`` examples, ``console`` sessions, and files, whose names are their captions. A session
that cannot be had here is a ``shell-session`` in the page.
"""

import doctest
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import soxspipe

ROOT = Path(soxspipe.__file__).parent.parent
DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\S+)\n(?:   :caption: (?P<name>\S+)\n)?\n(?P<text>(?:(?:   .*)?\n)+)"
    r"|(?P<examples>(?:^>>> .*\n(?:^\S.*\n|^ .*\n)*)+)",
    re.MULTILINE,
)
SESSION = re.compile(r"^\$ (?P<command>.*\n(?:> .*\n)*)(?P<output>(?:[^$].*\n)*)", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_examples(text, page, names):
    test = doctest.DocTestParser().get_doctest(text, names, page, None, None)
    said = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    names.update(test.globs)


def run_session(text):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment, code = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}, 0
    for match in SESSION.finditer(text):
        command = f"(exit {code})\n" + match["command"].replace("\n> ", "\n")
        run = subprocess.run(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        code = run.returncode
        assert doctest.OutputChecker().check_output(match["output"], run.stdout, FLAGS), (command, run.stdout)


@pytest.mark.parametrize(
    "pages",
    [["utilities/clip_and_stack", "utilities/create_noise_map"], ["utilities/fit_dark_rate"],
     pytest.param(["tutorial"], marks=pytest.mark.slow)],
    ids=lambda pages: pages[0],
)  # fmt: skip
def test_what_pages_show_comes(pages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for page in pages:
        source = (DOCS / f"{page}.rst").read_text()
        blocks = list(BLOCK.finditer(source))
        assert "\n>>>" not in BLOCK.sub("\n", source), "an example that would be left out"
        assert "code-block::" not in BLOCK.sub("\n", source), "a block that would be left out"
        for match in blocks:
            text = match["examples"] or textwrap.dedent(match["text"])
            if match["examples"]:
                run_examples(text, page, names)
            elif match["name"]:
                Path(match["name"]).write_text(text.rstrip("\n") + "\n")
            elif match["language"] == "console":
                run_session(text)
            elif match["language"] == "python":
                exec(compile(text, page, "exec"), names)
        assert blocks

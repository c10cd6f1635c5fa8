"""The examples of the documentation: each page runs from top to bottom, and its output must be the one it shows.

Blocks are Python code, ``>>>`` examples, ``console`` sessions, and files, whose names are their captions. A
``shell-session`` is not run.
"""

import doctest
import importlib
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import soxspipe
from soxspipe.instruments.keywords import shipped_instruments
from soxspipe.simulation import DarkSimulation, simulate_darks

ROOT = Path(soxspipe.__file__).parent.parent
DOCS = Path(__file__).parent.parent / "docs"
NIR = next(one for one in shipped_instruments() if one.name == "SOXS").detectors["NIR"]
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\S+)\n(?:   :caption: (?P<name>\S+)\n)?\n(?P<text>(?:(?:   .*)?\n)+)"
    r"|(?P<examples>(?:^>>> .*\n(?:^\S.*\n|^ .*\n)*)+)",
    re.MULTILINE,
)
SESSION = re.compile(r"^\$ (?P<command>.*\n(?:> .*\n)*)(?P<output>(?:[^$].*\n)*)", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_examples(text, page, names):
    test = doctest.DocTestParser().get_doctest(text, names, page, None, None)
    failures = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=failures.append, clear_globs=False)
    assert result.failed == 0, "".join(failures)
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
     ["night"], ["database"], ["cameras"], ["python"], ["using_the_dark"], ["report"], ["verify"], ["trend"],
     pytest.param(["files"], marks=pytest.mark.slow), pytest.param(["tutorial"], marks=pytest.mark.slow)],
    ids=lambda pages: pages[0],
)  # fmt: skip
def test_pages_show_the_output_of_their_examples(pages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for page in pages:
        source = (DOCS / f"{page}.rst").read_text()
        blocks = list(BLOCK.finditer(source))
        assert "\n>>>" not in BLOCK.sub("\n", source), "an example that is not run"
        assert "code-block::" not in BLOCK.sub("\n", source), "a block that is not run"
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


def test_the_example_recipe_makes_the_mean_of_its_frames(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    recipe = importlib.import_module("example_recipe").soxs_meandark
    raw = simulate_darks(tmp_path / "raw", DarkSimulation(shape=(64, 64), frames=3)).frames
    product = recipe(raw, output_dir=tmp_path).produce_product()
    assert product.path.name == "20260301T100000_NIR_1_MEANDARK_300_0S_SOXS.fits"
    mean_adu = np.mean([fits.getdata(path).astype(float) for path in raw], axis=0)[4:-4, 4:-4]
    expected_e = np.rot90(mean_adu, NIR.rot90_count) * NIR.conad_e_per_adu
    np.testing.assert_allclose(product.frame.data, expected_e, rtol=1e-5)


def test_the_tables_of_the_pages_are_those_of_the_package(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_ext")
    tables = importlib.import_module("tables")
    found = {page.name: text == new for page, text, new in tables.pages()}
    assert found.pop("settings.rst")
    assert all(found.values()), "run 'python docs/_ext/tables.py'"


def test_links_of_the_readme_lead_to_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link

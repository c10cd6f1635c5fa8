"""The examples of the documentation: each page runs from top to bottom, and its output must be the one it shows.

Blocks are Python code, ``>>>`` examples, ``console`` sessions, and files, whose names are their captions. A
``shell-session`` is not run.
"""

import doctest
import importlib
import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std

import soxspipe
from soxspipe.instruments.keywords import shipped_instruments
from soxspipe.settings import Settings
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


@pytest.fixture
def environment(shell_path):
    return {**os.environ, "PATH": shell_path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def run_session(text, environment):
    code = 0
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
def test_pages_show_the_output_of_their_examples(pages, tmp_path, monkeypatch, environment):
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
                run_session(text, environment)
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


def prepared_folder():
    """Make the files that the commands of the README and of the pages of recipes name, in the working directory."""
    small = {"shape": (128, 128), "frames": 3, "detector_seed": 7}
    night = "2026-03-01T"
    for name, simulation in {
        "night/nir": {"start": f"{night}10:00:00"},
        "night/short": {"start": f"{night}14:00:00", "exptime_s": 60.0},
        "single": {"start": "2026-03-02T10:00:00"},
        "bias": {"arm": "VIS", "kind": "BIAS", "shape": (128, 200)},
        "vis": {"arm": "VIS", "shape": (128, 200), "start": "2026-03-03T10:00:00"},
        "next": {"start": "2026-03-04T10:00:00", "seed": 9},
    }.items():
        frames = simulate_darks(f"raw-{name}", DarkSimulation(**{**small, **simulation})).frames
        Path(name).mkdir(parents=True)
        for path in frames:
            path.rename(Path(name, path.name))
    Path("darks.sof").write_text("".join(f"{path} DARK_NIR\n" for path in sorted(Path("single").glob("*.fits"))))
    Path("frames").mkdir()
    for path in sorted(Path("next").glob("*.fits")):
        path.rename(Path("frames", path.name))
    first = next(Path("frames").glob("*.fits"))
    for copy in ("dark.fits", "frame.fits"):
        Path(copy).write_bytes(first.read_bytes())


@pytest.fixture
def shell(environment):
    """Return a function that runs commands of a page as a person does, and expects that each succeeds."""

    def run(commands):
        done = subprocess.run(["bash", "-e", "-c", commands], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    return run


@pytest.mark.slow
def test_the_commands_and_the_code_of_the_readme_run(tmp_path, monkeypatch, shell):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prepared_folder()
    (commands,) = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shell("\n".join(line for line in commands.splitlines() if " watch " not in line))
    assert all(f"soxspipe {name} " in commands or name in ("demo", "prep") for name in ("reduce", "watch", "mdark"))
    names = {"frames": [np.random.default_rng(i).normal(100, 5, (64, 64)).astype(np.float32) for i in range(5)]}
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    shell("rm -r reduced")
    for block in blocks:
        exec(
            compile(
                block.replace("clip_and_stack(frames)", 'clip_and_stack(frames, unit="electron")'), "README", "exec"
            ),
            names,
        )
    assert names["product"].qc["RON RAW"].unit == "electron"
    assert names["bad"].shape == (64, 64)


@pytest.mark.parametrize("page", sorted(path.stem for path in (DOCS / "recipes").glob("*.rst")))
def test_the_commands_of_the_pages_of_recipes_run(page, tmp_path, monkeypatch, shell):
    monkeypatch.chdir(tmp_path)
    prepared_folder()
    if "dark_current" in page or "subtract" in page:
        shell("soxspipe mdark night/nir night/short --output=made -q --no-report --no-database")
        masters = sorted(Path("made").glob("*_MDARK_*S_SOXS.fits"))
        Path("masters.sof").write_text("".join(f"{path}\n" for path in masters))
        Path("master_dark.fits").write_bytes(next(p for p in masters if "_300_" in p.name).read_bytes())
    source = (DOCS / "recipes" / f"{page}.rst").read_text(encoding="utf-8")
    sessions = [match["text"] for match in BLOCK.finditer(source) if match["language"] == "console"]
    assert sessions
    shell("\n".join(re.findall(r"^ *\$ (.*)$", "".join(sessions), re.MULTILINE)))


def test_the_page_about_settings_runs(tmp_path, monkeypatch, shell):
    monkeypatch.chdir(tmp_path)
    prepared_folder()
    source = (DOCS / "settings.rst").read_text(encoding="utf-8")
    blocks = {"console": [], "python": [], "yaml": []}
    for match in BLOCK.finditer(source):
        if match["language"] in blocks:
            blocks[match["language"]].append(textwrap.dedent(match["text"]))
    assert {language: len(of) for language, of in blocks.items()} == {"console": 2, "python": 1, "yaml": 3}
    shell("\n".join(re.findall(r"^\$ (.*)$", "".join(blocks["console"]), re.MULTILINE)))
    exec(compile(blocks["python"][0], "settings", "exec"), {})
    for text in blocks["yaml"]:
        Path("part.yaml").write_text(text)
        Settings.load("part.yaml")


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((DOCS / "notebooks" / "master_dark.ipynb").read_text(encoding="utf-8"))
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)
    assert names["product"]._repr_html_().count("<tr") > 5
    assert 0.9 < mad_std(names["pulls"]) < 1.1
    assert names["hot"].any()

"""The recipes of packages list what pyproject.toml requires."""

import re
import tomllib
from pathlib import Path

import soxspipe
from soxspipe.version import __version__

ROOT = Path(soxspipe.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def words(requirement):
    """Return name and lowest version of a requirement."""
    return tuple(re.fullmatch(r"([\w-]+)(?:\[\w+\])?\s*>=\s*([\w.]+)", requirement).groups())


def test_the_conda_recipe_has_the_version_and_the_requirements_of_the_project():
    text = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    run = re.search(r"  run:\n((?:    - .*\n)+)", text)[1]
    listed = {words(line.strip()[2:]) for line in run.splitlines()} - {("python", "3.11")}
    assert listed == {words(requirement) for requirement in PROJECT["dependencies"]}
    assert f'version = "{__version__}"' in text


def test_the_page_of_dependencies_names_each_of_them():
    page = (ROOT / "docs" / "dependencies.rst").read_text(encoding="utf-8")
    extras = [one for requirements in PROJECT["optional-dependencies"].values() for one in requirements]
    for requirement in PROJECT["dependencies"]:
        assert f"   * - {words(requirement)[0]}\n" in page
    for extra in PROJECT["optional-dependencies"]:
        assert f"``{extra}``" in page
    assert extras


def test_the_container_installs_files_that_exist():
    text = (ROOT / "packaging" / "Containerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name

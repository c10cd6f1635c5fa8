"""The cost of each direct dependency: its files in MB, with those that nothing else here needs, and its import in ms.

``python -m benchmarks.dependencies`` prints a row for each requirement of pyproject.toml that is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

#: Packages that are imported under another name.
MODULES = {"pyyaml": "yaml", "pyerfa": "erfa", "pillow": "PIL"}
REPEATS = 3


def project() -> dict[str, list[str]]:
    """Return the requirements of the project by extra; those of every installation under an empty name."""
    table = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def name_of(requirement: str) -> str:
    """Return the name of the package of a requirement."""
    return re.split(r"[\[><=!~; ]", requirement, maxsplit=1)[0].lower()


def needed_by(name: str, found: set[str]) -> set[str]:
    """Return a package and all that it needs, as far as they are installed; added to those that were found before."""
    if name not in found:
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return found
        found.add(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                needed_by(name_of(requirement), found)
    return found


def megabytes(name: str) -> float:
    """Return the size of the files of a package."""
    files = metadata.files(name) or []
    return sum(Path(str(file.locate())).stat().st_size for file in files if Path(str(file.locate())).exists()) / 1e6


def import_ms(module: str) -> float:
    """Return the time that a new process needs to import a module, above that of an empty one."""

    def seconds(code: str) -> float:
        program = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
        runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(REPEATS)]
        return min(float(run.stdout.split()[-1]) for run in runs)

    return 1000 * seconds(f"import {module}")


def main() -> None:
    """Print the table."""
    direct = [name_of(requirement) for requirement in project()[""]]
    print(f"{'package':14} {'MB':>6} {'alone MB':>9} {'import ms':>10}")
    for name in direct:
        others = set[str]()
        for other in direct:
            if other != name:
                needed_by(other, others)
        alone = needed_by(name, set()) - others
        print(
            f"{name:14} {megabytes(name):6.1f} {sum(map(megabytes, alone)):9.1f} "
            f"{import_ms(MODULES.get(name, name)):10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

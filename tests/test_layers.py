"""Imports point downward only, and what is heavy is imported where it is used."""

import ast
import functools
import graphlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import soxspipe

ROOT = Path(soxspipe.__file__).parent

#: The rank of each module or package; a module may import from its own rank and from below.
RANKS = {
    "soxspipe": 0,
    "soxspipe.exceptions": 0,
    "soxspipe.signals": 0,
    "soxspipe.version": 0,
    "soxspipe.text": 0,
    "soxspipe.templates": 0,
    "soxspipe.checked_model": 0,
    "soxspipe.pixel_codes": 0,
    "soxspipe.parallel": 0,
    "soxspipe.run_log": 0,
    "soxspipe.stacking": 1,
    "soxspipe.quality": 1,
    "soxspipe.comparison": 1,
    "soxspipe.yaml_files": 2,
    "soxspipe.settings": 2,
    "soxspipe.settings_sections": 2,
    "soxspipe.instruments": 2,
    "soxspipe.fits_files": 2,
    "soxspipe.inputs": 3,
    "soxspipe.simulation": 4,
    "soxspipe.products": 4,
    "soxspipe.report": 4,
    "soxspipe.night": 4,
    "soxspipe.database": 4,
    "soxspipe.trend": 5,
    "soxspipe.recipes": 5,
    "soxspipe.execution": 6,
    "soxspipe.cli": 7,
    "soxspipe.cl_utils": 7,
    "soxspipe.__main__": 7,
}
#: Rooms: their modules have the rank of the room.
ROOMS = (
    "soxspipe.stacking", "soxspipe.quality", "soxspipe.comparison", "soxspipe.instruments", "soxspipe.fits_files",
    "soxspipe.inputs", "soxspipe.simulation", "soxspipe.products", "soxspipe.report", "soxspipe.night",
    "soxspipe.database", "soxspipe.trend", "soxspipe.recipes", "soxspipe.execution", "soxspipe.cli",
)  # fmt: skip

COMMAND_LINE = {"soxspipe.cli.command_line", "soxspipe.cli.terminal", "soxspipe.__main__"}
#: Modules that set signals up, or end a process.
PROCESS = {"soxspipe.signals", "soxspipe.execution.local_processes"}

#: Packages and modules that only some modules may import, at whatever place.
ONLY_IN = {
    "fundamentals": {"soxspipe.cli.fundamentals_adapter"},
    "docopt": {"soxspipe.cli.usage"},
    "watchdog": {"soxspipe.night.arrival"},
    "distributed": {"soxspipe.execution.dask_cluster"},
    "rich": {"soxspipe.cli.terminal", "soxspipe.cli.board", "soxspipe.cli.summary"},
    "bokeh": {"soxspipe.trend.page", "soxspipe.trend.plots"},
    "yaml": {"soxspipe.yaml_files"},
    "sqlalchemy": {
        "soxspipe.database.connection",
        "soxspipe.database.quality_database",
        "soxspipe.database.schema",
        "soxspipe.database.trend_tables",
    },
    "jinja2": {"soxspipe.templates"},
}
#: What layer 1 has nothing to do with: paths, headers, settings, files.
NOT_IN_LAYER_1 = {"astropy.io", "pathlib", "os", "glob", "shutil", "tempfile", "yaml", "soxspipe.yaml_files"}

#: What no import of a soxspipe module may bring along.
HEAVY = {
    "ccdproc", "matplotlib", "astropy.nddata", "fundamentals", "docopt", "rich", "dask", "pandas", "numba",
    "sqlalchemy", "jinja2", "PIL", "astropy.visualization", "bokeh",
}  # fmt: skip
#: What defines a class of a heavy package: it is imported inside functions only.
MAY_BE_HEAVY = {"soxspipe.products.frames"}


def name_of(path):
    parts = ("soxspipe", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def tree_of(name):
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


def rank(name):
    room = next((room for room in ROOMS if name.startswith(f"{room}.")), name)
    return RANKS.get(name, RANKS.get(room))


def statements(node):
    """Yield the statements that an import of a module runs."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                yield from statements(child)


def imports(name, nodes=None):
    """Yield all that a module imports, at its top or inside its functions, as full names."""
    package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes or ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in SOURCES else base


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def python(code, *arguments):
    """Run code in a fresh process and return what it prints on both streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return run.stdout, run.stderr


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_downward(name):
    assert rank(name) is not None, f"{name} has no rank: give it one here"
    upward = {target for target in imports(name) if within(target, "soxspipe") and rank(target) > rank(name)}
    assert not upward


@pytest.mark.parametrize("name", SOURCES)
def test_doors_are_used_by_whom_they_are_made_for(name):
    for target in imports(name):
        for package, users in ONLY_IN.items():
            if within(target, package):
                assert name in users, f"{name} imports {target}"


@pytest.mark.parametrize("name", [name for name in SOURCES if rank(name) == 1])
def test_layer_1_knows_arrays_only(name):
    strangers = {target for target in imports(name) for package in NOT_IN_LAYER_1 if within(target, package)}
    assert not strangers


def test_any_module_can_be_the_first_to_be_imported():
    """No import at the top of a module leads back to it. Who imports a module imports the packages around it too."""
    graph = {}
    for name in SOURCES:
        direct = set(imports(name, list(statements(tree_of(name))))) & set(SOURCES)
        around = {room for target in direct for room in SOURCES if within(target, room) and not within(name, room)}
        graph[name] = direct | around
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(SOURCES)


#: Imports all modules, and prints what heavy packages each brings along.
IMPORTS = """
import importlib, json, sys
heavy, *names = map(json.loads, sys.argv[1:])
for name in names[0]:
    before = set(sys.modules)
    importlib.import_module(name)
    if brought := (set(sys.modules) - before) & set(heavy):
        print(name, *brought)
"""


def test_the_modules_import_nothing_heavy():
    names = [name for name in SOURCES if name not in MAY_BE_HEAVY]
    assert python(IMPORTS, json.dumps(sorted(HEAVY)), json.dumps(names)) == ("", "")


@pytest.mark.parametrize("name", ["soxspipe", "soxspipe.exceptions", "soxspipe.cli.command_line", "soxspipe.__main__"])
def test_what_every_command_imports_is_light(name):
    modules = python(f"import sys, {name}; print(*sys.modules)")[0].split()
    assert not {"numpy", "astropy", "yaml", "scipy"} & set(modules)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_light(option):
    code = (
        "import sys; sys.argv = ['soxspipe', sys.argv[1]]\n"
        "from soxspipe.__main__ import run\n"
        "run(); print(*sys.modules, file=sys.stderr)"
    )
    modules = set(python(code, option)[1].split())
    assert "soxspipe.cli.usage" in modules
    heavy = {"numpy", "astropy", "ccdproc", "yaml", "scipy", "fundamentals", "rich", "docopt", "multiprocessing"}
    assert not modules & heavy


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in COMMAND_LINE])
def test_only_the_command_line_prints_exits_and_sets_logging_up(name):
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "exit", "quit", "sys.exit", "input"}, node.lineno
            assert called not in {"logging.basicConfig", "logging.StreamHandler"}, node.lineno
            assert called not in {"os._exit", "signal.signal"} or name in PROCESS, node.lineno
            assert not called.startswith(("sys.stdout.", "sys.stderr.")), node.lineno


def test_only_the_entry_point_exits():
    for name in COMMAND_LINE - {"soxspipe.__main__"}:
        calls = {ast.unparse(node.func) for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)}
        assert "sys.exit" not in calls

"""Every system call of a small reduction that touches its output fails once: exit code 0 means the right product.

strace lets the call number `AT` fail, counted in each process. The reductions are forked from one process that has
imported everything. Each begins with some calls on /dev/null, so that `AT` is its first, its second, ... own call.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.products.atomic_files import FOLDER_LOCK, JOURNAL, RUN_FOLDER

ROOT = Path(__file__).parents[1]
STEM = "20260301T100000_NIR_1_MDARK_300_0S_SOXS"
NAMES = [f"{STEM}{ending}" for ending in (".fits", "_BPMAP.fits", "_qc.json", ".log")]
#: More calls than a reduction makes.
AT = 500
CALLS = {"write": "write", "fsync": "fsync", "close": "close", "openat": "openat", "pwrite64": "pwrite64",
         "rename": "rename,renameat,renameat2"}  # fmt: skip

#: Runs one reduction for each count in its own process, and prints the exit codes.
RUNS = f"""
import os, shutil, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from soxspipe import __main__ as entry
from soxspipe.cli import command_line
from soxspipe.products import atomic_files
import soxspipe.recipes, astropy.nddata, astropy.table, scipy.ndimage, scipy.special, scipy.stats
atomic_files.secrets.token_hex = lambda _: "0"
null, call = os.open(os.devnull, os.O_RDWR), sys.argv[1]

def count_one():
    if call == "write":
        os.write(null, b"")
    elif call == "fsync":
        try:
            os.fsync(null)
        except OSError:
            pass
    elif call == "close":
        os.close(os.dup(null))
    elif call == "openat":
        os.close(os.open(os.devnull, os.O_RDONLY))
    elif call == "rename":
        os.rename("dummy", "dummy")

for number in map(int, sys.argv[2:]):
    shutil.copytree("reduced", "out")
    if (child := os.fork()) == 0:
        code = 99
        try:
            for _ in range({AT} - number):
                count_one()
            options = ["--overwrite", "--no-database", "--no-report", "--workers=1", "-q"]
            sys.argv[1:] = ["mdark", "raw/darks.sof", "--output=out", *options]
            code = entry.run()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.rename("out", f"{{call}}-{{number}}")
    print("run", child, number, code, flush=True)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("strace") is None, reason="needs strace"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three small darks, and an older product of them that differs from the new one in its log alone."""
    folder = tmp_path_factory.mktemp("made")
    assert command_line.main(["simulate", str(folder / "raw"), "--shape=64x64", "--frames=3", "-q"]) == 0
    options = [f"--output={folder / 'reduced'}", "--no-database", "-q"]
    assert command_line.main(["mdark", str(folder / "raw/darks.sof"), *options]) == 0
    (folder / "dummy").touch()
    return folder


def run_under_strace(folder, call, numbers, *options):
    """Return process, number and exit code of each reduction, and the lines of the trace."""
    hidden = f"out/{RUN_FOLDER.format('0')}"
    paths = ["out", hidden, f"out/{FOLDER_LOCK}", f"{hidden}/{JOURNAL}", os.devnull, "dummy"]
    paths += [f"{parent}/{name}" for parent in ("out", hidden) for name in NAMES]
    paths += [f"{hidden}/{name}.older" for name in NAMES]
    paths += [str(folder / path) for path in paths if path != os.devnull]
    command = ["strace", "-fqq", "--seccomp-bpf", "-o", "trace", *(f"--trace-path={path}" for path in paths), *options]
    run = subprocess.run(
        [*command, sys.executable, "-c", RUNS, call, *map(str, numbers)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (folder / "trace").read_text(errors="replace").splitlines()
    results = [tuple(map(int, match)) for match in re.findall(r"^run (\d+) (\d+) (\d+)$", run.stdout, re.MULTILINE)]
    return results, lines, run.stderr


@pytest.fixture(scope="module")
def counts(made):
    """Return the number of calls of each kind in a whole reduction."""
    [(process, _, code)], lines, errors = run_under_strace(made, "none", [0], f"--trace={','.join(CALLS.values())}")
    assert code == 0, errors
    own = [match[1] for line in lines if (match := re.match(rf"{process} +([a-z0-9]+)\(", line))]
    return {call: sum(name in names.split(",") for name in own) for call, names in CALLS.items()}


def state_of(folder):
    """Return the visible files: pixels of FITS files, whose sums must be right, and the others as they are."""
    state = {}
    for path in folder.iterdir():
        if path.suffix == ".fits":
            with fits.open(path, checksum=True) as hdus:
                state[path.name] = [hdu.data.tobytes() for hdu in hdus]
        elif not path.name.startswith("."):
            state[path.name] = path.read_text() if path.suffix == ".json" else ""
            assert path.suffix == ".json" or "written to" in path.read_text()
    return state


@pytest.mark.parametrize(
    ("call", "error", "step"),
    [("write", "EIO", 1), ("write", "EDQUOT", 4), ("write", "ENOSPC", 4), ("pwrite64", "ENOSPC", 1),
     ("fsync", "EIO", 1), ("close", "EDQUOT", 1), ("rename", "EIO", 1), ("openat", "ENOSPC", 1)],
)  # fmt: skip
def test_a_failed_call_never_ends_as_another_product(made, counts, call, error, step):
    """Whichever call fails: the files are a whole set, and that of the new run where the exit code is 0."""
    if call == "pwrite64" and counts[call] == 0:  # nothing uses it today
        return
    assert counts[call] >= 8
    numbers = range(1, counts[call] + 1, step)
    inject = f"--inject={CALLS[call]}:error={error}:when={AT}"
    results, lines, errors = run_under_strace(made, call, numbers, f"--trace={CALLS[call]}", inject)
    injected = {int(line.split()[0]) for line in lines if "INJECTED" in line}
    expected = state_of(made / "reduced")
    older = {name: (made / "reduced" / name).read_bytes() for name in NAMES}
    assert len(results) == len(numbers)
    assert {process for process, *_ in results} == injected
    for _, number, code in results:
        folder = made / f"{call}-{number}"
        assert code in (0, 1), errors
        assert state_of(folder) == expected
        is_older = {(folder / name).read_bytes() == older[name] for name in (f"{STEM}.log", f"{STEM}.fits")}
        assert len(is_older) == 1  # a set of one run
        assert code == 1 or is_older == {False}
        shutil.rmtree(folder)
    if call == "write":
        assert {code for *_, code in results} == {1}

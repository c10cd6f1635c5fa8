"""Ten years of calibrations, by simulation: many small sets with a process killed, and full-size sets an hour.

``python -m benchmarks.scale archive [SETS]``  2000 sets of 128 x 128 pixels, here and on a local Dask cluster; in each
                                               run one of two workers is killed midway
``python -m benchmarks.scale full [SETS]``     20 sets of ten full NIR frames, with one worker and with two
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits

from soxspipe.simulation.detector import SimulatedDetector
from soxspipe.simulation.headers import frame_header
from soxspipe.simulation.parameters import DarkSimulation

SOXSPIPE = [sys.executable, "-m", "soxspipe"]
PATIENCE_S = 60.0


def make_archive(folder: Path, sets: int, **parameters: object) -> None:
    """Write sets of raw darks with equal pixels, an hour apart."""
    folder.mkdir()
    first = datetime(2016, 1, 1, 13)
    detector = SimulatedDetector(DarkSimulation(**parameters))
    images = [np.asarray(detector.frame(index)) for index in range(detector.simulation.frames)]
    for number in range(sets):
        start = f"{first + timedelta(hours=number):%FT%T}"
        simulation = DarkSimulation(**parameters, start=start)
        for index, image in enumerate(images):
            path = folder / f"{number // 100:03}" / simulation.name_of(index)
            path.parent.mkdir(exist_ok=True)
            fits.PrimaryHDU(image, frame_header(simulation, index)).writeto(path)


def masters(folder: Path) -> int:
    """Return the number of masters in a folder."""
    return sum(1 for path in folder.glob("*_MDARK_*.fits") if not path.stem.endswith("_BPMAP"))


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and workers as the commands of Dask do, and yield the address and the workers."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    with (folder / "dask.log").open("ab") as log:

        def start(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*dask, *words], stdout=log, stderr=log, cwd=folder)

        scheduler = start("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", f"--scheduler-file={file}")
        processes = [scheduler]
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not (file.exists() and file.read_text()):
                if time.monotonic() > deadline:
                    raise TimeoutError("no Dask scheduler")
                time.sleep(0.1)
            address = json.loads(file.read_text())["address"]
            options = ("--nthreads=1", "--no-dashboard", "--no-nanny", "--host=127.0.0.1")
            processes += [start("worker", address, *options) for _ in range(workers)]
            yield address, processes[1:]
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()
            file.unlink(missing_ok=True)


def local_worker(program: int) -> int:
    """Return the process id of a worker of a soxspipe program: a child of its fork server."""
    for child in psutil.Process(program).children(recursive=True):
        if child.parent().pid != program:
            return int(child.pid)
    raise LookupError("no worker")


def run(raw: Path, output: Path, *options: str, midway: tuple[int, Callable[[int], object]] | None = None) -> float:
    """Reduce a folder, do something when half of the masters are there, and return the time in seconds."""
    started = time.monotonic()
    with (output.parent / f"{output.name}.log").open("wb") as log:
        program = subprocess.Popen(
            [*SOXSPIPE, "reduce", str(raw), f"--output={output}", *options], stdout=subprocess.PIPE, stderr=log
        )
        while midway is not None and program.poll() is None:
            if output.exists() and masters(output) >= midway[0]:
                midway[1](program.pid)
                midway = None
            time.sleep(0.2)
        printed = program.communicate()[0].decode().split()
    elapsed = time.monotonic() - started
    twice = [name for name, number in Counter(printed).items() if number > 1]
    print(
        f"{' '.join(options):60} {elapsed:7.1f} s, exit {program.returncode}, {masters(output)} masters, "
        f"{len(printed)} printed, {len(twice)} twice, {3600 * masters(output) / elapsed:.0f} sets an hour",
        flush=True,
    )
    return elapsed


def archive(folder: Path, sets: int) -> None:
    """Reduce many small sets, with one of two workers killed midway."""
    raw = folder / "raw"
    make_archive(raw, sets, shape=(128, 128), frames=3)
    run(raw, folder / "here", "--workers=2", midway=(sets // 2, lambda pid: os.kill(local_worker(pid), signal.SIGKILL)))
    with dask_cluster(folder, 2) as (address, workers):
        run(raw, folder / "dask", f"--scheduler={address}", midway=(sets // 2, lambda _: workers[0].kill()))


def full(folder: Path, sets: int) -> None:
    """Reduce full NIR sets with one worker and with two, here and on a local Dask cluster."""
    raw = folder / "raw"
    make_archive(raw, sets, frames=10)
    here = [run(raw, folder / f"here{number}", f"--workers={number}") for number in (1, 2)]
    times = []
    for number in (1, 2):
        with dask_cluster(folder, number) as (address, _):
            times.append(run(raw, folder / f"dask{number}", f"--scheduler={address}"))
    print(f"two workers over one: {here[0] / here[1]:.2f} here, {times[0] / times[1]:.2f} on Dask")


def main() -> None:
    """Run a part of the benchmark in a temporary folder."""
    part, *number = sys.argv[1:] or ["archive"]
    with tempfile.TemporaryDirectory() as folder:
        if part == "archive":
            archive(Path(folder), int(number[0]) if number else 2000)
        else:
            full(Path(folder), int(number[0]) if number else 20)


if __name__ == "__main__":
    main()

"""Measure time and memory of reductions, and of every other program that is installed.

Prints the promises with their measurements, and writes the tables and the figure of the documentation. Run it in the
folder of the project on a quiet machine with Linux: ``python -m benchmarks.speed``. The exit code is 1 when a promise
does not hold.
Two parts can be measured alone; they write nothing:
``python -m benchmarks.speed profile`` prints the seconds of each stage of a reduction,
``python -m benchmarks.speed workers`` compares two workers with one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.accuracy.tables import as_rst, as_text
from benchmarks.accuracy.upstream import python_with_soxspipe

from .figures import draw
from .processes import measure_growth, measure_programs, measure_start, measure_workers, profile
from .programs import (
    INSTALL_UPSTREAM,
    ONE_WORKER,
    OURS,
    ROOT,
    SIRIL,
    UPSTREAM,
    WORKERS,
    Program,
    installed_programs,
)
from .promises import SETS, TEN, Results, check
from .samples import THOUSAND, Sample, large, nir, refused, thousand
from .tables import machine, tables

#: Numbers of frames of 2048 x 2048, and those of the quick run.
NUMBERS, QUICK = (5, 10, 20, 25, 100, 200), (5, 10)
#: With this number only this package and upstream soxspipe are measured.
UPSTREAM_ONLY = 20
#: Programs that a promise needs, by number of frames.
REQUIRED = {
    10: (OURS, ONE_WORKER, UPSTREAM),
    UPSTREAM_ONLY: (OURS, UPSTREAM),
    100: (OURS, ONE_WORKER, SIRIL),
    200: (OURS,),
    THOUSAND: (OURS,),
}
#: Numbers of frames that are stacked in memory, and those of the quick run.
IN_MEMORY, IN_MEMORY_QUICK = (10, 25, 100), (10,)
#: Most frames in memory for stock ccdproc: it needs four times their memory, and a minute.
CCDPROC_MOST = 25
#: Numbers of frames for the slope of time, and its runs for each run of the programs: it needs precise differences.
GROWTH, GROWTH_RUNS = (10, 25, 100, 200), 3
#: Numbers of frames of the profile, and those of the quick run.
STAGED, STAGED_QUICK = (10, 25, 100), (10,)
#: Runs of the start-up commands for each run of the programs.
START_RUNS = 2
#: Most runs of the eight sets, as one round takes as long as twenty reductions.
SETS_RUNS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run all measurements and return the exit code."""
    options = _parse(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="speed-") as temporary:
        data = options.data or Path(temporary) / "data"
        scratch = Path(temporary) / "scratch"
        for folder in (data, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        data = data.resolve()
        measure = {"all": _measure_all, "profile": _measure_stages, "workers": _measure_workers}[options.part]
        results, programs = measure(options, data, scratch)
    promises = [promise for promise in check(results) if options.part == "all" or promise.value is not None]
    arranged = tables(results, promises, programs)
    for table in arranged:
        print(as_text(table))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        # the command without the paths of this machine
        command = "python -m benchmarks.speed" + (" --quick" if options.quick else "")
        text = as_rst(arranged, command, time.perf_counter() - started)
        runs = f"Medians of {options.runs} runs; * marks a single one" if options.runs > 1 else "One run of each"
        about = f"Machine: {machine()}. {runs}.\n\n"
        (options.output / "performance_table.inc").write_text(about + text, encoding="utf-8")
        draw(results, options.output / "images")
    failed = sum(promise.holds is False for promise in promises)
    unknown = sum(promise.holds is None for promise in promises)
    seconds = time.perf_counter() - started
    print(
        f"{len(promises) - failed - unknown} of {len(promises)} promises hold, {failed} do not, "
        f"{unknown} not measured; {seconds:.0f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


def _measure_stages(options: argparse.Namespace, data: Path, scratch: Path) -> tuple[Results, list[Program]]:
    """Return the seconds of each stage."""
    numbers = STAGED_QUICK if options.quick else STAGED
    return Results(stages={n: profile(nir(data, n), options.runs, scratch) for n in numbers}), []


def _measure_workers(options: argparse.Namespace, data: Path, scratch: Path) -> tuple[Results, list[Program]]:
    """Return the times with two workers and with one."""
    sets = nir(data, SETS * TEN if options.quick else 100).split(TEN)[:SETS]
    programs = [program for program in installed_programs(sets[0], None)[0] if program.name in (OURS, ONE_WORKER)]
    results = Results()
    for n in (TEN,) if options.quick else (TEN, 100):
        results.timings |= measure_programs(nir(data, n), programs, options.runs, {}, scratch)[0]
    results.workers = measure_workers(sets, (1, WORKERS), min(options.runs, SETS_RUNS), scratch)
    return results, programs


def _measure_all(options: argparse.Namespace, data: Path, scratch: Path) -> tuple[Results, list[Program]]:
    """Return all measurements, and the programs."""
    quick, runs = options.quick, options.runs
    numbers = QUICK if quick else NUMBERS
    all_frames = nir(data, max(SETS * TEN, *numbers))  # the largest set first: smaller ones are parts of it
    programs, missing = installed_programs(nir(data, min(numbers)), options.peer_python)
    for line in missing:
        print(f"not installed: {line}", file=sys.stderr)
    results = Results(left_out=[f"{line.partition(':')[0]}: not installed" for line in missing])

    def measure(sample: Sample, *names: str, runs: int = runs) -> None:
        required = REQUIRED.get(sample.n, ()) if sample.label.isdigit() else ()
        _report(f"{sample.label} frames")
        chosen = [program for program in programs if not names or program.name in names]
        timings, left_out = measure_programs(sample, chosen, runs, results.timings, scratch, required)
        results.timings |= timings
        results.left_out += left_out

    for n in numbers:
        measure(nir(data, n), *((OURS, ONE_WORKER, UPSTREAM) if n == UPSTREAM_ONLY else ()))
    if not quick:
        measure(large(data, TEN))
        if (largest := thousand(data)) is None:
            results.left_out.append(f"{THOUSAND} frames: the disk has no room for them")
        else:
            measure(largest, OURS, ONE_WORKER, runs=0)
        _report("time against the number of frames")
        results.growth = measure_growth([nir(data, n) for n in GROWTH], GROWTH_RUNS * runs, scratch)
    sets = all_frames.split(TEN)
    _report("start-up and batch")
    results.start = measure_start(sets[:3], refused(data), runs if quick else START_RUNS * runs, scratch)
    _report(f"{SETS} sets of {TEN} frames")
    results.workers = measure_workers(sets[:SETS], (1, WORKERS), min(runs, SETS_RUNS), scratch)
    for n in IN_MEMORY_QUICK if quick else IN_MEMORY:
        _report(f"{n} frames in memory")
        results.in_memory[n] = _stack_in_memory(nir(data, n).sof(scratch / "memory.sof"), runs, n <= CCDPROC_MOST)
    _report("stages")
    results.stages = _measure_stages(options, data, scratch)[0].stages
    return results, programs


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stack_in_memory(sof: Path, runs: int, ccdproc: bool) -> dict[str, list[float]]:
    """Return nanoseconds per sample of each way to stack, measured by another process."""
    command = [sys.executable, "-m", "benchmarks.speed.in_memory", str(sof), str(runs)]
    if ccdproc:
        command.append("ccdproc")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    nanoseconds: dict[str, list[float]] = json.loads(done.stdout)
    return nanoseconds


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=("all", "profile", "workers"), default="all", help="(default: all)")
    parser.add_argument("--quick", action="store_true", help="few frames, one run each; writes no files by default")
    parser.add_argument(
        "--output", type=Path, help="folder of the tables and, in images/, the figure (default: docs; none if quick)"
    )
    parser.add_argument("--runs", type=int, help="runs of each program (default: 5; 1 if quick)")
    parser.add_argument("--data", type=Path, help="folder that keeps the frames for later runs, 11 GB (2 GB if quick)")
    parser.add_argument("--peer-python", help=f"Python of an environment with {UPSTREAM}")
    options = parser.parse_args(arguments)
    if options.runs is None:
        options.runs = 1 if options.quick else 5
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}, expected 1 or more")
    if options.part != "all" and options.output is not None:
        parser.error(f"--output is given with {options.part}, expected all: one part has no files")
    if options.output is None and not options.quick and options.part == "all":
        options.output = ROOT / "docs"
    if options.peer_python is not None:
        if (python := python_with_soxspipe(options.peer_python)) is None:
            parser.error(f"{options.peer_python} has no soxspipe: {INSTALL_UPSTREAM}")
        options.peer_python = python
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("memory is measured with /proc: run it on Linux")
    return options


if __name__ == "__main__":
    sys.exit(main())

"""Measure time and memory of reductions, beside every peer that is installed.

Prints what is promised and what was measured, and writes table and picture of the documentation. Run it in the
folder of the project on a quiet machine with Linux: ``python -m benchmarks.speed``. It exits with 1 when a promise does
not hold.
``python -m benchmarks.speed profile`` prints the seconds of each stage of one reduction, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.accuracy.peers import with_soxspipe
from benchmarks.accuracy.tables import as_rst, as_text

from .figures import draw
from .programs import HOW_TO_PEER, ONE_PROCESS, OURS, PEER, ROOT, SIRIL, Program, programs
from .promises import Results, check
from .samples import MANY, Sample, large, many, nir, refused
from .tables import machine, tables
from .whole import measure_growth, measure_sample, measure_small, profile

#: Numbers of frames of 2048 x 2048, and those of the quick run.
NUMBERS, QUICK = (5, 10, 20, 25, 100, 200), (5, 10)
#: With this number the only peer is the older soxspipe, whose promise it is.
FOR_PEER = 20
#: Numbers of frames for which something is promised beside the older soxspipe, and beside Siril.
PROMISED = {10: (OURS, PEER), FOR_PEER: (OURS, PEER), 100: (OURS, SIRIL), 200: (OURS,), MANY: (OURS,)}
#: Numbers of frames that are stacked in memory, and those of the quick run.
IN_MEMORY, IN_MEMORY_QUICK = (10, 25, 100), (10,)
#: Most frames in memory that stock ccdproc gets: it takes four times their memory, and a minute.
CCDPROC_MOST = 25
#: Numbers of frames between which time is to be linear, and runs for each of the others: differences are what counts.
LINEAR, GROWTH_RUNS = (10, 25, 100, 200), 3
#: Numbers of frames whose reduction is taken apart, and those of the quick run.
STAGED, STAGED_QUICK = (10, 25, 100), (10,)
#: Frames of each reduction of the batch, and of the large sample.
TEN = 10
#: Runs of the start-up commands for each of the others, which take longer.
SMALL_RUNS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run everything; return the exit code."""
    options = _parse(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="speed-") as temporary:
        data = options.data or Path(temporary) / "data"
        scratch = Path(temporary) / "scratch"
        for folder in (data, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        data = data.resolve()
        if options.what == "profile":
            results = Results(stages={n: profile(nir(data, n), options.runs, scratch) for n in STAGED})
            for table in tables(results, [], []):
                print(as_text(table))
            return 0
        results, todo = _measure(options, data, scratch)
    promises = check(results)
    arranged = tables(results, promises, todo)
    for table in arranged:
        print(as_text(table))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        # words that a reader can repeat, without the paths of whoever ran it
        command = "python -m benchmarks.speed" + " --quick" * options.quick
        text = as_rst(arranged, command, time.perf_counter() - started)
        runs = f"Medians of {options.runs} runs; * marks a single one" if options.runs > 1 else "One run of each"
        about = f"Machine: {machine()}. {runs}.\n\n"
        (options.output / "performance_table.inc").write_text(about + text, encoding="utf-8")
        draw(results, options.output / "images")
    failed = sum(promise.holds is False for promise in promises)
    unknown = sum(promise.holds is None for promise in promises)
    took = time.perf_counter() - started
    print(
        f"{len(promises) - failed - unknown} of {len(promises)} promises hold, {failed} do not, "
        f"{unknown} not measured; {took:.0f} s",
        file=sys.stderr,
    )
    return 1 if failed else 0


def _measure(options: argparse.Namespace, data: Path, scratch: Path) -> tuple[Results, list[Program]]:
    quick, runs = options.quick, options.runs
    numbers = QUICK if quick else NUMBERS
    all_frames = nir(data, max(3 * TEN, *numbers))  # the largest set first: the others begin it
    first = nir(data, min(numbers))
    todo, missing = programs(first, options.peer_python)
    for line in missing:
        print(f"not installed: {line}", file=sys.stderr)
    results = Results(left_out=[f"{line.partition(':')[0]}: not installed" for line in missing])

    def measure(sample: Sample, *names: str, runs: int = runs) -> None:
        promised = PROMISED.get(int(sample.label), ()) if sample.label.isdigit() else ()
        print(f"{sample.label} frames", file=sys.stderr, flush=True)
        chosen = [program for program in todo if not names or program.name in names]
        timings, left_out = measure_sample(sample, chosen, runs, results.timings, scratch, promised)
        results.timings |= timings
        results.left_out += left_out

    for n in numbers:
        measure(nir(data, n), *((OURS, ONE_PROCESS, PEER) if n == FOR_PEER else ()))
    if not quick:
        measure(large(data, TEN))
        thousand = many(data)
        if thousand is None:
            results.left_out.append(f"{MANY} frames: the disk has no room for them")
        else:
            measure(thousand, OURS, ONE_PROCESS, runs=0)
        print("time against the number of frames", file=sys.stderr, flush=True)
        results.growth = measure_growth([nir(data, n) for n in LINEAR], GROWTH_RUNS * runs, scratch)
    batch = [Sample(f"batch {i}", all_frames.frames[TEN * i : TEN * (i + 1)], all_frames.arm) for i in range(3)]
    results.small = measure_small(batch, refused(data), runs if quick else SMALL_RUNS * runs, scratch)
    for n in IN_MEMORY_QUICK if quick else IN_MEMORY:
        print(f"{n} frames in memory", file=sys.stderr, flush=True)
        sof = nir(data, n).sof(scratch / "memory.sof")
        command = [sys.executable, "-m", "benchmarks.speed.in_memory", str(sof), str(runs)]
        done = subprocess.run(
            [*command, *["ccdproc"] * (n <= CCDPROC_MOST)], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        results.in_memory[n] = json.loads(done.stdout)
    results.stages = {n: profile(nir(data, n), runs, scratch) for n in (STAGED_QUICK if quick else STAGED)}
    return results, todo


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("all", "profile"), default="all", help="(default: all)")
    parser.add_argument("--quick", action="store_true", help="few frames, one run each; writes nothing by itself")
    parser.add_argument(
        "--output", type=Path, help="folder for the table and, in images/, the picture (default: docs; none if quick)"
    )
    parser.add_argument("--runs", type=int, help="runs of each program (default: 5; 1 if quick)")
    parser.add_argument(
        "--data", type=Path, help="folder that keeps the frames for another time, 11 GB (2 GB if quick)"
    )
    parser.add_argument("--peer-python", help=f"python of an environment with {PEER.removesuffix(' mdark')}")
    options = parser.parse_args(arguments)
    if options.runs is None:
        options.runs = 1 if options.quick else 5
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}, expected 1 or more")
    if options.output is None and not options.quick:
        options.output = ROOT / "docs"
    if options.peer_python is not None:
        if (python := with_soxspipe(options.peer_python)) is None:
            parser.error(f"{options.peer_python} has no soxspipe: {HOW_TO_PEER}")
        options.peer_python = python
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("memory is measured by /proc: run it on Linux")
    return options


if __name__ == "__main__":
    sys.exit(main())

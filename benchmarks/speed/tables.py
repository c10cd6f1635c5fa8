"""The measurements as tables."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.accuracy.tables import Table

from .in_memory import COMBINER
from .processes import Timing, machine_memory_mb, wall_ratio
from .programs import ONE_WORKER, OURS, Program
from .promises import SETS, TEN, Promise, Results, units


def tables(results: Results, promises: Sequence[Promise], programs: Sequence[Program]) -> list[Table]:
    """Return all tables; a table without measurements is left out."""
    made: list[Table] = []
    if promises:
        rows = [promise.cells() for promise in promises]
        made.append(("Promises", ("Promise", "Criterion", "Measured", "Holds"), rows))
    if results.timings:
        made += [
            ("Programs", ("Program", "Version", "Its product holds", "It lacks"),
             [[program.name, program.version, program.makes, program.lacks or "-"] for program in programs]),
            _by_n("Wall time, s", results, programs, lambda timing: f"{timing.wall:.2f}" + "*" * (timing.runs == 1)),
            _relative(results, programs),
            _by_n("CPU time, s", results, programs, lambda timing: f"{timing.cpu:.2f}"),
            _by_n("Peak memory, MB", results, programs, lambda timing: f"{timing.peak_mb:.0f}"),
        ]  # fmt: skip
    if rows := _workers(results):
        header = ("Reduction", "--workers=1, s", "--workers=2, s", "Ratio", "Peak of two, MB")
        made.append(("Two workers and one", header, rows))
    if results.in_memory:
        made.append(_in_memory(results))
    if results.start:
        rows = [[name, f"{timing.wall:.3f}", f"{timing.peak_mb:.0f}"] for name, timing in results.start.items()]
        made.append(("Start-up and batch", ("Command", "Wall, s", "Peak, MB"), rows))
    if results.stages:
        stages = dict.fromkeys(stage for seconds in results.stages.values() for stage in seconds)
        rows = [[stage, *(f"{seconds[stage]:.3f}" for seconds in results.stages.values())] for stage in stages]
        rows.append(["all", *(f"{sum(seconds.values()):.3f}" for seconds in results.stages.values())])
        made.append(("Stages of one reduction, s", ("Stage", *map(str, results.stages)), rows))
    if results.left_out:
        made.append(("Not measured", ("What, and why",), [[line] for line in results.left_out]))
    return made


def _labels(results: Results) -> list[str]:
    return list(dict.fromkeys(label for label, _ in results.timings))


def _by_n(title: str, results: Results, programs: Sequence[Program], cell: Callable[[Timing], str]) -> Table:
    labels = _labels(results)
    rows = []
    for program in programs:
        timings = [results.timings.get((label, program.name)) for label in labels]
        rows.append([program.name, *("-" if timing is None else cell(timing) for timing in timings)])
    return title, ("Program", *labels), rows


def _relative(results: Results, programs: Sequence[Program]) -> Table:
    labels = _labels(results)
    rows = []
    for program in programs:
        ratios = [wall_ratio(results.timings, label, program.name, OURS) for label in labels]
        rows.append([program.name, *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return f"Wall time over that of {OURS}", ("Program", *labels), rows


def _workers(results: Results) -> list[list[str]]:
    """Compare two workers with one, for one set and for several; the peak is that of two."""
    pairs = {
        f"one NIR set of {label} frames, threads": (timing, results.timings[label, OURS])
        for (label, name), timing in results.timings.items()
        if name == ONE_WORKER and label in ("10", "100") and (label, OURS) in results.timings
    }
    if results.workers:
        pairs[f"{SETS} NIR sets of {TEN} frames, processes"] = results.workers[1], results.workers[2]
    return [
        [name, f"{one.wall:.2f}", f"{two.wall:.2f}", f"{two.over(one):.2f}", f"{two.peak_mb:.0f}"]
        for name, (one, two) in pairs.items()
    ]


def _in_memory(results: Results) -> Table:
    rows = []
    for n, nanoseconds in results.in_memory.items():
        for way, values in nanoseconds.items():
            middle = median(values)
            rows.append(
                [str(n), way, f"{middle:.1f}", f"{units(nanoseconds, way):.1f}",
                 f"{middle / median(nanoseconds[COMBINER]):.2f}"]
            )  # fmt: skip
    return "Stack in memory, one core", ("N", "Way", "ns a sample", "Units", "Over the stock Combiner"), rows


def machine() -> str:
    """Return cores, processor, memory and system of this machine, without its name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {model}, {machine_memory_mb() / 1000:.0f} GB, {platform.system()}"

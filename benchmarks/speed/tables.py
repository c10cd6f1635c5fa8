"""The results as tables."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.accuracy.tables import Table

from .in_memory import COMBINER
from .programs import OURS, Program
from .promises import Promise, Results, units
from .whole import Timing, memory_mb, over


def tables(results: Results, promises: Sequence[Promise], programs: Sequence[Program]) -> list[Table]:
    """Arrange everything in tables; those of what was not measured are left out."""
    made: list[Table] = []
    if promises:
        rows = [promise.cells() for promise in promises]
        made.append(("Promises", ("Promise", "Criterion", "Measured", "Holds"), rows))
    if results.timings:
        made += [
            ("Programs", ("Program", "Version", "Its product holds", "It lacks"),
             [[program.name, program.version, program.does, program.lacks or "-"] for program in programs]),
            _by_n("Wall time, s", results, programs, lambda timing: f"{timing.wall:.2f}" + "*" * (timing.runs == 1)),
            _relative(results, programs),
            _by_n("CPU time, s", results, programs, lambda timing: f"{timing.cpu:.2f}"),
            _by_n("Peak memory, MB", results, programs, lambda timing: f"{timing.peak_mb:.0f}"),
        ]  # fmt: skip
    if results.in_memory:
        made.append(_in_memory(results))
    if results.small:
        rows = [[name, f"{timing.wall:.3f}", f"{timing.cpu:.3f}"] for name, timing in results.small.items()]
        made.append(("Start-up and batch", ("Command", "Wall, s", "CPU, s"), rows))
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
        ratios = [over(results.timings, label, program.name, OURS) for label in labels]
        rows.append([program.name, *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return f"Wall time over that of {OURS}", ("Program", *labels), rows


def _in_memory(results: Results) -> Table:
    rows = []
    for n, nanoseconds in results.in_memory.items():
        for what, values in nanoseconds.items():
            in_units = units(nanoseconds, what)
            middle = median(values)
            rows.append(
                [str(n), what, f"{middle:.1f}", f"{in_units:.1f}", f"{middle / median(nanoseconds[COMBINER]):.2f}"]
            )
    return "Stack in memory, one core", ("N", "What", "ns a sample", "Units", "Over the stock Combiner"), rows


def machine() -> str:
    """Say what kind of machine this is, without its name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {model}, {memory_mb() / 1000:.0f} GB, {platform.system()}"

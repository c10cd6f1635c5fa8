"""Whole processes, measured in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .programs import Job, Program, ours_environment
from .samples import Sample
from .stages import IMPORTS, REST, STAGES

METER = Path(__file__).with_name("meter.py")
#: A program that takes longer than this for a reduction is run once, unless something is promised of it, second.
SLOW_S = 60.0
#: A program that would take longer is left out, and one that does is stopped, second.
MOST_S, LIMIT_S = 120, 400
#: Share of the machine's memory that a program may take.
SHARE = 0.8


@dataclass
class Timing:
    """What a command took.

    Attributes
    ----------
    wall_s, cpu_s : list of float
        One value for each run.
    peak_mb : float
        Peak memory of all its processes, from a run that is not among these.
    """

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    @property
    def runs(self) -> int:
        """Number of timed runs."""
        return len(self.wall_s)

    @property
    def wall(self) -> float:
        """Median wall time, second."""
        return median(self.wall_s)

    @property
    def cpu(self) -> float:
        """Median CPU time, second."""
        return median(self.cpu_s)

    def add(self, run: dict[str, Any], detectors: int = 1) -> None:
        """Add a run; one that reduced several detectors counts as one of them."""
        self.wall_s.append(run["wall_s"] / detectors)
        self.cpu_s.append(run["cpu_s"] / detectors)


#: Timings by the label of the sample and the name of the program.
Timings = dict[tuple[str, str], Timing]


def over(timings: Timings, label: str, one: str, other: str) -> float | None:
    """Return the wall time of one program over that of another, the median over rounds; None when one is missing.

    What makes a machine slower for a while hits both of a round.
    """
    if (label, one) not in timings or (label, other) not in timings:
        return None
    pairs = zip(timings[label, one].wall_s, timings[label, other].wall_s, strict=False)
    return median(a / b for a, b in pairs)


def memory_mb() -> float:
    """Memory of this machine, MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


def metered(job: Job, memory: bool = False) -> tuple[dict[str, Any], str]:
    """Run a job once; return what it took, and what went wrong."""
    log = job.folder / ".log"
    home = job.folder.parent / "home"  # the same for all runs, as that of a user is
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-S", "-E", str(METER), f"--log={log}", f"--seconds={LIMIT_S}"]
    command += ["--memory", f"--megabytes={SHARE * memory_mb():.0f}"] * memory
    done = subprocess.run(
        [*command, "--", *map(str, job.command)],
        cwd=job.folder,
        env=job.variables(home),
        capture_output=True,
        text=True,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout)
    if run["stopped"]:
        return run, str(run["stopped"])
    if run["code"]:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return run, f"exit code {run['code']}: {' '.join(last)[:200]}"
    return run, ""


def measure_sample(
    sample: Sample, todo: Sequence[Program], runs: int, timings: Timings, scratch: Path, promised: Collection[str] = ()
) -> tuple[Timings, list[str]]:
    """Measure every program on a sample, all of them in each round.

    A first run warms the page cache, is looked at for memory, and its product is checked; it is not timed, unless it
    is so slow that it stays the only one.

    Parameters
    ----------
    sample : Sample
        The frames.
    todo : sequence of Program
        Whom to measure.
    runs : int
        Runs that are timed; 0 for memory alone.
    timings : dict
        What is known already, to foresee who would take too long.
    scratch : Path
        Folder for products, which are removed.
    promised : collection of str
        Programs that are measured however slow they are.

    Returns
    -------
    timings : dict
        Those of this sample.
    left_out : list of str
        A line for each program that failed or was not tried.
    """
    found: Timings = {}
    left_out = []
    alive = []
    for frame in sample.frames:
        frame.read_bytes()  # into the page cache, where there is room
    for program in todo:
        if program.name not in promised and (fault := _foreseen(sample, program, timings)):
            left_out.append(f"{program.name}, {sample.label} frames: {fault}")
            continue
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            job = program.job(sample, Path(folder))
            run, fault = metered(job, memory=True)
            fault = fault or program.fault(job, sample)
        if fault:
            left_out.append(f"{program.name}, {sample.label} frames: {fault}")
            continue
        timing = found[sample.label, program.name] = Timing(peak_mb=run["peak_mb"])
        if not runs or (run["wall_s"] > SLOW_S and program.name not in promised):
            timing.add(run, program.detectors)
        else:
            alive.append(program)
    for _ in range(runs):
        for program in list(alive):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                run, fault = metered(program.job(sample, Path(folder)))
            if fault:
                left_out.append(f"{program.name}, {sample.label} frames: {fault}")
                alive.remove(program)
                del found[sample.label, program.name]
            else:
                found[sample.label, program.name].add(run, program.detectors)
    for (label, name), timing in found.items():
        print(f"  {label} frames, {name}: {timing.wall:.2f} s, {timing.peak_mb:.0f} MB", file=sys.stderr, flush=True)
    return found, left_out


def _foreseen(sample: Sample, program: Program, timings: Timings) -> str:
    """Say why a program is not tried, from what it took with fewer frames."""
    if sample.n > program.most:
        return f"not measured with more than {program.most}"
    if program.detectors > 1 and sample.arm != "NIR":
        return "its detectors are 2048 x 2048"
    known = [
        (int(label), timing) for (label, name), timing in timings.items() if name == program.name and label.isdigit()
    ]
    if not known:
        return ""
    n, timing = max(known, key=lambda pair: pair[0])
    seconds, megabytes = (value * sample.n / n for value in (timing.wall * program.detectors, timing.peak_mb))
    if seconds > MOST_S:
        return f"would take some {seconds:.0f} s"
    # what does not grow with the number of frames is no reason
    if megabytes > SHARE * memory_mb() and timing.peak_mb > 50 * n:
        return f"would need some {megabytes / 1000:.0f} GB"
    return ""


INTERPRETER = "start and end of Python"
HELP, DOCOPT, REFUSED = "soxspipe --help", "python -c 'import docopt'", "a refused set of 10 frames"
ONE, THREE = "soxspipe mdark a.sof", "soxspipe mdark a.sof b.sof c.sof"


def measure_small(samples: Sequence[Sample], refused: Path, runs: int, scratch: Path) -> dict[str, Timing]:
    """Measure start-up, a refusal, and one and several reductions of a process, in turn.

    Parameters
    ----------
    samples : sequence of Sample
        Sets of the same size for the batch; the first is reduced alone too.
    refused : Path
        A set that is refused.
    runs : int
        Rounds.
    scratch : Path
        Folder for products, which are removed.
    """
    soxspipe = [sys.executable, "-m", "soxspipe"]
    found = {name: Timing() for name in (HELP, DOCOPT, REFUSED, ONE, THREE)}
    for round_ in range(runs + 1):
        for name, timing in found.items():
            with tempfile.TemporaryDirectory(dir=scratch) as text:
                folder = Path(text)
                sofs = [sample.sof(folder / f"{i}.sof") for i, sample in enumerate(samples)]
                commands: dict[str, list[str | Path]] = {
                    HELP: [*soxspipe, "--help"],
                    DOCOPT: [sys.executable, "-c", "import docopt"],
                    REFUSED: [*soxspipe, "mdark", refused],
                    ONE: [*soxspipe, "mdark", sofs[0]],
                    THREE: [*soxspipe, "mdark", *sofs],
                }
                run, fault = metered(Job(commands[name], folder, environment=ours_environment()))
            expected = 2 if name == REFUSED else 0
            if run["code"] != expected:
                raise RuntimeError(f"{name}: exit code {run['code']}, expected {expected}: {fault}")
            if round_:  # the first fills the page cache
                timing.add(run)
    return found


def measure_growth(samples: Sequence[Sample], runs: int, scratch: Path) -> dict[int, Timing]:
    """Reduce sets of several sizes in turn: time against the number of frames, whatever the machine does meanwhile.

    Parameters
    ----------
    samples : sequence of Sample
        The sets.
    runs : int
        Rounds.
    scratch : Path
        Folder for products, which are removed.
    """
    found = {sample.n: Timing() for sample in samples}
    for round_ in range(runs + 1):
        for sample in samples:
            with tempfile.TemporaryDirectory(dir=scratch) as text:
                folder = Path(text)
                command = [sys.executable, "-m", "soxspipe", "mdark", str(sample.sof(folder / "darks.sof"))]
                run, fault = metered(Job(command, folder, environment=ours_environment()))
            if fault:
                raise RuntimeError(f"{sample.n} frames: {fault}")
            if round_:  # the first fills the page cache
                found[sample.n].add(run)
    return found


def profile(sample: Sample, runs: int, scratch: Path) -> dict[str, float]:
    """Reduce a sample some times, each by one process; return the median seconds of each stage, in order."""
    found: list[dict[str, float]] = []
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory(dir=scratch) as text:
            folder = Path(text)
            result = folder / "stages.json"
            command = [
                sys.executable,
                "-m",
                "benchmarks.speed.stages",
                str(sample.sof(folder / "darks.sof")),
                str(result),
            ]
            job = Job([*command, "--workers=1"], folder, environment=ours_environment())
            run, fault = metered(job)
            if fault:
                raise RuntimeError(f"profile: {fault}")
            seconds = json.loads(result.read_text())
            unseen = [line for line in (folder / ".log").read_text().splitlines() if "not told apart" in line]
        # nothing of the start of Python itself is seen from within
        seconds[INTERPRETER] = run["wall_s"] - sum(seconds.values())
        found.append(seconds)
    order = dict.fromkeys([INTERPRETER, IMPORTS, *(stage for stage, _, _ in STAGES), REST])
    print("".join(f"{line}\n" for line in unseen), end="", file=sys.stderr)
    # the first run fills the page cache
    return {stage: median(seconds.get(stage, 0.0) for seconds in found[1:]) for stage in order}

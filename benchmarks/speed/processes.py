"""Time and memory of whole processes, which run in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from .programs import WORKERS, Command, Program, soxspipe_command, soxspipe_environment
from .samples import Sample
from .stages import IMPORTS, REST, STAGES

METER = Path(__file__).with_name("meter.py")
#: A reduction that takes longer is run once, unless a promise needs it, second.
SLOW_S = 60.0
#: A reduction with a longer estimate is left out, and a longer one is stopped, second.
ESTIMATE_LIMIT_S, LIMIT_S = 120, 400
#: Largest share of the machine's memory for one program.
MEMORY_SHARE = 0.8

KeyT = TypeVar("KeyT")


@dataclass
class Timing:
    """Time and memory of a command.

    Attributes
    ----------
    wall_s, cpu_s : list of float
        One value for each timed run.
    peak_mb : float
        Peak memory of all its processes in a further run, MB.
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

    def add(self, run: Mapping[str, Any], detectors: int = 1) -> None:
        """Add a run; its times are divided by the number of detectors that it reduced."""
        self.wall_s.append(run["wall_s"] / detectors)
        self.cpu_s.append(run["cpu_s"] / detectors)

    def over(self, other: Timing) -> float:
        """Return the median over rounds of this wall time over another.

        The ratio is taken within each round, so that a slow phase of the machine affects both times.
        """
        return median(a / b for a, b in zip(self.wall_s, other.wall_s, strict=False))


#: Timings by the label of the sample and the name of the program.
Timings = dict[tuple[str, str], Timing]


def wall_ratio(timings: Timings, label: str, program: str, other: str) -> float | None:
    """Return the wall time of one program over that of another; None when one of them was not measured."""
    if (label, program) not in timings or (label, other) not in timings:
        return None
    return timings[label, program].over(timings[label, other])


def machine_memory_mb() -> float:
    """Return the memory of this machine, MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


def run_metered(command: Command, memory: bool = False) -> tuple[dict[str, Any], str]:
    """Run a command once.

    Parameters
    ----------
    command : Command
        What to run.
    memory : bool
        Whether to sample its memory.

    Returns
    -------
    run : dict
        Time, memory and exit code, see `benchmarks.speed.meter.measure`.
    fault : str
        Why it failed; empty when it did not.
    """
    log = command.folder / ".log"
    home = command.folder.parent / "home"  # one for all runs, so that caches in it persist
    home.mkdir(exist_ok=True)
    meter = [sys.executable, "-S", "-E", str(METER), f"--log={log}", f"--seconds={LIMIT_S}"]
    if memory:
        meter += ["--memory", f"--megabytes={MEMORY_SHARE * machine_memory_mb():.0f}"]
    done = subprocess.run(
        [*meter, "--", *map(str, command.arguments)],
        cwd=command.folder,
        env=command.variables(home),
        capture_output=True,
        text=True,
        check=True,
    )
    run: dict[str, Any] = json.loads(done.stdout)
    if run["stopped"]:
        return run, str(run["stopped"])
    if run["code"]:
        last_line = log.read_text(errors="replace").strip().splitlines()[-1:]
        return run, f"exit code {run['code']}: {' '.join(last_line)[:200]}"
    return run, ""


def measure_programs(
    sample: Sample,
    programs: Sequence[Program],
    runs: int,
    timings: Timings,
    scratch: Path,
    required: Collection[str] = (),
) -> tuple[Timings, list[str]]:
    """Measure programs on a sample; each round runs all of them.

    A first run of each fills the page cache, gives its peak memory, and its product is checked. This run is not timed,
    unless it is so slow that it is the only one.

    Parameters
    ----------
    sample : Sample
        The frames.
    programs : sequence of Program
        Programs to measure.
    runs : int
        Timed runs; 0 for memory only.
    timings : dict
        Timings of smaller samples, from which time and memory are estimated.
    scratch : Path
        Folder for the products, which are removed.
    required : collection of str
        Programs to measure even if they are slow.

    Returns
    -------
    timings : dict
        Timings of this sample.
    left_out : list of str
        A line for each program that failed or was not run.
    """
    measured: Timings = {}
    left_out = []
    in_rounds = []
    for frame in sample.frames:
        frame.read_bytes()  # into the page cache
    for program in programs:
        at = f"{program.name}, {sample.label} frames"
        if program.name not in required and (reason := _too_expensive(sample, program, timings)):
            left_out.append(f"{at}: {reason}")
            continue
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            command = program.command(sample, Path(folder))
            run, fault = run_metered(command, memory=True)
            fault = fault or program.product_fault(command, sample)
        if fault:
            left_out.append(f"{at}: {fault}")
            continue
        timing = measured[sample.label, program.name] = Timing(peak_mb=run["peak_mb"])
        if not runs or (run["wall_s"] > SLOW_S and program.name not in required):
            timing.add(run, program.detectors)
        else:
            in_rounds.append(program)
    for _ in range(runs):
        for program in list(in_rounds):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                run, fault = run_metered(program.command(sample, Path(folder)))
            if fault:
                left_out.append(f"{program.name}, {sample.label} frames: {fault}")
                in_rounds.remove(program)
                del measured[sample.label, program.name]
            else:
                measured[sample.label, program.name].add(run, program.detectors)
    for (label, name), timing in measured.items():
        print(f"  {label} frames, {name}: {timing.wall:.2f} s, {timing.peak_mb:.0f} MB", file=sys.stderr, flush=True)
    return measured, left_out


def _too_expensive(sample: Sample, program: Program, timings: Timings) -> str:
    """Return the reason not to run a program, estimated from its largest sample so far; empty when there is none."""
    if sample.n > program.most_frames:
        return f"not measured with more than {program.most_frames}"
    if program.detectors > 1 and sample.arm != "NIR":
        return "its detectors are 2048 x 2048"
    known = {
        int(label): timing for (label, name), timing in timings.items() if name == program.name and label.isdigit()
    }
    if not known:
        return ""
    n = max(known)
    seconds = known[n].wall * program.detectors * sample.n / n
    megabytes = known[n].peak_mb * sample.n / n
    if seconds > ESTIMATE_LIMIT_S:
        return f"would take about {seconds:.0f} s"
    # with less than 50 MB a frame, most of the memory does not grow with the number of frames
    if megabytes > MEMORY_SHARE * machine_memory_mb() and known[n].peak_mb > 50 * n:
        return f"would need about {megabytes / 1000:.0f} GB"
    return ""


def measure_in_turn(
    commands: Mapping[KeyT, Callable[[Path], Sequence[str | Path]]],
    runs: int,
    scratch: Path,
    exit_codes: Mapping[KeyT, int] | None = None,
) -> dict[KeyT, Timing]:
    """Measure commands of this package; each round runs all of them.

    A first round fills the page cache and gives the peak memory. It is not timed.

    Parameters
    ----------
    commands : mapping of callable
        Called with an empty folder; each returns program and arguments. Products in the folder are removed.
    runs : int
        Timed rounds.
    scratch : Path
        Parent of the folders.
    exit_codes : mapping of int, optional
        Expected exit codes that are not 0.

    Returns
    -------
    dict of Timing

    Raises
    ------
    RuntimeError
        When a command has another exit code.
    """
    timings = {key: Timing() for key in commands}
    for round_ in range(runs + 1):
        for key, timing in timings.items():
            with tempfile.TemporaryDirectory(dir=scratch) as name:
                folder = Path(name)
                command = Command(commands[key](folder), folder, environment=soxspipe_environment())
                run, fault = run_metered(command, memory=round_ == 0)
            expected = (exit_codes or {}).get(key, 0)
            if run["stopped"] or run["code"] != expected:
                raise RuntimeError(f"{key}: exit code {run['code']}, expected {expected}: {fault}")
            if round_:
                timing.add(run)
            else:
                timing.peak_mb = run["peak_mb"]
    return timings


HELP, DOCOPT, REFUSED = "soxspipe --help", "python -c 'import docopt'", "a refused set of 10 frames"
ONE, THREE = "soxspipe mdark a.sof", "soxspipe mdark a.sof b.sof c.sof"


def measure_start(sets: Sequence[Sample], refused: Path, runs: int, scratch: Path) -> dict[str, Timing]:
    """Measure start-up, a refused set, and one and three reductions in one command.

    Parameters
    ----------
    sets : sequence of Sample
        Three sets of the same size.
    refused : Path
        A set that is refused.
    runs : int
        Timed rounds.
    scratch : Path
        Folder for the products, which are removed.
    """
    return measure_in_turn(
        {
            HELP: lambda _: [sys.executable, "-m", "soxspipe", "--help"],
            DOCOPT: lambda _: [sys.executable, "-c", "import docopt"],
            REFUSED: lambda _: soxspipe_command([refused]),
            ONE: _reduction(sets[:1]),
            THREE: _reduction(sets),
        },
        runs,
        scratch,
        exit_codes={REFUSED: 2},
    )


def measure_growth(samples: Sequence[Sample], runs: int, scratch: Path) -> dict[int, Timing]:
    """Measure reductions of sets of several sizes, by their number of frames."""
    return measure_in_turn({sample.n: _reduction([sample]) for sample in samples}, runs, scratch)


def measure_workers(sets: Sequence[Sample], workers: Sequence[int], runs: int, scratch: Path) -> dict[int, Timing]:
    """Measure one command that reduces several sets, by its number of workers."""
    return measure_in_turn({n: _reduction(sets, n) for n in workers}, runs, scratch)


def _reduction(sets: Sequence[Sample], workers: int = WORKERS) -> Callable[[Path], list[str | Path]]:
    """Return a function that returns the command for one reduction of each set."""

    def arguments(folder: Path) -> list[str | Path]:
        return soxspipe_command([sample.sof(folder / f"{i}.sof") for i, sample in enumerate(sets)], workers)

    return arguments


START_AND_END = "start and end of Python"


def profile(sample: Sample, runs: int, scratch: Path) -> dict[str, float]:
    """Return the median seconds of each stage of a reduction with one worker, in the order of the stages.

    Parameters
    ----------
    sample : Sample
        The set.
    runs : int
        Runs, after a first one that fills the page cache.
    scratch : Path
        Folder for the products, which are removed.
    """
    rounds: list[dict[str, float]] = []
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            result = folder / "stages.json"
            sof = sample.sof(folder / "darks.sof")
            arguments = [sys.executable, "-m", "benchmarks.speed.stages", str(sof), str(result)]
            run, fault = run_metered(Command(arguments, folder, environment=soxspipe_environment()))
            if fault:
                raise RuntimeError(f"profile: {fault}")
            seconds = json.loads(result.read_text())
        seconds[START_AND_END] = run["wall_s"] - sum(seconds.values())
        rounds.append(seconds)
    stages = dict.fromkeys([START_AND_END, IMPORTS, *(stage for stage, _, _ in STAGES), REST])
    return {stage: median(seconds.get(stage, 0.0) for seconds in rounds[1:]) for stage in stages}

"""The promises on time and memory, checked against the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from .in_memory import COMBINER, STACK_GIVEN, TUNED_IN_MEMORY
from .processes import DOCOPT, HELP, ONE, REFUSED, THREE, Timing, Timings, wall_ratio
from .programs import ONE_WORKER, OURS, SIRIL, THREE_SIGMA, UPSTREAM
from .samples import THOUSAND
from .stages import OTHERS, STACK

#: Time of the stock Combiner for a sample, in the units of the promises.
COMBINER_UNITS = 3.8
#: Sets and frames of each set that one command reduces.
SETS, TEN = 8, 10


@dataclass
class Results:
    """All measurements.

    Attributes
    ----------
    timings : dict
        Whole processes, by the label of the sample and the name of the program.
    growth : dict
        Reductions of several numbers of frames, by that number.
    in_memory : dict
        By number of frames: nanoseconds per sample of each way to stack them, one value a round.
    start : dict
        Start-up and small batches, by command.
    workers : dict
        One command that reduces eight sets of ten frames, by its number of workers.
    stages : dict
        By number of frames: seconds of each stage of one reduction.
    left_out : list of str
        What was not measured, with the reason.
    """

    timings: Timings = field(default_factory=dict)
    growth: dict[int, Timing] = field(default_factory=dict)
    in_memory: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    start: dict[str, Timing] = field(default_factory=dict)
    workers: dict[int, Timing] = field(default_factory=dict)
    stages: dict[int, dict[str, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Promise:
    """A promise and its measurement.

    Attributes
    ----------
    promise : str
        What is promised.
    limit : float
        Upper limit, or lower limit with ``at_least``.
    value : float or None
        The measurement; None when there is none.
    at_least : bool
        Whether ``limit`` is a lower limit.
    unit : str
        Unit of both.
    detail : str
        Numbers behind the value.
    """

    promise: str
    limit: float
    value: float | None
    at_least: bool = False
    unit: str = ""
    detail: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it holds; None when it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value < self.limit

    def cells(self) -> list[str]:
        """Return its row of the table: promise, criterion, measurement, verdict."""
        unit = f" {self.unit}".rstrip()
        criterion = f"{'at least' if self.at_least else 'less than'} {self.limit:g}{unit}"
        if self.value is None:
            return [self.promise, criterion, "not measured", "-"]
        measured = f"{self.value:.3g}{unit}" + (f"; {self.detail}" if self.detail else "")
        return [self.promise, criterion, measured, "yes" if self.holds else "**no**"]


def units(nanoseconds: Mapping[str, list[float]], way: str) -> float | None:
    """Return the time per sample in units of which the stock Combiner takes 3.8; None when it was not measured."""
    ratio = _ratio(nanoseconds, way, COMBINER)
    return None if ratio is None else COMBINER_UNITS * ratio


def _ratio(nanoseconds: Mapping[str, list[float]], way: str, other: str) -> float | None:
    if way not in nanoseconds or other not in nanoseconds:
        return None
    return median(a / b for a, b in zip(nanoseconds[way], nanoseconds[other], strict=True))


def slopes(seconds: Mapping[int, float]) -> dict[tuple[int, int], float]:
    """Return the slope of time between neighbouring numbers of frames over that between the first and the last.

    All are 1 where time is a constant plus a part for each frame, for any constant.
    """
    numbers = sorted(seconds)
    mean_slope = (seconds[numbers[-1]] - seconds[numbers[0]]) / (numbers[-1] - numbers[0])
    return {(a, b): (seconds[b] - seconds[a]) / (b - a) / mean_slope for a, b in pairwise(numbers)}


def check(results: Results) -> list[Promise]:
    """Return all promises with their measurements."""
    return [
        *_programs(results.timings),
        _workers(results.workers),
        *_stack(results),
        *_memory(results.timings),
        _linear(results.growth),
        *_stages(results.stages),
        *_start(results.start),
    ]


def _programs(timings: Timings) -> Iterator[Promise]:
    for n, limit in ((10, 0.22), (20, 0.18)):
        ratio = wall_ratio(timings, str(n), OURS, UPSTREAM)
        detail = _walls(timings, str(n), UPSTREAM)
        yield Promise(f"Wall time over that of {UPSTREAM}, {n} frames", limit, ratio, detail=detail)
    ratio = wall_ratio(timings, "100", OURS, SIRIL)
    yield Promise("Wall time over that of Siril, 100 frames", 1.0, ratio, detail=_walls(timings, "100", SIRIL))


def _walls(timings: Timings, label: str, other: str) -> str:
    both = [timings.get((label, name)) for name in (OURS, other)]
    return " and ".join(f"{timing.wall:.2f} s" for timing in both if timing is not None)


def _workers(workers: Mapping[int, Timing]) -> Promise:
    promise = f"{SETS} NIR sets of {TEN} frames, --workers=2 over --workers=1"
    if not workers:
        return Promise(promise, 0.65, None)
    two, one = workers[2], workers[1]
    return Promise(promise, 0.65, two.over(one), detail=f"{two.wall:.2f} s and {one.wall:.2f} s")


def _stack(results: Results) -> Iterator[Promise]:
    for n in (10, 25, 100):
        value = units(results.in_memory.get(n, {}), STACK_GIVEN)
        nanoseconds = results.in_memory.get(n, {}).get(STACK_GIVEN)
        detail = "" if nanoseconds is None else f"{median(nanoseconds):.1f} ns"
        yield Promise(f"clip_and_stack, one core, {n} frames, a sample", 8.0, value, unit="units", detail=detail)
    for n, limit in ((10, 4.0), (25, 8.0)):
        value = _ratio(results.in_memory.get(n, {}), TUNED_IN_MEMORY, STACK_GIVEN)
        yield Promise(f"Tuned ccdproc.combine over clip_and_stack, one core, {n} frames", limit, value, at_least=True)


def _memory(timings: Timings) -> Iterator[Promise]:
    ours = {at: timing.peak_mb for at, timing in timings.items() if at[1] in (OURS, ONE_WORKER, THREE_SIGMA)}
    label, program = max(ours, key=lambda at: ours[at]) if ours else ("", "")
    largest = max(ours.values()) if (str(THOUSAND), OURS) in ours else None
    yield Promise(
        f"Peak memory, up to {THOUSAND} frames, all sizes and clips",
        450.0,
        largest,
        unit="MB",
        detail=f"{label}: {program}",
    )
    peaks = {n: ours.get((str(n), OURS)) for n in (10, 100, THOUSAND)}
    for n in (100, THOUSAND):
        few, many = peaks[10], peaks[n]
        growth = None if few is None or many is None else many - few
        yield Promise(f"Growth of the peak from 10 to {n} frames", 60.0, growth, unit="MB")


def _linear(growth: Mapping[int, Timing]) -> Promise:
    deviation, detail = None, ""
    if growth:
        seconds = {n: timing.wall for n, timing in growth.items()}
        relative = slopes(seconds)
        deviation = max(abs(slope - 1) for slope in relative.values())
        detail = ", ".join(f"{slope:.2f} from {a} to {b}" for (a, b), slope in relative.items())
        detail += "; " + ", ".join(f"{wall:.2f} s of {n}" for n, wall in seconds.items())
    promise = "Slope of time between neighbouring N over that from 10 to 200, deviation from 1"
    return Promise(promise, 0.2, deviation, detail=detail)


def _stages(stages: Mapping[int, Mapping[str, float]]) -> Iterator[Promise]:
    for n, seconds in stages.items():
        stack, others = (sum(seconds[stage] for stage in part) for part in (STACK, OTHERS))
        promise = f"Noise model, background, figures and writing over the stack, 1 worker, {n} frames"
        yield Promise(promise, 1.0, others / stack, detail=f"{others:.2f} s and {stack:.2f} s")


def _start(start: Mapping[str, Timing]) -> Iterator[Promise]:
    batch = help_ratio = refusal = None
    if start:
        walls = zip(start[THREE].wall_s, start[ONE].wall_s, strict=True)
        batch = median((three - one) / 2 / one for three, one in walls)
        help_ratio = start[HELP].over(start[DOCOPT])
        refusal = start[REFUSED].wall
    yield Promise("Second and later reductions over the first", 0.5, batch)
    yield Promise(f"{HELP} over {DOCOPT}", 3.0, help_ratio)
    yield Promise(f"Time of {REFUSED}", 0.8, refusal, unit="s")

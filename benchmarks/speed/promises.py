"""What is promised of time and memory, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from .in_memory import COMBINER, GIVEN
from .in_memory import TUNED as TUNED_IN_MEMORY
from .programs import ONE_PROCESS, OURS, PEER, SIRIL, THREE_SIGMA
from .samples import MANY
from .stages import BESIDE, STACK
from .whole import DOCOPT, HELP, ONE, REFUSED, THREE, Timing, Timings, over

#: What the bare stock Combiner counts, units of a sample.
COMBINER_UNITS = 3.8


@dataclass
class Results:
    """Everything that was measured.

    Attributes
    ----------
    timings : dict
        Whole processes, by the label of the sample and the name of the program.
    growth : dict
        Reductions of several numbers of frames, by that number.
    in_memory : dict
        By number of frames: nanoseconds per sample of each way to stack them, one value a round.
    small : dict
        Start-up and batch.
    stages : dict
        By number of frames: seconds of each stage of one reduction.
    left_out : list of str
        What was not measured, and why.
    """

    timings: Timings = field(default_factory=dict)
    growth: dict[int, Timing] = field(default_factory=dict)
    in_memory: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    small: dict[str, Timing] = field(default_factory=dict)
    stages: dict[int, dict[str, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Promise:
    """One line of the table; ``value`` is None when it was not measured."""

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
        """Return what the table says: promise, criterion, measured, holds."""
        unit = f" {self.unit}".rstrip()
        criterion = f"{'at least' if self.at_least else 'less than'} {self.limit:g}{unit}"
        if self.value is None:
            return [self.promise, criterion, "not measured", "-"]
        measured = f"{self.value:.3g}{unit}" + (f"; {self.detail}" if self.detail else "")
        return [self.promise, criterion, measured, "yes" if self.holds else "**no**"]


def units(nanoseconds: Mapping[str, list[float]], what: str) -> float | None:
    """Return time per sample in units of which the bare stock Combiner takes 3.8; None when it was not measured."""
    ratio = _ratio(nanoseconds, what, COMBINER)
    return None if ratio is None else COMBINER_UNITS * ratio


def _ratio(nanoseconds: Mapping[str, list[float]], one: str, other: str) -> float | None:
    if one not in nanoseconds or other not in nanoseconds:
        return None
    return median(a / b for a, b in zip(nanoseconds[one], nanoseconds[other], strict=True))


def slopes(seconds: Mapping[int, float]) -> dict[tuple[int, int], float]:
    """Return the slope of time between neighbouring numbers of frames over that between the first and the last.

    Where time is a constant and a part for each frame, all are 1, whatever the constant.
    """
    numbers = sorted(seconds)
    whole = (seconds[numbers[-1]] - seconds[numbers[0]]) / (numbers[-1] - numbers[0])
    return {(a, b): (seconds[b] - seconds[a]) / (b - a) / whole for a, b in pairwise(numbers)}


def check(results: Results) -> list[Promise]:
    """Judge all promises."""
    return [
        *_whole(results.timings),
        *_stack(results),
        *_memory(results.timings),
        _linear(results.growth),
        *_stages(results.stages),
        *_small(results.small),
    ]


def _whole(timings: Timings) -> Iterator[Promise]:
    for n, limit in ((10, 0.25), (20, 0.18)):
        ratio = over(timings, str(n), OURS, PEER)
        yield Promise(f"Wall time over that of {PEER}, {n} frames", limit, ratio, detail=_walls(timings, str(n), PEER))
    ratio = over(timings, "100", OURS, SIRIL)
    yield Promise("Wall time over that of Siril, 100 frames", 1.0, ratio, detail=_walls(timings, "100", SIRIL))


def _walls(timings: Timings, label: str, peer: str) -> str:
    both = [timings.get((label, name)) for name in (OURS, peer)]
    return " and ".join(f"{timing.wall:.2f} s" for timing in both if timing is not None)


def _stack(results: Results) -> Iterator[Promise]:
    for n in (10, 25, 100):
        value = units(results.in_memory.get(n, {}), GIVEN)
        nanoseconds = results.in_memory.get(n, {}).get(GIVEN)
        detail = "" if nanoseconds is None else f"{median(nanoseconds):.1f} ns"
        yield Promise(f"clip_and_stack, one core, {n} frames, a sample", 8.0, value, unit="units", detail=detail)
    for n, limit in ((10, 4.0), (25, 8.0)):
        value = _ratio(results.in_memory.get(n, {}), TUNED_IN_MEMORY, GIVEN)
        yield Promise(f"Tuned ccdproc.combine over clip_and_stack, one core, {n} frames", limit, value, at_least=True)


def _memory(timings: Timings) -> Iterator[Promise]:
    ours = {at: timing.peak_mb for at, timing in timings.items() if at[1] in (OURS, ONE_PROCESS, THREE_SIGMA)}
    label, program = max(ours, key=lambda at: ours[at]) if ours else ("", "")
    most = max(ours.values()) if (str(MANY), OURS) in ours else None
    yield Promise(
        f"Peak memory, up to {MANY} frames, all sizes and clips", 400.0, most, unit="MB", detail=f"{label}: {program}"
    )
    peaks = {n: ours.get((str(n), OURS)) for n in (10, 100, MANY)}
    for n in (100, MANY):
        few, many = peaks[10], peaks[n]
        grown = None if few is None or many is None else many - few
        yield Promise(f"Growth of the peak from 10 to {n} frames", 60.0, grown, unit="MB")


def _linear(growth: Mapping[int, Timing]) -> Promise:
    off, said = None, ""
    if growth:
        seconds = {n: timing.wall for n, timing in growth.items()}
        relative = slopes(seconds)
        off = max(abs(slope - 1) for slope in relative.values())
        said = ", ".join(f"{slope:.2f} from {a} to {b}" for (a, b), slope in relative.items())
        said += "; " + ", ".join(f"{wall:.2f} s of {n}" for n, wall in seconds.items())
    return Promise("Slope of time between neighbouring N over that from 10 to 200, off 1", 0.2, off, detail=said)


def _stages(stages: Mapping[int, Mapping[str, float]]) -> Iterator[Promise]:
    for n, seconds in stages.items():
        stack, beside = (sum(seconds[stage] for stage in part) for part in (STACK, BESIDE))
        promise = f"Noise model, background, figures and writing over the stack, one process, {n} frames"
        yield Promise(promise, 1.0, beside / stack, detail=f"{beside:.2f} s and {stack:.2f} s")


def _small(small: Mapping[str, Timing]) -> Iterator[Promise]:
    batch = start = refusal = None
    if small:
        batch = median(
            (three - one) / 2 / one for three, one in zip(small[THREE].wall_s, small[ONE].wall_s, strict=True)
        )
        start = median(a / b for a, b in zip(small[HELP].wall_s, small[DOCOPT].wall_s, strict=True))
        refusal = small[REFUSED].wall
    yield Promise("Second and later reductions over the first", 0.5, batch)
    yield Promise(f"{HELP} over {DOCOPT}", 3.0, start)
    yield Promise(f"Time of {REFUSED}", 0.8, refusal, unit="s")

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.speed
from benchmarks.speed import stages
from benchmarks.speed.promises import Promise, check, slopes, units
from benchmarks.speed.promises import Results as Measured
from benchmarks.speed.whole import Timing, over

METER = Path(benchmarks.speed.__file__).with_name("meter.py")


def metered(folder, *command, options=()):
    """Run the meter as the benchmark does and return what it says."""
    meter = [sys.executable, "-S", "-E", str(METER), f"--log={folder / 'log'}", *options, "--"]
    return json.loads(subprocess.run([*meter, *command], capture_output=True, text=True, check=True).stdout)


def test_a_constant_does_not_make_time_less_linear():
    assert slopes({10: 3.1, 25: 3.25, 100: 4.0, 200: 5.0}) == pytest.approx({(10, 25): 1, (25, 100): 1, (100, 200): 1})


def test_slopes_show_where_time_bends():
    relative = slopes({10: 1.0, 20: 2.0, 30: 5.0})
    assert relative == pytest.approx({(10, 20): 0.5, (20, 30): 1.5})


def test_time_that_bends_is_not_linear():
    straight, bent = (
        {n: Timing([time(n)], []) for n in (10, 25, 100, 200)} for time in (lambda n: 1 + n, lambda n: n**2)
    )
    for growth, holds in ((straight, True), (bent, False)):
        assert [promise.holds for promise in check(Measured(growth=growth)) if promise.holds is not None] == [holds]


def test_what_is_beside_the_stack_is_to_cost_less():
    seconds = dict.fromkeys((*stages.STACK, *stages.BESIDE), 1.0)
    ten, many = seconds, seconds | {stages.READING: 3.0}  # three seconds and four, five and four
    promises = [promise for promise in check(Measured(stages={10: ten, 100: many})) if promise.value is not None]
    assert [promise.value for promise in promises] == [pytest.approx(4 / 3), pytest.approx(4 / 5)]
    assert [promise.holds for promise in promises] == [False, True]


def test_memory_is_that_of_the_worst_set_and_grows_from_ten_frames():
    peaks = {
        ("10", "soxspipe mdark"): 250.0, ("100", "soxspipe mdark"): 240.0, ("1000", "soxspipe mdark"): 311.0,
        ("10 of 4000 x 2106", "soxspipe mdark, 3 sigma"): 401.0, ("10", "Siril"): 900.0,
    }  # fmt: skip
    timings = {at: Timing([1.0], [], peak) for at, peak in peaks.items()}
    promises = [promise for promise in check(Measured(timings=timings)) if promise.unit == "MB"]
    assert [promise.value for promise in promises] == [401.0, -10.0, 61.0]
    assert [promise.holds for promise in promises] == [False, True, False]
    assert promises[0].detail == "10 of 4000 x 2106: soxspipe mdark, 3 sigma"


def test_ratios_are_taken_round_by_round():
    # medians of each alone would give 0.5
    timings = {("10", "a"): Timing([1.0, 8.0, 1.0], []), ("10", "b"): Timing([2.0, 4.0, 0.5], [])}
    assert over(timings, "10", "a", "b") == pytest.approx(2.0)
    assert over(timings, "10", "b", "a") == pytest.approx(0.5)
    assert over(timings, "25", "a", "b") is None


def test_the_stock_combiner_is_the_unit():
    nanoseconds = {"stock Combiner": [4.0, 8.0], "clip_and_stack": [8.0, 16.0]}
    assert units(nanoseconds, "stock Combiner") == pytest.approx(3.8)
    assert units(nanoseconds, "clip_and_stack") == pytest.approx(7.6)
    assert units({}, "clip_and_stack") is None


def test_what_was_not_measured_neither_holds_nor_fails():
    assert {promise.holds for promise in check(Measured())} == {None}
    assert Promise("a", 1.0, None).cells() == ["a", "less than 1", "not measured", "-"]


@pytest.mark.parametrize(("value", "at_least", "holds"), [(0.9, False, True), (1.1, False, False), (1.1, True, True)])
def test_a_promise_holds_on_its_side_of_the_limit(value, at_least, holds):
    assert Promise("a", 1.0, value, at_least).holds is holds


def test_time_counts_for_the_innermost_stage(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(stages.time, "perf_counter", lambda: float(next(clock)))  # a second between two looks
    watch = stages.Watch()
    inner = watch.wrap("inner", lambda: 7)
    with watch.stage("outer"):
        assert inner() == 7
    assert watch.stop() == {stages.REST: 2.0, "outer": 2.0, "inner": 1.0}


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells the memory of other processes")
def test_memory_is_that_of_all_processes_together(tmp_path):
    hold = "block = b'x' * 60_000_000; "
    child = hold + "print(flush=True); input()"
    both = hold + (
        "import subprocess, sys, time; pipe = subprocess.PIPE; "
        f"a = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=pipe, stdout=pipe); "
        "a.stdout.readline(); time.sleep(0.5); a.communicate(b'done')"
    )
    one = metered(tmp_path, sys.executable, "-c", hold, options=["--memory"])["peak_mb"]
    two = metered(tmp_path, sys.executable, "-c", both, options=["--memory"])["peak_mb"]
    assert 60 < one < 100
    assert 120 < two < 180


def test_a_command_that_fails_or_takes_too_long_is_told(tmp_path):
    assert metered(tmp_path, sys.executable, "-c", "raise SystemExit(3)")["code"] == 3
    assert metered(tmp_path, "sleep", "60", options=["--seconds=1"])["stopped"] == "takes more than 1 s"

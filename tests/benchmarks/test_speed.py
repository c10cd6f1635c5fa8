import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import benchmarks.speed
from benchmarks.speed import stages
from benchmarks.speed.meter import memory_mb, process_tree
from benchmarks.speed.processes import Timing, measure_in_turn, measure_workers, profile, wall_ratio
from benchmarks.speed.promises import Promise, check, slopes, units
from benchmarks.speed.promises import Results as Measured
from benchmarks.speed.samples import Sample
from benchmarks.speed.tables import tables
from soxspipe.simulation import DarkSimulation, simulate_darks

METER = Path(benchmarks.speed.__file__).with_name("meter.py")
linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is measured on Linux only")


def metered(folder, *command, options=()):
    """Run the meter as the benchmark does, and return its output."""
    meter = [sys.executable, "-S", "-E", str(METER), f"--log={folder / 'log'}", *options, "--"]
    return json.loads(subprocess.run([*meter, *command], capture_output=True, text=True, check=True).stdout)


def promise_of(results, words):
    (promise,) = (promise for promise in check(results) if words in promise.promise)
    return promise


@pytest.fixture
def frames(tmp_path):
    return Sample("6", simulate_darks(tmp_path / "raw", DarkSimulation(frames=6, shape=(128, 128), seed=1)).frames)


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_a_constant_part_of_the_time_does_not_change_the_slopes():
    assert slopes({10: 3.1, 25: 3.25, 100: 4.0, 200: 5.0}) == pytest.approx({(10, 25): 1, (25, 100): 1, (100, 200): 1})


def test_slopes_show_where_time_is_not_linear():
    relative = slopes({10: 1.0, 20: 2.0, 30: 5.0})
    assert relative == pytest.approx({(10, 20): 0.5, (20, 30): 1.5})


@pytest.mark.parametrize(("time", "holds"), [(lambda n: 1 + n, True), (lambda n: n**2, False)])
def test_linear_time_is_promised(time, holds):
    growth = {n: Timing([time(n)], []) for n in (10, 25, 100, 200)}
    assert promise_of(Measured(growth=growth), "Slope of time").holds is holds


def test_the_other_stages_should_take_less_time_than_the_stack():
    seconds = dict.fromkeys((*stages.STACK, *stages.OTHERS), 1.0)
    ten, many = seconds, seconds | {stages.READING: 3.0}  # 4 s over 3 s, and 4 s over 5 s
    promises = [promise for promise in check(Measured(stages={10: ten, 100: many})) if promise.value is not None]
    assert [promise.value for promise in promises] == [pytest.approx(4 / 3), pytest.approx(4 / 5)]
    assert [promise.holds for promise in promises] == [False, True]


def test_memory_is_that_of_the_largest_set_and_grows_from_ten_frames():
    peaks = {
        ("10", "soxspipe mdark"): 250.0, ("100", "soxspipe mdark"): 240.0, ("1000", "soxspipe mdark"): 311.0,
        ("10 of 4000 x 2106", "soxspipe mdark, 3 sigma"): 451.0, ("10", "Siril"): 900.0,
    }  # fmt: skip
    timings = {at: Timing([1.0], [], peak) for at, peak in peaks.items()}
    promises = [promise for promise in check(Measured(timings=timings)) if promise.unit == "MB"]
    assert [promise.value for promise in promises] == [451.0, -10.0, 61.0]
    assert [promise.holds for promise in promises] == [False, True, False]
    assert promises[0].detail == "10 of 4000 x 2106: soxspipe mdark, 3 sigma"


@pytest.mark.parametrize(
    ("label", "other", "wall", "holds"),
    [
        ("10", "upstream soxspipe 0.17.4", 4.5, False),
        ("10", "upstream soxspipe 0.17.4", 4.6, True),
        ("100", "Siril", 0.9, False),
        ("100", "Siril", 1.1, True),
    ],
)
def test_a_reduction_is_faster_than_other_programs(label, other, wall, holds):
    timings = {(label, "soxspipe mdark"): Timing([1.0]), (label, other): Timing([wall])}
    promise = promise_of(Measured(timings=timings), f"{other}, {label} frames")
    assert promise.value == pytest.approx(1 / wall)
    assert promise.holds is holds


@pytest.mark.parametrize(("two", "holds"), [(6.4, True), (6.6, False)])
def test_two_workers_reduce_eight_sets_in_less_time(two, holds):
    promise = promise_of(Measured(workers={1: Timing([10.0]), 2: Timing([two])}), "8 NIR sets of 10 frames")
    assert promise.value == pytest.approx(two / 10)
    assert promise.limit == 0.65
    assert promise.holds is holds


def test_the_table_of_workers_has_single_sets_and_eight_sets():
    timings = {
        ("10", "soxspipe mdark"): Timing([1.2], [], 260.0),
        ("10", "soxspipe mdark, 1 worker"): Timing([1.5], [], 240.0),
        ("100", "soxspipe mdark"): Timing([3.0], [], 280.0),
        ("100", "soxspipe mdark, 1 worker"): Timing([4.0], [], 250.0),
        ("25", "soxspipe mdark"): Timing([1.7]),
        ("25", "soxspipe mdark, 1 worker"): Timing([2.0]),
    }
    results = Measured(timings=timings, workers={1: Timing([10.0], [], 300.0), 2: Timing([6.0], [], 500.0)})
    (rows,) = (rows for title, _, rows in tables(results, [], []) if title == "Two workers and one")
    assert rows == [
        ["one NIR set of 10 frames, threads", "1.50", "1.20", "0.80", "260"],
        ["one NIR set of 100 frames, threads", "4.00", "3.00", "0.75", "280"],
        ["8 NIR sets of 10 frames, processes", "10.00", "6.00", "0.60", "500"],
    ]


def test_ratios_are_taken_round_by_round():
    # the ratio of the medians would be 0.5
    timings = {("10", "a"): Timing([1.0, 8.0, 1.0], []), ("10", "b"): Timing([2.0, 4.0, 0.5], [])}
    assert wall_ratio(timings, "10", "a", "b") == pytest.approx(2.0)
    assert wall_ratio(timings, "10", "b", "a") == pytest.approx(0.5)
    assert wall_ratio(timings, "25", "a", "b") is None


def test_the_stock_combiner_is_the_unit():
    nanoseconds = {"stock Combiner": [4.0, 8.0], "clip_and_stack": [8.0, 16.0]}
    assert units(nanoseconds, "stock Combiner") == pytest.approx(3.8)
    assert units(nanoseconds, "clip_and_stack") == pytest.approx(7.6)
    assert units({}, "clip_and_stack") is None


def test_a_promise_without_measurement_neither_holds_nor_fails():
    assert {promise.holds for promise in check(Measured())} == {None}
    assert Promise("a", 1.0, None).cells() == ["a", "less than 1", "not measured", "-"]


@pytest.mark.parametrize(("value", "at_least", "holds"), [(0.9, False, True), (1.1, False, False), (1.1, True, True)])
def test_a_promise_holds_on_its_side_of_the_limit(value, at_least, holds):
    assert Promise("a", 1.0, value, at_least).holds is holds


def test_a_sample_is_split_into_sets():
    frames = tuple(Path(f"{i}.fits") for i in range(25))
    assert [part.frames for part in Sample("25", frames).split(10)] == [frames[:10], frames[10:20]]


def test_time_counts_for_the_innermost_stage(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(stages.time, "perf_counter", lambda: float(next(clock)))  # one second between two calls
    watch = stages.Watch()
    inner = watch.wrap("inner", lambda: 7)
    with watch.stage("outer"):
        assert inner() == 7
    assert watch.stop() == {stages.REST: 2.0, "outer": 2.0, "inner": 1.0}


def test_a_watched_function_is_idle_until_it_is_called():
    watch = stages.Watch()
    counted = watch.wrap("a", slopes)
    assert watch.idle == {"benchmarks.speed.promises.slopes"}
    counted({1: 1.0, 2: 2.0})
    assert watch.idle == set()


def test_a_watched_function_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setattr(stages, "STAGES", (("a", "soxspipe.stacking", "no_such_function"),))
    with pytest.raises(AttributeError, match="no_such_function"):
        stages.replace_functions(stages.Watch())


@linux
def test_each_watched_function_exists_and_is_called(frames, scratch):
    seconds = profile(frames, 1, scratch)  # else it raises a RuntimeError
    names = ["start and end of Python", stages.IMPORTS, *(stage for stage, _, _ in stages.STAGES), stages.REST]
    assert list(seconds) == list(dict.fromkeys(names))
    assert all(value > 0 for value in seconds.values())


@linux
def test_commands_run_in_turn_and_leave_nothing(scratch):
    calls = []

    def command(name, folder):
        calls.append(name)
        return [sys.executable, "-c", "open('product', 'w').close()"]

    timings = measure_in_turn({name: partial(command, name) for name in "ab"}, 2, scratch)
    assert calls == ["a", "b"] * 3  # the first round is not timed
    assert [timing.runs for timing in timings.values()] == [2, 2]
    assert all(timing.peak_mb > 5 for timing in timings.values())
    assert [path.name for path in scratch.iterdir()] == ["home"]


@linux
def test_a_command_with_another_exit_code_ends_the_benchmark(scratch):
    commands = {"refused": lambda _: [sys.executable, "-c", "raise SystemExit(2)"]}
    with pytest.raises(RuntimeError, match="refused: exit code 2, expected 0"):
        measure_in_turn(commands, 1, scratch)
    assert measure_in_turn(commands, 1, scratch, exit_codes={"refused": 2})["refused"].runs == 1


@linux
def test_several_sets_are_reduced_by_one_command(frames, scratch):
    timings = measure_workers(frames.split(3), (2,), 1, scratch)
    assert timings[2].runs == 1


HOLD = "block = b'x' * 60_000_000; "


@linux
def test_the_peak_of_one_process_is_measured(tmp_path):
    assert 60 < metered(tmp_path, sys.executable, "-c", HOLD, options=["--memory"])["peak_mb"] < 100


@linux
def test_memory_is_that_of_all_processes_together():
    wait = "print(flush=True); input()"
    start_child = (
        "import subprocess, sys; pipe = subprocess.PIPE; "
        f"child = subprocess.Popen([sys.executable, '-c', {HOLD + wait!r}], stdin=pipe, stdout=pipe); "
        f"child.stdout.readline(); {wait}; child.communicate(b'done')"
    )
    command = [sys.executable, "-c", HOLD + start_child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # both hold their memory now
        memory = [memory_mb(pid) for pid in process_tree(process.pid)]
        process.communicate(b"done\n")
    assert len(memory) == 2
    assert 120 < sum(memory) < 180
    assert memory_mb(process.pid) == 0


def test_a_failed_or_slow_command_is_reported(tmp_path):
    assert metered(tmp_path, sys.executable, "-c", "raise SystemExit(3)")["code"] == 3
    assert metered(tmp_path, "sleep", "60", options=["--seconds=1"])["stopped"] == "takes more than 1 s"

"""Several jobs: their order, the processes that do them, and what is left when one dies or the program stops."""

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker

import pytest

from soxspipe.execution import local_processes
from soxspipe.execution.job import ReductionJob, reduce
from soxspipe.execution.run_jobs import run_jobs
from soxspipe.run_log import collect_log
from soxspipe.signals import Terminated, signals_as_exceptions
from tests.fake_recipes import FAKE

KILLED = "its process was killed: where memory is short, choose --workers=1"


def jobs_of(*names, output="."):
    return [ReductionJob(FAKE[0], [f"{name}.sof"], None, str(output)) for name in names]


def facts(result):
    return {record["name"]: record["value"] for record in result.qc}


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("names", "workers"), [("", 2), ("a", 2), ("abcde", 1)])
def test_one_job_or_one_worker_needs_no_other_process(names, workers):
    results = list(run_jobs(jobs_of(*names), workers))
    assert [result.product for result in results] == [f"{name}.fits" for name in names]
    assert {facts(result)["pid"] for result in results} <= {os.getpid()}
    assert {facts(result)["workers"] for result in results} <= {workers}


@pytest.mark.parametrize("workers", [2, 3, 20])
def test_results_come_in_the_order_of_the_jobs_from_at_most_as_many_processes_as_workers(workers, tmp_path):
    names = ["meets-1", "meets-2", "bad", "c", "odd", "d", "e"]
    results = list(run_jobs(jobs_of(*names, output=tmp_path), workers))
    assert [result.product for result in results] == [
        "meets-1.fits", "meets-2.fits", None, "c.fits", None, "d.fits", "e.fits",
    ]  # fmt: skip
    pids = {facts(result)["pid"] for result in results if result.product}
    assert os.getpid() not in pids
    assert 2 <= len(pids) <= workers
    assert {facts(result)["workers"] for result in results if result.product} == {max(1, workers // len(names))}
    bad, odd = results[2], results[4]
    assert (bad.exit_code, list(bad.errors)) == (2, ["bad"])
    assert (odd.exit_code, odd.traceback.splitlines()[-1]) == (1, "RuntimeError: odd")


@pytest.mark.parametrize("workers", [1, 2])
def test_messages_reach_the_log_of_the_caller_in_the_order_of_the_jobs(workers, caplog, capfd):
    caplog.set_level(logging.INFO, logger="soxspipe")
    expected = ["a step", "a warning\nof two lines \x1b[31m"] * 2
    with collect_log() as run_log:
        results = list(run_jobs(jobs_of("a", "bad"), workers))
    assert [record.getMessage() for record in run_log.records if record.levelno >= logging.INFO] == expected
    assert caplog.messages == expected
    assert [record.getMessage() for record in results[0].messages] == ["a detail", *expected[:2]]
    assert capfd.readouterr() == ("", "")


def test_a_job_whose_process_dies_is_tried_once_more_and_takes_no_other_with_it(tmp_path):
    names = ["a", "dies-1", "b", "dies_once-2", "c", "dies-3", "d"]
    results = list(run_jobs(jobs_of(*names, output=tmp_path), 2))
    assert [result.product for result in results] == [
        "a.fits", None, "b.fits", "dies_once-2.fits", "c.fits", None, "d.fits",
    ]  # fmt: skip
    assert [list(result.errors) for result in results if result.errors] == [
        [f"{name}.sof: {KILLED}"] for name in ("dies-1", "dies-3")
    ]
    assert {result.exit_code for result in results} == {0, 1}


def test_a_caller_who_wants_no_more_leaves_no_process_and_no_descriptor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(run_jobs(jobs_of("a", "b"), 2))  # the server of the processes stays
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with contextlib.closing(run_jobs(jobs_of("a", "waits", "waits", "b"), 2)) as results:
        assert next(results).product == "a.fits"
    assert not multiprocessing.active_children()
    if before:
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before


class OneAtATime:
    """An executor that runs jobs in this process; where one would die there, it reports so."""

    def __init__(self):
        self.names, self.entered = [], 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *_):
        self.entered -= 1

    def check(self):
        assert self.entered == 1

    def submit(self, job):
        assert self.entered == 1
        (name,) = job.input_frames
        self.names.append(name)
        dies = name.startswith("dies-") or (name.startswith("dies_once") and self.names.count(name) == 1)
        future = Future()
        with collect_log(lambda record: None):
            future.set_result(None if dies else reduce(replace(job, input_frames=[name.replace("dies_once", "c")])))
        return future


@pytest.mark.parametrize("workers", [1, 12])
def test_jobs_run_on_another_executor(workers, caplog):
    caplog.set_level(logging.INFO, logger="soxspipe")
    executor = OneAtATime()
    jobs = jobs_of("a", "dies_once-1", "dies-2")
    results = list(run_jobs(jobs, workers, executor=executor))
    assert [result.product for result in results] == ["a.fits", "c-1.fits", None]
    assert list(results[2].errors) == [f"dies-2.sof: {KILLED}"]
    assert executor.names == ["a.sof", "dies_once-1.sof", "dies-2.sof", "dies_once-1.sof", "dies-2.sof"]
    assert executor.entered == 0
    assert {facts(result)["workers"] for result in results[:2]} == {max(1, workers // 3)}
    assert caplog.messages == ["a step", "a warning\nof two lines \x1b[31m"] * 2


class EnoughError(Exception):
    pass


def test_an_exception_while_jobs_run_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def interrupt(*_):
        raise EnoughError

    results = run_jobs(jobs_of("a", "waits", "waits", "b"), 2)
    assert next(results).product == "a.fits"
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(EnoughError):
            next(results)
    finally:
        signal.signal(signal.SIGALRM, handler)


def test_a_process_that_cannot_end_is_killed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(local_processes, "CLEANUP_S", 0.1)
    with contextlib.closing(run_jobs(jobs_of("a", "stops", "stops", output=tmp_path), 2)) as results:
        next(results)
        while not (tmp_path / "stops").exists():
            time.sleep(0.01)


def test_stopped_helpers_go_on_when_the_jobs_end():
    with contextlib.closing(run_jobs(jobs_of("a", "b", "c"), 2)) as results:
        next(results)
        pids = [forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    for pid in pids:
        assert os.WIFCONTINUED(os.waitpid(pid, os.WCONTINUED)[1])
    local_processes.stop_helpers()  # as at the end of the program
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("error", [BlockingIOError("no more processes"), EOFError(), NotImplementedError("semaphores")])
def test_where_no_process_can_be_had_jobs_are_done_in_this_one(error, monkeypatch, tmp_path, capfd):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(local_processes, "ProcessPoolExecutor", refuse)
    results = list(run_jobs(jobs_of("meets-1", "meets-2", "bad", "c", output=tmp_path), 2))
    assert [result.product for result in results] == ["meets-1.fits", "meets-2.fits", None, "c.fits"]
    assert {facts(result)["pid"] for result in results if result.product} == {os.getpid()}
    assert capfd.readouterr() == ("", "")


def test_jobs_run_in_processes_beside_other_threads():
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        pids = {facts(result)["pid"] for result in run_jobs(jobs_of("a", "b"), 2)}
        assert os.getpid() not in pids
    finally:
        end.set()
        thread.join()


def test_two_threads_run_jobs_at_the_same_time_and_stop_only_their_own(tmp_path):
    """The first stops its processes while a job of the other runs."""
    results = {}

    def run(name):
        names = [f"{name}1", f"{name}2", f"{name}3"]
        results[name] = [result.product for result in run_jobs(jobs_of(*names), 2)]

    threads = [threading.Thread(target=run, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: [f"{name}{number}.fits" for number in (1, 2, 3)] for name in "xyz"}


def test_a_job_ends_with_the_exception_of_a_signal_that_was_lost(monkeypatch):
    def lose(recipe):
        with contextlib.suppress(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("odd")

    monkeypatch.setattr("tests.fake_recipes.FakeRecipe.produce_product", lose)
    with pytest.raises(Terminated), signals_as_exceptions():
        reduce(jobs_of("a")[0])

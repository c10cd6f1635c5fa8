"""Processes of this machine that do jobs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from ..run_log import log_warning
from ..signals import STOP_SIGNALS, Terminated, signals_as_exceptions
from .job import JobResult, ReductionJob, failed, reduce_unheard

__all__ = ["LocalProcesses", "stop_helpers"]

#: Modules that take long to import: each process begins with them.
PRELOADED = ["soxspipe.recipes", "ccdproc", __name__]
#: Time for the processes to clean up after a request to stop, second.
CLEANUP_S = 5.0

#: One process starts at a time, so that its owner is known.
_starting = threading.Lock()


class LocalProcesses:
    """Processes of this machine, each with one job at a time: one that dies takes no other job with it.

    No process outlives the context of this object.

    Parameters
    ----------
    workers : int
        Most processes at the same time.
    """

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._threads = ThreadPoolExecutor(workers)
        self._executors: list[ProcessPoolExecutor] = []
        self._idle: list[ProcessPoolExecutor] = []
        self._processes: set[BaseProcess] = set()
        self._stopped = False

    def submit(self, job: ReductionJob) -> Future[JobResult | None]:
        """Submit a job; its result is None where its process died."""
        return self._threads.submit(self._run, job)

    def check(self) -> None:
        """Do nothing: a new process takes the place of one that died."""

    def _run(self, job: ReductionJob) -> JobResult | None:
        try:
            executor, future = self._start(job)
        except BrokenExecutor:
            return None
        except (OSError, EOFError, RuntimeError):  # no more processes, or no semaphores
            return reduce_unheard(job)
        try:
            result = future.result()
        except BrokenExecutor:
            return None
        except Exception as error:  # noqa: BLE001 - such as a result that takes too much memory
            result = failed(error)
        self._idle.append(executor)
        return result

    def _start(self, job: ReductionJob) -> tuple[ProcessPoolExecutor, Future[JobResult]]:
        with _starting:
            if self._stopped:
                raise BrokenExecutor
            if not self._idle:
                self._idle.append(ProcessPoolExecutor(1, self._context, _begin))
                self._executors += self._idle
            executor = self._idle.pop()
            before = set(multiprocessing.active_children())
            try:
                return executor, executor.submit(_reduce_in_process, job)
            finally:
                self._processes |= set(multiprocessing.active_children()) - before

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stopped = True
        # a stopped process answers to nothing else, and one that starts processes holds the lock
        _signal(_helpers(), signal.SIGCONT)
        with _starting:
            _signal([process.pid for process in self._processes], signal.SIGCONT)
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + CLEANUP_S
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()
        self._threads.shutdown()
        for executor in self._executors:
            executor.shutdown()


def stop_helpers() -> None:
    """End the processes by which Python starts others, and wait for them: they would end after this program."""
    _signal(_helpers(), signal.SIGTERM)
    _signal(_helpers(), signal.SIGCONT)
    helpers: tuple[Any, ...] = (forkserver._forkserver, resource_tracker._resource_tracker)
    for helper in helpers:
        with contextlib.suppress(OSError):
            helper._stop()


def _helpers() -> list[int | None]:
    helpers = ((resource_tracker._resource_tracker, "_pid"), (forkserver._forkserver, "_forkserver_pid"))
    return [getattr(helper, name, None) for helper, name in helpers]


def _signal(pids: Iterable[int | None], number: int) -> None:
    for pid in pids:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _begin() -> None:
    """Set up a process for jobs: it ends on a signal, or when the program ends."""
    warnings.showwarning = log_warning
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _reduce_in_process(job: ReductionJob) -> JobResult:
    """Do a job in a process for jobs; end the process when it is asked to stop, after the job has cleaned up."""
    with signals_as_exceptions(), contextlib.suppress(KeyboardInterrupt, Terminated):
        return reduce_unheard(job)
    os._exit(1)
